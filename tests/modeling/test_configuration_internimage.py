"""The configuration of InternImage: defaults, stages and strides, refusals, round trips."""

import json

import pytest
from transformers import AutoConfig

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig


def test_all_stages_are_the_default_output():
    config = InternImageConfig()
    assert config.out_features == ["stage1", "stage2", "stage3", "stage4"]
    assert config.out_indices == [1, 2, 3, 4] and config.map_strides == [4, 8, 16, 32]
    assert config.hidden_sizes == [192, 384, 768, 1536]


def test_defaults_are_the_largest_size():
    expected = InternImageConfig(**INTERNIMAGE_SIZES["XL"] | {"image_size": 224})
    assert InternImageConfig().to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("chosen", "strides"),
    [
        ({"out_indices": [0, 1]}, [4, 4]),
        ({"out_indices": [4]}, [32]),
        ({"out_features": ["stage2", "stage3"]}, [8, 16]),
    ],
)
def test_strides_follow_the_chosen_stages(chosen, strides):
    assert InternImageConfig(**chosen).map_strides == strides


def test_depths_decide_the_number_of_stages():
    config = InternImageConfig(embed_dim=16, depths=[1, 1], num_groups=[2, 4])
    assert config.stage_names == ["stem", "stage1", "stage2"]
    assert config.hidden_sizes == [16, 32]


def test_unknown_field_is_named_in_the_error():
    with pytest.raises(TypeError, match="ofset_scale"):
        InternImageConfig(ofset_scale=1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"embed_dim": "192"}, "embed_dim"),
        ({"embed_dim": 15, "num_groups": [1, 1, 1, 1]}, "embed_dim 15 is not even"),
        ({"depths": [5, 5, 24]}, r"num_groups .* and depths \[5, 5, 24\]"),
        ({"depths": [5, 0, 24, 5]}, r"depths \[5, 0, 24, 5\] has a stage without layers"),
        ({"num_groups": [12, 24, 48, 95]}, r"num_groups \[12, 24, 48, 95\] do not divide"),
        ({"num_groups": [0, 24, 48, 96]}, r"num_groups \[0, 24, 48, 96\] do not divide"),
        ({"out_features": ["stage5"]}, "stage5"),
        ({"post_norm": "yes"}, "post_norm"),
    ],
)
def test_impossible_values_are_refused(wrong, message):
    with pytest.raises(Exception, match=message):
        InternImageConfig(**wrong)


def test_whole_numbers_pass_for_fractions():
    config = InternImageConfig(offset_scale=1, drop_path_rate=0, layer_scale_init_value=None)
    assert config.offset_scale == 1 and config.layer_scale_init_value is None


def test_round_trip_through_the_file_and_the_auto_class(tmp_path):
    names = {0: "sea", 1: "land", 2: "ice"}
    config = InternImageConfig(**INTERNIMAGE_SIZES["T"], out_indices=[2, 4], id2label=names)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is InternImageConfig
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.out_features == ["stage2", "stage4"] and again.num_labels == 3
    assert again.layer_scale_init_value is None and not again.post_norm


def test_keys_of_the_library_in_the_file_are_accepted_and_others_named(tmp_path):
    InternImageConfig().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text()) | {
        "architectures": ["InternImageBackbone"],
        "auto_map": {"AutoConfig": "configuration_internimage.InternImageConfig"},
        "dtype": "bfloat16",
    }
    path.write_text(json.dumps(content))
    assert InternImageConfig.from_pretrained(tmp_path).embed_dim == 192
    path.write_text(json.dumps(content | {"core_op": "DCNv3"}))
    with pytest.raises(TypeError, match="core_op"):
        InternImageConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("size", "channels", "depths", "groups", "scale"),
    [
        ("T", 64, [4, 4, 18, 4], 4, 1.0),
        ("S", 80, [4, 4, 21, 4], 5, 1.0),
        ("B", 112, [4, 4, 21, 4], 7, 1.0),
        ("L", 160, [5, 5, 22, 5], 10, 2.0),
        ("XL", 192, [5, 5, 24, 5], 12, 2.0),
    ],
)
def test_sizes_are_those_of_the_paper(size, channels, depths, groups, scale):
    config = InternImageConfig(**INTERNIMAGE_SIZES[size])
    assert (config.embed_dim, config.depths, config.offset_scale) == (channels, depths, scale)
    assert config.num_groups == [groups * 2**stage for stage in range(4)]
    assert config.post_norm is (size != "T")
    assert {c // g for c, g in zip(config.hidden_sizes, config.num_groups, strict=True)} == {16}
