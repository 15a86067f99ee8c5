"""Any backbone can be named in a configuration."""

from types import SimpleNamespace

import pytest
import torch
from transformers import ResNetConfig, TimmBackboneConfig

from mtp_hf.modeling.backbones import build_backbone
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig

TINY_RESNET = ResNetConfig(
    embedding_size=8,
    hidden_sizes=[8, 8, 16, 16],
    depths=[1, 1, 1, 1],
    out_indices=[1, 2, 3, 4],
)


def _maps(backbone_config, size=112):
    backbone = build_backbone(SimpleNamespace(backbone_config=backbone_config)).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, size, size)).feature_maps
    assert [m.shape[1] for m in maps] == list(backbone.channels)
    return maps


def test_ours():
    config = ViTRVSAConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=112
    )
    assert [m.shape[-1] for m in _maps(config)] == [
        28,
        14,
        7,
        3,
    ]  # the pooling of the coarsest drops an odd row


def test_one_of_transformers():
    assert [m.shape[-1] for m in _maps(TINY_RESNET)] == [28, 14, 7, 4]


def test_one_of_timm():
    pytest.importorskip("timm")
    config = TimmBackboneConfig(
        backbone="resnet18", use_pretrained_backbone=False, out_indices=[1, 2, 3, 4]
    )
    assert [m.shape[-1] for m in _maps(config, size=64)] == [16, 8, 4, 2]
