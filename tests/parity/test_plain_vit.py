"""The plain ViT of an autoencoder is ViT + RVSA with full attention in every block: against timm's.

timm names weights as the autoencoder does; neither has a class token here.
"""

import pytest
import timm
import torch

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    load_original_weights,
)
from mtp_hf.modeling.modeling_vit_rvsa import FullAttention, ViTRVSABackbone, ViTRVSAModel

PLAIN = {"full_attention_interval": 1, "use_full_attention_rel_pos": False}
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 128,
}


@pytest.fixture(scope="module")
def plain():
    model = timm.create_model(
        "vit_base_patch16_224",
        img_size=128,
        embed_dim=32,
        depth=4,
        num_heads=2,
        class_token=False,
        global_pool="avg",
        fc_norm=False,  # so that the final norm is in the features
        num_classes=0,
    ).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def _load(model, plain):
    report = load_original_weights(model, plain.state_dict(), VIT_RVSA_TABLE)
    assert report["missing"] == []
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_tokens_equal_those_of_the_plain_transformer(plain, implementation):
    config = ViTRVSAConfig(**SIZE, **PLAIN, feature_variant="last_layer_pyramid")
    model = _load(ViTRVSAModel(config), plain)
    model.set_attn_implementation(implementation)
    image = torch.randn(2, 3, 128, 128)
    expected = plain.forward_features(image)
    assert expected.shape == (2, 64, 32)
    torch.testing.assert_close(model(image).last_hidden_state, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_maps_of_blocks_equal_those_of_the_plain_transformer(plain):
    config = ViTRVSAConfig(**SIZE, **PLAIN, feature_variant="multi_depth", out_indices=[2, 4])
    backbone = _load(ViTRVSABackbone(config), plain)
    image = torch.randn(2, 3, 128, 128)
    expected = plain.get_intermediate_layers(image, n=[1, 3], reshape=True)
    for m, of_plain in zip(backbone(image).feature_maps, expected, strict=True):
        torch.testing.assert_close(m, of_plain, atol=1e-4, rtol=1e-4)


def test_every_block_is_global_and_has_no_position_tables_of_its_own():
    backbone = ViTRVSABackbone(ViTRVSAConfig(**SIZE, **PLAIN))
    assert all(isinstance(layer.attention, FullAttention) for layer in backbone.layers)
    assert not [name for name, _ in backbone.named_parameters() if "rel" in name]
