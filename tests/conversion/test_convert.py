"""Claims about recognising, configuring and accounting for keys."""

import pytest
import torch

from mtp_hf.conversion.config import Wishes
from mtp_hf.conversion.convert import convert_state_dict
from tests.conversion.tiny_originals import tiny_model, tiny_original

PLAIN = (
    ("pos_embed", (1, 50, 128)),
    ("cls_token", (1, 1, 128)),
    ("mask_token", (1, 1, 64)),
    ("patch_embed.proj.weight", (128, 3, 16, 16)),
    ("patch_embed.proj.bias", (128,)),
    ("norm.weight", (128,)),
    ("norm.bias", (128,)),
    ("decoder_embed.weight", (64, 128)),
    ("decoder_pos_embed", (1, 50, 64)),
)
PLAIN_BLOCK = (
    ("norm1.weight", (128,)),
    ("norm1.bias", (128,)),
    ("attn.qkv.weight", (384, 128)),
    ("attn.qkv.bias", (384,)),
    ("attn.proj.weight", (128, 128)),
    ("attn.proj.bias", (128,)),
    ("norm2.weight", (128,)),
    ("norm2.bias", (128,)),
    ("mlp.fc1.weight", (512, 128)),
    ("mlp.fc1.bias", (512,)),
    ("mlp.fc2.weight", (128, 512)),
    ("mlp.fc2.bias", (128,)),
)


def _autoencoder():
    shapes = dict(PLAIN)
    shapes |= {f"blocks.{i}.{name}": shape for i in range(4) for name, shape in PLAIN_BLOCK}
    return {key: torch.rand(shape) for key, shape in shapes.items()}


def test_autoencoder_becomes_a_plain_transformer_without_a_new_parameter():
    weights = _autoencoder()
    conversion = convert_state_dict(weights)
    config = conversion.config
    assert (config.full_attention_interval, config.use_full_attention_rel_pos) == (1, False)
    assert (config.image_size, config.num_attention_heads) == (112, 2)
    assert conversion.report.missing == {}
    assert set(conversion.report.unused) == {
        "cls_token", "mask_token", "decoder_embed.weight", "decoder_pos_embed", "norm.weight",
        "norm.bias",
    }  # fmt: skip
    assert "num_attention_heads" in conversion.report.assumed
    table = conversion.state_dict["embeddings.position_embeddings"]
    assert torch.equal(table, weights["pos_embed"][:, 1:])  # without the class token
    assert torch.equal(conversion.unused["pos_embed"], weights["pos_embed"])


def test_windows_that_an_autoencoder_lacks_start_afresh_and_say_so():
    settings = {"full_attention_interval": 2, "feature_variant": "multi_depth_pyramid"}
    conversion = convert_state_dict(_autoencoder(), Wishes(settings=settings))
    assert all("starts afresh" in reason for reason in conversion.report.missing.values())
    assert "layers.0.attention.sampling_offsets.weight" in conversion.report.missing
    first, second = (conversion.build_model().state_dict() for _ in range(2))
    for name in first:
        assert torch.isfinite(first[name]).all() and torch.equal(first[name], second[name]), name


def test_classifier_of_imagenet_is_left_out_with_a_reason():
    weights = tiny_original("internimage")
    weights |= {"head.weight": torch.ones(5, 3), "conv_head.0.weight": torch.ones(2)}
    assert set(convert_state_dict(weights).report.unused) == {"head.weight", "conv_head.0.weight"}


def test_older_name_of_the_full_attention_tables_is_read():
    weights = {
        key.replace("full_attn_rel_pos", "rel_pos"): value
        for key, value in tiny_original("backbone").items()
    }
    conversion = convert_state_dict(weights)
    assert conversion.config.use_full_attention_rel_pos
    model = tiny_model("backbone")
    assert set(conversion.state_dict) == set(model.state_dict())


def test_counters_that_old_files_lack_start_at_zero():
    weights = {k: v for k, v in tiny_original("upernet").items() if "num_batches" not in k}
    conversion = convert_state_dict(weights)
    assert conversion.report.missing
    assert int(conversion.build_model().decoder.fusion.norm.num_batches_tracked) == 0


@pytest.mark.parametrize(("key", "change"), [("extra.weight", "add"), ("fpn2.0.bias", "drop")])
def test_unexplained_keys_fail_by_name_unless_not_strict(key, change):
    weights = tiny_original("backbone")
    if change == "add":
        weights[key] = torch.ones(1)
    else:
        del weights[key]
    with pytest.raises(ValueError, match="1 keys have no place"):
        convert_state_dict(weights)
    report = convert_state_dict(weights, strict=False).report
    assert len(report.unexplained) == 1
    assert "UNEXPLAINED" in report.summary()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["layer1.0.conv1.weight"], "another architecture.*layer1"),
        (["backbone.layer1.0.conv1.weight", "rpn_head.rpn_cls.weight"], "another architecture"),
        (
            ["backbone.conv1.weight", "decode_head.psp_modules.0.1.conv.weight"],
            "no backbone of MTP",
        ),
        (["decode_head.psp_modules.0.1.conv.weight"], "without a backbone"),
    ],
)
def test_other_architectures_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict({key: torch.ones(1) for key in keys})


