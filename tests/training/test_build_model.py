"""Claims about making the network of a recipe and the weights it starts from."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mtp_hf.conversion.original import original_state_dict
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES
from mtp_hf.modeling.ops_position_tables import resize_position_embedding
from mtp_hf.training.build_model import (
    build_config,
    build_model,
    check_layers,
    read_weights,
    start_backbone,
)
from mtp_hf.training.recipe import load_recipe
from tests.conversion.tiny_originals import INTERN, tiny_model, tiny_original
from tests.training.tiny_run import TINY_MODEL

NAMES = {"sior": ["ship", "plane"], "sota_rbb": ["ship"], "fast": ["car"]}


def _recipe(*overrides):
    return load_recipe("pretrain/demo", overrides=[*TINY_MODEL, *overrides])


def _mae_weights(recipe):
    """Weights of a plain ViT with a class token, under MAE's names, of the recipe's size."""
    backbone = build_model(recipe, NAMES).backbone
    weights = original_state_dict(backbone.state_dict(), backbone.config, "backbone", "")
    of_windows = ("rel_pos", "relative", "sampling", "fpn")
    weights = {
        k: torch.rand_like(v) for k, v in weights.items() if all(w not in k for w in of_windows)
    }
    table = weights["pos_embed"]
    weights["pos_embed"] = torch.cat([torch.full_like(table[:, :1], 9.0), table], 1)
    return weights | {"cls_token": torch.zeros(1, 1, table.shape[-1])}


def test_the_published_rows_describe_the_published_sizes():
    for row, size in (("vit_b_rvsa", "base"), ("vit_l_rvsa", "large")):
        recipe = load_recipe("pretrain/samrs", result=row)
        config = build_config(recipe, {"sota_rbb": ["a"], "sior": ["b"], "fast": ["c"]})
        for field, value in VIT_RVSA_SIZES[size].items():
            assert getattr(config.backbone_config, field) == value
        assert config.semantic_config.hidden_size == 256
        assert config.instance_config.box_num_samples == 512
        assert list(config.class_names) == ["sota_rbb", "sior", "fast"]
        assert config.original_losses is False


def test_the_native_size_is_the_training_size_and_overrides_reach_their_configs():
    config = build_config(_recipe("model.rotated.nms_iou=0.2"), NAMES)
    assert config.backbone_config.image_size == 112
    assert config.backbone_config.hidden_size == 16
    assert config.rotated_config.nms_iou == 0.2
    assert config.instance_config.nms_iou == 0.5


def test_the_tasks_of_each_source_become_those_of_the_network():
    config = build_config(_recipe("data.sources.fast.tasks=[ss, is]"), NAMES)
    assert config.dataset_tasks["fast"] == ["ss", "is"]
    assert config.dataset_tasks["sior"] == ["ss", "is", "rd"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.semantic.hiden_size=3",
            r"model\.semantic: UperNetRSConfig has no field hiden_size",
        ),
        ("model.instance.hidden_size=wide", r"model\.instance: .*hidden_size"),
        (
            "model.backbone_overrides.num_attention_heads=3",
            r"model\.backbone_overrides: .*multiple",
        ),
    ],
)
def test_a_config_field_that_does_not_fit_is_named_with_its_section(override, message):
    with pytest.raises(ValueError, match=rf"(?s)recipe pretrain/demo: {message}"):
        build_config(_recipe(override), NAMES)


def test_activation_checkpointing_is_switched_on_by_the_recipe():
    assert not build_model(_recipe(), NAMES).backbone.is_activation_checkpointing
    model = build_model(_recipe("efficiency.activation_checkpointing=true"), NAMES)
    assert model.backbone.is_activation_checkpointing


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_mae_weights_start_the_backbone_without_the_class_token(tmp_path, suffix):
    weights = _mae_weights(_recipe())
    path = tmp_path / f"mae.{suffix}"
    if suffix == "pth":
        torch.save({"model": weights}, path)
    else:
        save_file(weights, path)
    backbone = build_model(_recipe(), NAMES).backbone
    report = start_backbone(backbone, str(path))
    assert f"{len(weights) - 1} tensors" in report
    assert "not used: cls_token" in report
    own = backbone.state_dict()
    assert torch.equal(own["embeddings.position_embeddings"], weights["pos_embed"][:, 1:])
    assert torch.equal(own["layers.0.attention.qkv.weight"], weights["blocks.0.attn.qkv.weight"])


def test_an_original_encoder_of_another_size_is_pretrained_again_from_its_first_position(tmp_path):
    source = build_model(_recipe("data.image_size=128"), NAMES).backbone
    weights = original_state_dict(source.state_dict(), source.config, "backbone", "encoder.")
    torch.save({"state_dict": weights}, tmp_path / "encoder.pth")
    backbone = build_model(_recipe(), NAMES).backbone
    report = start_backbone(backbone, str(tmp_path / "encoder.pth"))
    assert "new: none;" in report
    own, old = backbone.state_dict(), source.state_dict()
    assert torch.equal(own["layers.0.attention.qkv.weight"], old["layers.0.attention.qkv.weight"])
    table = resize_position_embedding(old["embeddings.position_embeddings"], (7, 7))
    assert torch.equal(own["embeddings.position_embeddings"], table)
    again = build_model(_recipe("data.image_size=128"), NAMES).backbone
    start_backbone(again, str(tmp_path / "encoder.pth"))
    assert all(torch.equal(value, old[name]) for name, value in again.state_dict().items())


def test_imagenet_weights_start_an_internimage(tmp_path):
    source = tiny_model("internimage")
    weights = tiny_original("internimage") | {"head.weight": torch.ones(3, 128)}
    torch.save({"model": weights}, tmp_path / "imagenet.pth")
    backbone = type(source)(source.config)
    report = start_backbone(backbone, str(tmp_path / "imagenet.pth"))
    assert "not used: head.weight" in report
    for name, value in source.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_a_saved_encoder_starts_the_backbone(tmp_path):
    encoder = build_model(_recipe(), NAMES).backbone
    encoder.save_pretrained(tmp_path)
    backbone = build_model(_recipe(), NAMES).backbone
    start_backbone(backbone, str(tmp_path))
    for name, value in encoder.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_an_encoder_of_another_native_size_is_refused_with_the_way_out(tmp_path):
    build_model(_recipe(), NAMES).backbone.save_pretrained(tmp_path)
    message = r"tables for 112 px.*add model\.backbone_overrides\.image_size=112"
    with pytest.raises(ValueError, match=message):
        start_backbone(build_model(_recipe("data.image_size=128"), NAMES).backbone, str(tmp_path))


def test_an_encoder_of_another_width_is_refused(tmp_path):
    build_model(_recipe(), NAMES).backbone.save_pretrained(tmp_path)
    wider = build_model(_recipe("model.backbone_overrides.hidden_size=32"), NAMES).backbone
    with pytest.raises(ValueError, match="another size of network"):
        start_backbone(wider, str(tmp_path))


def test_an_internimage_of_another_input_size_starts_one(tmp_path):
    source = tiny_model("internimage")
    source.save_pretrained(tmp_path)
    backbone = type(source)(type(source.config)(**INTERN, image_size=source.config.image_size * 2))
    start_backbone(backbone, str(tmp_path))
    for name, value in source.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_an_internimage_of_other_channels_is_refused_by_name(tmp_path):
    source = tiny_model("internimage")
    type(source)(type(source.config)(**INTERN, num_channels=4)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)another size of network.*conv1\.weight.*8, 4, 3, 3"):
        start_backbone(source, str(tmp_path))


def test_an_encoder_of_another_kind_is_refused_by_both_names(tmp_path):
    tiny_model("internimage").save_pretrained(tmp_path)
    message = "holds mtp_internimage; the backbone is mtp_vit_rvsa"
    with pytest.raises(ValueError, match=message):
        start_backbone(build_model(_recipe(), NAMES).backbone, str(tmp_path))


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    save_file({"something.else": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="none of its 1 tensors fits"):
        start_backbone(build_model(_recipe(), NAMES).backbone, str(tmp_path / "x.safetensors"))


def test_weights_of_another_kind_are_told(tmp_path):
    torch.save({"model": tiny_original("internimage")}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match="it holds weights of a InternImage, the recipe .*vit_rvsa"
    ):
        start_backbone(build_model(_recipe(), NAMES).backbone, str(tmp_path / "x.pth"))


def test_a_file_of_another_depth_is_refused(tmp_path):
    weights = {k: v for k, v in tiny_original("backbone").items() if "blocks.3." not in k}
    torch.save({"model": weights}, tmp_path / "x.pth")
    message = r"missing, such as layers\.3\.attention\.proj\.bias"
    with pytest.raises(ValueError, match=message):
        start_backbone(tiny_model("backbone"), str(tmp_path / "x.pth"))


def test_an_encoder_that_lacks_a_weight_is_refused_by_name(tmp_path):
    tiny_model("backbone").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["embeddings.patch_embeddings.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing keys: embeddings\.patch_embeddings\.bias"):
        start_backbone(tiny_model("backbone"), str(tmp_path))


def test_the_encoder_of_a_finetuned_model_starts_the_backbone(tmp_path):
    source = tiny_model("upernet")
    source.save_pretrained(tmp_path)
    backbone = tiny_model("backbone")
    start_backbone(backbone, str(tmp_path))
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_parameters_that_not_every_kind_has_may_be_missing():
    names = ["layers.0.attention.rel_pos_h", "layers.0.attention.sampling_scales.bias", "norm.bias"]
    check_layers(names, ["blocks.0.attn.relative_position_index", "decoder_blocks.0.x"], "x")


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"model\.init=nowhere\.pth: no such file"):
        start_backbone(build_model(_recipe(), NAMES).backbone, "nowhere.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("code was run",))

    torch.save({"model": Harmful()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"bad\.pth: the pickle wants to import print"):
        read_weights(tmp_path / "bad.pth")
