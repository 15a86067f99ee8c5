"""Claims about initial values."""

import pytest
import torch
from torch import nn

from mtp_hf.modeling.layers_conv import BatchNormOrRunning, KaimingConv2d
from mtp_hf.modeling.layers_initialization import (
    init_kaiming,
    init_layer,
    init_normal,
    init_rare,
    init_xavier,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(8, 64, 3),
        lambda: nn.Conv2d(8, 64, 3, bias=False),
        lambda: nn.ConvTranspose2d(64, 8, 2),
        lambda: nn.Linear(64, 64),
    ],
)
def test_plain_layers_start_as_pytorch_makes_them(make):
    torch.manual_seed(5)
    expected = make()
    found = make()
    for parameter in found.parameters():
        nn.init.constant_(parameter, 1e13)
    torch.manual_seed(5)
    init_layer(found)
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, expected.get_parameter(name)), name


def test_kaiming_convolutions_spread_by_fan_out():
    conv = KaimingConv2d(16, 128, 3)
    init_layer(conv)
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.05)
    assert not conv.bias.any()


def test_batch_norm_starts_with_the_identity():
    norm = BatchNormOrRunning(4)
    for tensor in norm.state_dict().values():
        tensor.fill_(7)
    init_layer(norm)
    fresh = nn.BatchNorm2d(4).state_dict()
    for name, tensor in norm.state_dict().items():
        assert torch.equal(tensor, fresh[name]), name


def test_other_modules_are_left_alone():
    norm = nn.LayerNorm(4)
    nn.init.constant_(norm.weight, 3.0)
    init_layer(norm)
    assert torch.equal(norm.weight, torch.full((4,), 3.0))


@pytest.mark.parametrize("layer", [nn.Linear(100, 100), nn.Conv2d(100, 100, 1, bias=False)])
def test_last_layers_are_normal_with_zero_bias(layer):
    init_normal(layer, 0.01)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert layer.bias is None or not layer.bias.any()


def test_necks_spread_by_both_fans_and_masks_by_fan_out():
    conv = nn.Conv2d(48, 144, 3)
    init_xavier(conv)
    bound = (6 / (9 * (48 + 144))) ** 0.5
    assert conv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not conv.bias.any()
    deconv = nn.ConvTranspose2d(128, 64, 2)
    init_kaiming(deconv)
    assert deconv.weight.std().item() == pytest.approx((2 / (4 * 128)) ** 0.5, rel=0.03)
    assert not deconv.bias.any()


def test_rare_objects_begin_with_their_probability():
    conv = nn.Conv2d(100, 100, 3)
    init_rare(conv, 0.01, 0.2)
    torch.testing.assert_close(conv.bias.sigmoid(), torch.full((100,), 0.2))
    assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_loaded_tensors_stay():
    layer = nn.Linear(4, 4)
    before = layer.weight.clone()
    layer.weight._is_hf_initialized = True
    init_layer(layer)
    init_normal(layer, 0.01)
    assert torch.equal(layer.weight, before) and not layer.bias.any()