def test_shape_that_does_not_fit_is_named():
    weights = tiny_original("backbone")
    weights["blocks.1.norm1.weight"] = torch.ones(7)
    with pytest.raises(ValueError, match=r"blocks\.1\.norm1\.weight is \(7,\), expected \(32,\)"):
        convert_state_dict(weights)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("pos_embed", "pos_embed is missing"),
        ("patch_embed.proj.weight", r"patch_embed\.proj\.weight is missing"),
        ("blocks.2.attn.relative_position_bias_table", r"blocks \[1, 2, 3\] have no"),
    ],
)
def test_key_that_tells_a_size_must_be_there(key, message):
    weights = tiny_original("backbone")
    del weights[key]
    with pytest.raises(ValueError, match=message):
        convert_state_dict(weights)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused_by_key(dtype):
    weights = tiny_original("backbone")
    weights["norm.weight"] = torch.ones(32)
    weights["blocks.1.norm1.weight"] = torch.ones(32).to(dtype)
    with pytest.raises(ValueError, match=r"blocks\.1\.norm1\.weight is of type torch\.\w+, exp"):
        convert_state_dict(weights)


@pytest.mark.parametrize(
    ("narrow", "rest", "widest"),
    [
        (torch.float16, torch.float32, torch.float32),
        (torch.float16, torch.bfloat16, torch.float32),
        (torch.float32, torch.float64, torch.float64),
    ],
)
def test_weights_of_several_types_get_one_that_holds_them_all_exactly(narrow, rest, widest):
    weights = {k: v.to(rest) for k, v in tiny_original("backbone").items() if "index" not in k}
    weights["pos_embed"] = weights["pos_embed"].to(narrow)
    conversion = convert_state_dict(weights)
    assert {tensor.dtype for tensor in conversion.build_model().state_dict().values()} == {widest}
    table = conversion.state_dict["embeddings.position_embeddings"]
    assert torch.equal(table, weights["pos_embed"].to(widest))
    assert str(narrow).removeprefix("torch.") in conversion.report.notes[0]


def test_parameters_that_start_afresh_have_the_type_of_the_file():
    settings = {"full_attention_interval": 2, "feature_variant": "multi_depth_pyramid"}
    weights = {key: value.half() for key, value in _autoencoder().items()}
    model = convert_state_dict(weights, Wishes(settings=settings)).build_model()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("classifier", "head.fc.weight", "no classifier"),
        ("backbone", "fpn1.0.weight", r"pyramid\.quarter_stride\.0\.weight is missing"),
    ],
)
def test_missing_part_does_not_make_it_another_kind(name, key, message):
    weights = tiny_original(name)
    del weights[key]
    with pytest.raises(ValueError, match=message):
        convert_state_dict(weights)


def test_names_that_repeat_are_no_names():
    names = ("a", "b", "b")
    conversion = convert_state_dict(tiny_original("upernet"), Wishes(class_names=names))
    assert conversion.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert "id2label" in conversion.report.assumed


def test_out_indices_are_set_as_blocks_from_zero_and_no_longer_assumed():
    weights = tiny_original("upernet")
    assert "out_indices" in convert_state_dict(weights).report.assumed
    conversion = convert_state_dict(weights, Wishes(settings={"out_indices": [0, 1, 2, 3]}))
    assert "out_indices" not in conversion.report.assumed
    assert list(conversion.config.backbone_config.out_indices) == [1, 2, 3, 4]


def test_settings_reach_the_config_that_has_them():
    settings = {"nms_iou": 0.3, "drop_path_rate": 0.2, "backbone_config.layer_norm_eps": 1e-5}
    config = convert_state_dict(tiny_original("faster_rcnn"), Wishes(settings=settings)).config
    assert (config.nms_iou, config.backbone_config.drop_path_rate) == (0.3, 0.2)
    assert config.backbone_config.layer_norm_eps == 1e-5
    nested = {"instance_config.nms_iou": 0.4}
    config = convert_state_dict(tiny_original("mtp_pretraining"), Wishes(settings=nested)).config
    assert (config.instance_config.nms_iou, config.rotated_config.nms_iou) == (0.4, 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hiden_size": 3}, "--set hiden_size: no such field"),
        ({"backbone_config.nope": 3}, r"--set backbone_config\.nope: no such field"),
        ({"nowhere.x": 3}, "there is no nowhere"),
        ({"out_indices": "3,5"}, "expected blocks counted from 0"),
        ({"out_indices": [False, True, 2, 3]}, "expected blocks counted from 0"),
        ({"backbone_config": {"hidden_size": 64}}, r"backbone_config\.FIELD=VALUE"),
        ({"nms_iou": "much"}, "does not fit together"),
        ({"backbone_config.hidden_size": 64}, "shapes that do not fit"),
        (
            {"num_channels": 4},
            r"or --set: backbone\.patch_embed\.proj\.weight is \(32, 3, 16, 16\)",
        ),
        ({"num_labels": 4}, "classes are those of the file's head; --dataset NAME names them"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict(tiny_original("faster_rcnn"), Wishes(settings=settings))


def test_data_sets_of_the_multi_task_model_are_told_by_their_classes_or_named():
    weights = tiny_original("mtp_pretraining")  # of 3 and 2 classes: none that is known
    config = convert_state_dict(weights).config
    assert config.datasets == ["dataset1", "dataset2"]
    assert [len(config.class_names[name]) for name in config.datasets] == [3, 2]
    with pytest.raises(ValueError, match="3 classes, but sior has 20"):
        convert_state_dict(weights, Wishes("sior,fast"))
    with pytest.raises(ValueError, match="2 data sets, --dataset names 1"):
        convert_state_dict(weights, Wishes("sior"))
    with pytest.raises(ValueError, match="no data set 'mars'"):
        convert_state_dict(weights, Wishes("mars,sior"))


def test_backbone_has_no_classes():
    with pytest.raises(ValueError, match="--dataset dior: a backbone has no classes"):
        convert_state_dict(tiny_original("backbone"), Wishes("dior"))
