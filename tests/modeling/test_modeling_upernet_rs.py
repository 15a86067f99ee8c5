"""Claims about the segmentation model."""

import pytest
import torch
from transformers import AutoModelForSemanticSegmentation

from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from tests.modeling.model_behaviour import ModelBehaviour
from tests.tiny_models import TINY_BACKBONE

TINY_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}


def _config(**overrides):
    values = {"backbone_config": TINY_BACKBONE, "hidden_size": 16, "num_labels": 3, "dropout": 0.0}
    return UperNetRSConfig(**values | overrides)


def _halves(batch=2, side=112):
    """Images whose right half is brighter, and the label maps that say so."""
    labels = torch.zeros(batch, side, side, dtype=torch.int64)
    labels[:, :, side // 2 :] = 1
    return labels[:, None] * 2.0 - 1 + 0.1 * torch.randn(batch, 3, side, side), labels


class TestBehaviour(ModelBehaviour):
    model_class = UperNetRSForSemanticSegmentation
    auto_class = AutoModelForSemanticSegmentation

    def config(self, **overrides):
        return _config(**overrides)

    def inputs(self, batch=2):
        return {"pixel_values": torch.randn(batch, 3, 112, 112)}

    def labels(self, batch=2):
        return torch.randint(0, 3, (batch, 112, 112))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_can_be_chosen_around_a_backbone_without_any(implementation, tmp_path):
    sizes = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_groups": [2, 4, 8, 16]}
    config = _config(backbone_config={"model_type": "mtp_internimage", **sizes})
    UperNetRSForSemanticSegmentation(config).save_pretrained(tmp_path)
    model = UperNetRSForSemanticSegmentation.from_pretrained(
        tmp_path, attn_implementation=implementation
    )
    assert model.config._attn_implementation == implementation


def test_logits_have_a_quarter_of_the_input_and_one_map_for_each_class():
    output = UperNetRSForSemanticSegmentation(_config())(torch.randn(2, 3, 112, 144))
    assert output.logits.shape == (2, 3, 28, 36)
    assert output.loss is None and output.losses is None


def test_decoder_has_the_published_width_of_its_use_by_default():
    assert _config(hidden_size=None).hidden_size == 512
    assert UperNetRSConfig().hidden_size == 256


def test_published_head_has_as_many_parameters_as_the_original():
    base = {"model_type": "mtp_vit_rvsa", "image_size": 512}
    with torch.device("meta"):
        model = UperNetRSForSemanticSegmentation(
            UperNetRSConfig(backbone_config=base, num_labels=7)
        )
    head = (*model.decoder.parameters(), *model.classifier.parameters())
    assert sum(p.numel() for p in head) == 32_259_591  # original spec 3.0


def test_labels_come_as_a_tensor_or_as_dicts():
    model = UperNetRSForSemanticSegmentation(_config()).eval()
    images, labels = _halves()
    expected = model(images, labels)
    found = model(images, [{"semantic_labels": x, "image_id": "a"} for x in labels])
    assert torch.equal(found.loss, expected.loss)
    assert list(found.losses) == ["loss_segmentation"] and found.loss.dtype == torch.float32


def test_extra_arguments_of_trainers_and_processors_are_ignored():
    model = UperNetRSForSemanticSegmentation(_config()).eval()
    images, labels = _halves()
    output = model(images, labels=labels, num_items_in_batch=2, sizes=[(112, 112)] * 2)
    assert torch.equal(output.loss, model(images, labels).loss)


def test_two_images_are_learned():
    model = UperNetRSForSemanticSegmentation(_config(num_labels=2)).train()
    images, labels = _halves()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = model(images, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    maps = model.eval().predict(images)
    assert torch.equal(maps[0]["semantic_map"][:, 80:], labels[0, :, 80:])


def test_prediction_has_the_target_size_of_each_image():
    model = UperNetRSForSemanticSegmentation(_config()).eval()
    found = model.predict(
        torch.randn(2, 3, 128, 128), sizes=[(128, 100), (97, 128)], target_sizes=[(64, 50), (97, 9)]
    )
    assert [tuple(x["semantic_map"].shape) for x in found] == [(64, 50), (97, 9)]


def test_one_window_is_the_whole_image():
    model = UperNetRSForSemanticSegmentation(_config()).eval()
    images = torch.randn(2, 3, 128, 128)
    whole, windowed = model.predict(images), model.predict(images, window=(128, 128), stride=(9, 9))
    for one, other in zip(whole, windowed, strict=True):
        assert torch.equal(one["semantic_map"], other["semantic_map"])


def test_windows_do_not_see_the_padding_of_the_batch():
    model = UperNetRSForSemanticSegmentation(_config()).eval()
    images = torch.randn(2, 3, 160, 160)
    options = {"window": (112, 112), "stride": (96, 96)}
    padded = model.predict(images, sizes=[(150, 130), (160, 160)], **options)
    alone = model.predict(images[:1, :, :150, :130], **options)
    assert torch.equal(padded[0]["semantic_map"], alone[0]["semantic_map"])


@pytest.mark.parametrize("backbone", ["transformers", "timm"])
def test_backbones_of_others_fit(backbone):
    config = TINY_RESNET
    if backbone == "timm":
        pytest.importorskip("timm")
        config = {
            "model_type": "timm_backbone",
            "backbone": "resnet18",
            "use_pretrained_backbone": False,
            "out_indices": [1, 2, 3, 4],
        }
    model = UperNetRSForSemanticSegmentation(_config(backbone_config=config)).train()
    model(torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.int64)).loss.backward()
    assert all(p.grad is not None for p in model.decoder.parameters())


def test_backbone_with_one_map_is_refused_with_advice():
    single = {**TINY_RESNET, "out_features": ["stage4"]}
    with pytest.raises(ValueError, match="resnet makes 1 map.*out_features"):
        UperNetRSForSemanticSegmentation(_config(backbone_config=single))


def test_configuration_without_backbone_is_refused():
    with pytest.raises(ValueError, match="backbone_config is None"):
        UperNetRSForSemanticSegmentation(UperNetRSConfig())


def test_encoder_folder_gives_the_backbone_and_nothing_else(tmp_path):
    encoder = ViTRVSABackbone(_config().backbone_config)
    encoder.save_pretrained(tmp_path)
    model, report = UperNetRSForSemanticSegmentation.from_pretrained(
        tmp_path, config=_config(), output_loading_info=True
    )
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"decoder", "classifier"}
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
