"""Claims about the UNet decoder."""

import pytest
import torch
from torch.nn import functional as F

from mtp_hf.modeling.head_unet import UNetBlock, UNetDecoder
from mtp_hf.modeling.layers_conv import KaimingConv2d


@pytest.mark.parametrize(
    ("channels", "inputs"),
    [
        ([768] * 4, [1536, 1280, 1024, 128]),
        ([1024] * 4, [2048, 1536, 1280, 128]),
        ([192, 384, 768, 1536], [2304, 896, 448, 128]),
    ],
)
def test_first_convolutions_have_the_published_inputs(channels, inputs):
    with torch.device("meta"):
        decoder = UNetDecoder(channels, (512, 256, 128, 64))
    assert [block.conv1.conv.in_channels for block in decoder.blocks] == inputs
    assert [block.conv2.conv.out_channels for block in decoder.blocks] == [512, 256, 128, 64]


@pytest.mark.parametrize(
    ("channels", "head"),
    [([768] * 4, 14_417_794), ([1024] * 4, 17_661_826), ([192, 384, 768, 1536], 16_408_450)],
)
def test_number_of_parameters_is_that_of_the_original(channels, head):
    with torch.device("meta"):
        decoder = UNetDecoder(channels, (512, 256, 128, 64))
    classifier = 64 * 2 + 2
    assert sum(p.numel() for p in decoder.parameters()) + classifier == head


def test_maps_of_stride_sixteen_give_twice_the_image():
    maps = tuple(torch.randn(1, 4, 7, 8) for _ in range(4))
    assert UNetDecoder([4] * 4, [8, 8, 8, 6])(maps).shape == (1, 6, 32 * 7, 32 * 8)


def test_pyramid_gives_the_image():
    maps = tuple(torch.randn(2, 4, 64 // s, 96 // s) for s in (4, 8, 16, 32))
    assert UNetDecoder([4] * 4, [8, 8, 8, 6])(maps).shape == (2, 6, 64, 96)


def test_odd_maps_are_brought_to_the_size_of_the_upper_path():
    maps = tuple(torch.randn(1, 4, *size) for size in ((27, 25), (14, 13), (7, 7), (4, 4)))
    assert UNetDecoder([4] * 4, [8, 8, 8, 6])(maps).shape == (1, 6, 128, 128)


@torch.no_grad()
def test_block_doubles_by_repeating_and_joins_the_skip_behind():
    block = UNetBlock(1, 1, 2).eval()
    block.conv1.conv.weight.zero_()
    block.conv1.conv.weight[0, 0, 1, 1] = 1  # the map
    block.conv1.conv.weight[1, 1, 1, 1] = 1  # the skip
    block.conv2.conv.weight.zero_()
    for channel in range(2):
        block.conv2.conv.weight[channel, channel, 1, 1] = 1
    x, skip = torch.rand(1, 1, 2, 3), torch.rand(1, 1, 2, 3)
    found = block(x, skip) * (1 + 1e-5)  # two norms of variance one, epsilon 1e-5
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    smooth = F.interpolate(skip, (4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, torch.cat([repeated, smooth], 1), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_decoder_equals_its_steps_written_out():
    decoder = UNetDecoder([3, 4, 5, 6], [8, 7, 6, 5]).eval()
    shapes = ((3, 16), (4, 8), (5, 4), (6, 2))
    maps = tuple(torch.randn(1, channels, side, side) for channels, side in shapes)
    x = maps[3]
    for block, skip in zip(decoder.blocks, (maps[2], maps[1], maps[0], None), strict=True):
        x = F.interpolate(x, scale_factor=2)
        if skip is not None:
            x = torch.cat([x, F.interpolate(skip, x.shape[2:], mode="bilinear")], 1)
        for part in (block.conv1, block.conv2):
            assert part.norm.eps == 1e-5 and part.norm.momentum == 0.1
            x = part.norm(F.conv2d(x, part.conv.weight, padding=1)).relu()
    x = F.interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(decoder(maps), x)


def test_convolutions_start_as_pytorch_makes_them():
    convs = [m for m in UNetDecoder([4] * 4, [8] * 4).modules() if hasattr(m, "kernel_size")]
    assert len(convs) == 8 and not any(isinstance(m, KaimingConv2d) for m in convs)
    assert all(m.bias is None for m in convs)
