import pytest
import torch

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    invert_table,
    load_original_weights,
    move_table,
)
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from tests.original_names import rename_keys, rename_vit_rvsa_keys

ONE = torch.ones(1)


def _backbone(**overrides):
    values = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    values |= {"image_size": 128, "full_attention_interval": 2}
    return ViTRVSABackbone(ViTRVSAConfig(**values | overrides))


def _autoencoder(side, class_token=True):
    """A checkpoint of a plain ViT with a position table of side x side tokens."""
    generator = torch.Generator().manual_seed(0)
    tokens = side**2 + int(class_token)
    shapes = {"pos_embed": (1, tokens, 32), "mask_token": (1, 1, 32), "norm.weight": (32,)}
    shapes |= {"patch_embed.proj.weight": (32, 3, 16, 16), "patch_embed.proj.bias": (32,)}
    shapes |= {"decoder_pred.weight": (7, 5)}
    if class_token:
        shapes["cls_token"] = (1, 1, 32)
    for i in range(4):
        for name, shape in {
            "norm1.weight": (32,),
            "norm1.bias": (32,),
            "attn.qkv.weight": (96, 32),
            "attn.qkv.bias": (96,),
            "attn.proj.weight": (32, 32),
            "attn.proj.bias": (32,),
            "norm2.weight": (32,),
            "norm2.bias": (32,),
            "mlp.fc1.weight": (128, 32),
            "mlp.fc1.bias": (128,),
            "mlp.fc2.weight": (32, 128),
            "mlp.fc2.bias": (32,),
        }.items():
            shapes[f"blocks.{i}.{name}"] = shape
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_first_matching_row_renames_the_whole_key():
    table = ((r"a\.(\d)", r"b.\1"), (r"a\..*", "never"), (r"gone", None))
    assert rename_keys({"a.1": ONE, "gone": ONE}, table) == {"b.1": ONE}


@pytest.mark.parametrize(
    ("original", "own"),
    [
        ("pos_embed", "embeddings.position_embeddings"),
        ("blocks.10.attn.full_attn_rel_pos_w", "layers.10.attention.rel_pos_w"),
        ("blocks.0.attn.rel_pos_h", "layers.0.attention.rel_pos_h"),
        ("blocks.3.attn.sampling_angles.2.bias", "layers.3.attention.sampling_angles.bias"),
        ("fpn1.1.ln.weight", "pyramid.quarter_stride.1.weight"),
        ("fpn2.0.bias", "pyramid.half_stride.bias"),
    ],
)
def test_encoder_keys_get_the_names_of_the_backbone(original, own):
    assert list(rename_vit_rvsa_keys({f"encoder.{original}": ONE, "rpn.x": ONE})) == [own]
    renamed = rename_vit_rvsa_keys({original: ONE}, prefix="", new_prefix="backbone.")
    assert list(renamed) == [f"backbone.{own}"]


def test_index_buffer_and_unused_norm_are_dropped():
    keys = {"norm.weight": ONE, "blocks.0.attn.relative_position_index": ONE}
    assert rename_vit_rvsa_keys(keys, prefix="") == {}
    assert list(rename_vit_rvsa_keys(keys, prefix="", keep_norm=True)) == ["norm.weight"]


def test_autoencoder_weights_reach_every_shared_parameter():
    backbone, weights = _backbone(), _autoencoder(8)
    before = {name: p.clone() for name, p in backbone.state_dict().items()}
    report = load_original_weights(backbone, weights, VIT_RVSA_TABLE)
    assert len(report["used"]) == 3 + 4 * 12
    assert report["unused"] == ["cls_token", "decoder_pred.weight", "mask_token", "norm.weight"]
    assert sorted(report["used"] + report["missing"]) == sorted(before)
    after = backbone.state_dict()
    assert torch.equal(after["layers.3.mlp.fc2.weight"], weights["blocks.3.mlp.fc2.weight"])
    assert torch.equal(after["embeddings.position_embeddings"], weights["pos_embed"][:, 1:])
    for name in report["missing"]:
        assert torch.equal(after[name], before[name])
        assert "pyramid" in name or "sampling" in name or "rel" in name


def test_autoencoder_of_another_size_is_resized():
    backbone = _backbone()
    weights = _autoencoder(14)
    weights["pos_embed"] = torch.full_like(weights["pos_embed"], 0.5)
    weights["pos_embed"][:, 0] = 100.0  # the class token
    load_original_weights(backbone, weights, VIT_RVSA_TABLE)
    table = backbone.embeddings.position_embeddings
    torch.testing.assert_close(table.detach(), torch.full((1, 64, 32), 0.5))


def test_table_without_class_token_keeps_its_first_position():
    backbone, weights = _backbone(), _autoencoder(8, class_token=False)
    load_original_weights(backbone, weights, VIT_RVSA_TABLE)
    assert torch.equal(backbone.embeddings.position_embeddings, weights["pos_embed"])


def test_other_width_is_refused_by_name():
    with pytest.raises(ValueError, match="layers.0.norm1.weight"):
        load_original_weights(
            _backbone(), {"blocks.0.norm1.weight": torch.ones(33)}, VIT_RVSA_TABLE
        )


def test_loaded_backbone_still_trains():
    backbone = _backbone()
    load_original_weights(backbone, _autoencoder(8), VIT_RVSA_TABLE)
    backbone(torch.randn(1, 3, 128, 128)).feature_maps[0].sum().backward()
    assert backbone.layers[0].attention.qkv.weight.grad is not None


def test_moved_table_expects_and_makes_prefixes():
    table = move_table((("a", "b"), ("c", None)), "old.", "new.")
    assert rename_keys({"old.a": ONE, "old.c": ONE}, table) == {"new.b": ONE}


def test_inverted_table_leads_back():
    table = ((r"a\.(\d+)\.(x|y)\.2", r"\2.new.\1"), (r"gone", None))
    back = invert_table(table)
    assert rename_keys({"y.new.13": ONE}, back) == {"a.13.y.2": ONE}
    assert len(back) == 1


def test_pattern_without_a_way_back_is_refused():
    with pytest.raises(ValueError, match=r"a\(\?:b\)\?"):
        invert_table(((r"a(?:b)?", "c"),))
