"""Both backbones as one graph: compiled without a break, exported with the same maps."""

import pytest
import torch

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone


def _vit_rvsa():
    config = ViTRVSAConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        full_attention_interval=2,
        image_size=128,
    )
    return ViTRVSABackbone(config)


def _internimage():
    size = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_groups": [1, 2, 4, 8], "image_size": 64}
    return InternImageBackbone(InternImageConfig(**INTERNIMAGE_SIZES["tiny"] | size))


@pytest.fixture(params=[_vit_rvsa, _internimage])
def backbone(request):
    torch.manual_seed(0)
    backbone = request.param().eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.1)
    torch.compiler.reset()
    return backbone


def _assert_equal(maps, expected):
    for m, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(m, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_compiled_without_a_break_it_makes_the_same_maps(backbone):
    image = torch.randn(1, 3, 112, 130)  # interpolates the position tables, and pads
    expected = backbone(image, output_hidden_states=True)
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    output = compiled(image, output_hidden_states=True)
    _assert_equal(output.feature_maps, expected.feature_maps)
    _assert_equal(output.hidden_states, expected.hidden_states)


def test_compiled_it_has_the_same_gradients(backbone):
    image, parameters = torch.randn(1, 3, 112, 130), list(backbone.parameters())
    gradients = []
    for run in (backbone, torch.compile(backbone, backend="aot_eager", fullgraph=True)):
        loss = sum(m.square().mean() for m in run(image).feature_maps)
        gradients.append(torch.autograd.grad(loss, parameters, allow_unused=True))
    assert sum(g is not None for g in gradients[0]) > 40
    for ours, expected in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


def test_exported_it_makes_the_same_maps(backbone):
    image = torch.randn(1, 3, 112, 130)
    exported = torch.export.export(backbone, (image,)).module()
    with torch.no_grad():
        _assert_equal(exported(image).feature_maps, backbone(image).feature_maps)
