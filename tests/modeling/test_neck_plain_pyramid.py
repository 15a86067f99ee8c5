import torch
from torch import nn
from torch.nn import functional as F

from mtp_hf.modeling.neck_plain_pyramid import ChannelLayerNorm, DoublingDeconvolution, PlainPyramid


def test_deconvolution_writes_each_place_into_its_own_block():
    layer = DoublingDeconvolution(1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        layer.bias.fill_(0.5)
        doubled = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert doubled[0, 0].tolist() == [[1.5, 2.5, 10.5, 20.5], [3.5, 4.5, 30.5, 40.5]]


def test_deconvolution_is_the_same_with_and_without_gradients():
    layer, x = DoublingDeconvolution(8), torch.randn(2, 8, 5, 6)
    with torch.no_grad():
        without = layer(x)
    torch.testing.assert_close(layer(x), without)
    torch.testing.assert_close(without, F.conv_transpose2d(x, layer.weight, layer.bias, stride=2))


def test_channel_norm_normalises_every_place():
    norm = ChannelLayerNorm(6, eps=1e-6)
    x = norm(torch.randn(2, 6, 3, 4) * 5 + 2)
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-4, rtol=0)


def test_pyramid_doubles_twice_once_keeps_and_halves():
    maps = PlainPyramid(4, 1e-6)([torch.randn(1, 4, 7, 9)] * 4)
    assert [tuple(m.shape[2:]) for m in maps] == [(28, 36), (14, 18), (7, 9), (3, 4)]


def test_pyramid_takes_each_map_from_its_own_input():
    pyramid = PlainPyramid(4, 1e-6)
    inputs = [torch.randn(1, 4, 8, 8) for _ in range(4)]
    maps = pyramid(inputs)
    torch.testing.assert_close(maps[2], inputs[2])
    torch.testing.assert_close(maps[3], F.max_pool2d(inputs[3], 2))
    torch.testing.assert_close(maps[1], pyramid.half_stride(inputs[1]))


def test_pyramid_equals_plain_layers():
    pyramid, x = PlainPyramid(4, 1e-6), torch.randn(1, 4, 3, 3)
    first, norm, _, second = pyramid.quarter_stride
    y = nn.functional.conv_transpose2d(x, first.weight, first.bias, stride=2)
    y = F.gelu(F.layer_norm(y.permute(0, 2, 3, 1), (4,), norm.weight, norm.bias, 1e-6))
    y = F.conv_transpose2d(y.permute(0, 3, 1, 2), second.weight, second.bias, stride=2)
    torch.testing.assert_close(pyramid([x] * 4)[0], y)
