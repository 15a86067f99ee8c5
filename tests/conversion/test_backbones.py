"""Claims about reading a backbone's sizes from its shapes."""

import pytest

from mtp_hf.conversion.backbones import describe_backbone, shape_of
from tests.conversion.tiny_originals import tiny_model, tiny_original


def _shapes(name):
    return {key: tuple(tensor.shape) for key, tensor in tiny_original(name).items()}


@pytest.mark.parametrize("name", ["backbone", "internimage"])
def test_fields_are_those_of_the_config_that_made_the_shapes(name):
    facts, config = describe_backbone(_shapes(name)), tiny_model(name).config
    for field, value in facts.fields.items():
        if field != "image_size" or name == "backbone":
            assert getattr(config, field) == value, field


def test_unusual_depth_and_untold_scale_are_said_to_be_assumed():
    assert set(describe_backbone(_shapes("backbone")).assumed) == {"out_indices"}
    assert set(describe_backbone(_shapes("internimage")).assumed) == {"offset_scale", "image_size"}


def test_channels_of_the_image_are_read():
    shapes = _shapes("backbone") | {"patch_embed.proj.weight": (32, 6, 16, 16)}
    assert describe_backbone(shapes).fields["num_channels"] == 6


def test_backbone_without_full_attention_has_an_interval_beyond_its_depth():
    windowed = {k: s for k, s in _shapes("backbone").items() if k.startswith("blocks.0.attn")}
    shapes = {k: s for k, s in _shapes("backbone").items() if "full_attn" not in k}
    for block in (1, 3):
        shapes |= {k.replace("blocks.0", f"blocks.{block}"): s for k, s in windowed.items()}
    facts = describe_backbone(shapes)
    assert facts.fields["full_attention_interval"] == 5
    assert facts.fields["use_full_attention_rel_pos"] is False


def test_plain_transformer_is_told_from_windows():
    shapes = {
        k: s
        for k, s in _shapes("backbone").items()
        if not any(part in k for part in ("rel_pos", "relative", "sampling"))
    }
    facts = describe_backbone(shapes)
    assert facts.is_plain
    assert facts.fields["full_attention_interval"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": (1, 48, 32)}, "pos_embed has 48 positions"),
        ({"pos_embed": (49, 32)}, "pos_embed has shape"),
        ({"pos_embed": (1, 0, 32)}, r"pos_embed has shape \(1, 0, 32\), so no numbers"),
        ({"cls_token": (1, 1, 32), "pos_embed": (1, 1, 32)}, "pos_embed has 0 positions"),
        ({"blocks.7.norm1.weight": (32,)}, r"no key matches .* for \[4, 5, 6\]"),
    ],
)
def test_contradictions_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        describe_backbone(_shapes("backbone") | change)


def test_other_backbone_is_refused():
    with pytest.raises(ValueError, match=r"no backbone of MTP .*layer1\.0"):
        describe_backbone({"layer1.0.conv1.weight": (1,)})


def test_missing_shape_is_named():
    with pytest.raises(ValueError, match="x is missing"):
        shape_of({}, "x", 2)
