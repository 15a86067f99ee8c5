"""Names of the original InternImage lead to ours and back."""

import pytest
import torch

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import (
    invert_table,
    rename_key,
)
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from tests.original_names import rename_keys

LAYER, OURS = "levels.2.blocks.17.", "stages.2.layers.17."


@pytest.mark.parametrize(
    ("original", "own"),
    [
        ("patch_embed.conv2.bias", "embeddings.conv2.bias"),
        ("patch_embed.norm1.1.weight", "embeddings.norm1.weight"),
        (LAYER + "gamma2", OURS + "layer_scale2"),
        (LAYER + "norm1.0.bias", OURS + "norm1.bias"),
        (LAYER + "dcn.dw_conv.0.weight", OURS + "dcn.depthwise_conv.weight"),
        (LAYER + "dcn.dw_conv.1.1.weight", OURS + "dcn.depthwise_norm.weight"),
        (LAYER + "dcn.offset.bias", OURS + "dcn.offset.bias"),
        (LAYER + "dcn.output_proj.weight", OURS + "dcn.output_proj.weight"),
        (LAYER + "mlp.fc2.weight", OURS + "mlp.fc2.weight"),
        ("levels.3.norm.0.weight", "stages.3.norm.weight"),
    ],
)
def test_original_keys_get_our_names(original, own):
    assert rename_key(original, INTERNIMAGE_TABLE) == (True, own)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_downsampling_moves_to_the_stage_that_it_leads_to(level):
    names = {
        f"levels.{level}.downsample.{x}": torch.ones(1) for x in ("conv.weight", "norm.1.bias")
    }
    after = f"stages.{level + 1}.downsample."
    assert list(rename_keys(names, INTERNIMAGE_TABLE)) == [
        after + "conv.weight",
        after + "norm.bias",
    ]


@pytest.mark.parametrize("key", ["head.weight", "conv_head.0.weight", "conv_head.1.0.bias"])
def test_classifiers_of_imagenet_are_left_out(key):
    assert rename_key(key, INTERNIMAGE_TABLE) == (True, None)


@pytest.mark.parametrize(
    "key",
    [
        "levels.0.blocks.0.dcn.center_feature_scale_proj_weight",  # of the larger H and G
        "levels.0.blocks.0.res_post_norm1.0.weight",
        "levels.3.downsample.conv.weight",
        "levels.0.blocks.0.gamma3",
        "backbone.patch_embed.conv1.weight",
    ],
)
def test_keys_of_other_networks_are_not_known(key):
    assert rename_key(key, INTERNIMAGE_TABLE) == (False, None)


@pytest.mark.parametrize("size", INTERNIMAGE_SIZES)
def test_every_parameter_of_ours_has_one_original_name(size):
    with torch.device("meta"):
        ours = InternImageBackbone(InternImageConfig(**INTERNIMAGE_SIZES[size])).state_dict()
    original = rename_keys(ours, invert_table(INTERNIMAGE_TABLE))
    assert len(original) == len(ours)
    assert all(name.startswith(("patch_embed.", "levels.")) for name in original)
    assert list(rename_keys(original, INTERNIMAGE_TABLE)) == list(ours)
