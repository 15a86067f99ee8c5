import json

import pytest
from transformers import AutoConfig

from mtp_hf.modeling.configuration_vit_rvsa import (
    VIT_RVSA_SIZES,
    ViTRVSAConfig,
    default_out_indices,
)


@pytest.mark.parametrize(
    ("depth", "stages"), [(4, [1, 2, 3, 4]), (5, [1, 2, 3, 5]), (6, [2, 3, 4, 6])]
)
def test_default_stages_are_fractions_of_the_depth(depth, stages):
    assert default_out_indices(depth) == stages


@pytest.mark.parametrize(
    ("size", "blocks"),
    [("tiny", [1, 2, 3, 5]), ("base", [3, 5, 7, 11]), ("large", [7, 11, 15, 23])],
)
def test_default_stages_are_the_published_blocks_plus_one(size, blocks):
    config = ViTRVSAConfig(**VIT_RVSA_SIZES[size])
    assert [index - 1 for index in config.out_indices] == blocks
    assert config.out_features == [f"stage{block + 1}" for block in blocks]


def test_too_few_blocks_need_explicit_stages():
    with pytest.raises(ValueError, match="below 4"):
        ViTRVSAConfig(num_hidden_layers=3)
    config = ViTRVSAConfig(num_hidden_layers=3, out_indices=[3], feature_variant="multi_depth")
    assert config.out_features == ["stage3"]


@pytest.mark.parametrize(
    ("variant", "strides"),
    [
        ("multi_depth_pyramid", [4, 8, 16, 32]),
        ("multi_depth", [16] * 4),
        ("last_layer_pyramid", [4, 8, 16, 32]),
    ],
)
def test_strides_follow_the_variant(variant, strides):
    assert ViTRVSAConfig(feature_variant=variant).map_strides == strides


def test_unknown_field_is_named_in_the_error():
    with pytest.raises(TypeError, match="full_atention_interval"):
        ViTRVSAConfig(full_atention_interval=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "768"},
        {"feature_variant": "pyramid"},
        {"hidden_size": 770},
        {"image_size": 225},
        {"full_attention_interval": 0},
        {"window_size": 8},
        {"out_indices": [12]},
        {"out_indices": [3, 5, 7, 13]},
        {"patch_size": 14, "image_size": 224},
    ],
)
def test_impossible_values_are_refused(wrong):
    with pytest.raises(Exception, match=next(iter(wrong))):
        ViTRVSAConfig(**wrong)


def test_whole_numbers_pass_for_fractions():
    assert ViTRVSAConfig(drop_path_rate=0, mlp_ratio=2.5).drop_path_rate == 0


def test_round_trip_through_the_file_and_the_auto_class(tmp_path):
    config = ViTRVSAConfig(
        **VIT_RVSA_SIZES["tiny"],
        out_indices=[1, 2, 5, 6],
        use_full_attention_rel_pos=False,
        id2label={0: "sea", 1: "land", 2: "ice"},
    )
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is ViTRVSAConfig
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.out_indices == [1, 2, 5, 6] and again.num_labels == 3


def test_keys_of_the_library_in_the_file_are_accepted(tmp_path):
    ViTRVSAConfig().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content |= {
        "architectures": ["ViTRVSABackbone"],
        "auto_map": {"AutoConfig": "configuration_vit_rvsa.ViTRVSAConfig"},
        "dtype": "bfloat16",
        "transformers_version": "5.23.0",
        "id2label": {"0": "a", "1": "b", "2": "c"},
        "label2id": {"a": 0, "b": 1, "c": 2},
    }
    path.write_text(json.dumps(content))
    assert ViTRVSAConfig.from_pretrained(tmp_path).num_labels == 3


def test_sizes_are_those_of_the_paper():
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "full_attention_interval")
    assert [VIT_RVSA_SIZES["base"][k] for k in keys] == [768, 12, 12, 3]
    assert [VIT_RVSA_SIZES["large"][k] for k in keys] == [1024, 24, 16, 6]
    assert VIT_RVSA_SIZES["base"]["image_size"] == 224
    assert VIT_RVSA_SIZES["large"]["image_size"] == 448
