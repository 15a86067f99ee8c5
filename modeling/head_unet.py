"""UNet decoder: from the coarsest map up, doubling the size four times, with three finer maps.

Source: Ronneberger et al. 2015 (https://arxiv.org/abs/1505.04597); matches the UNet head of the
original's change detection (spec 3.5), whose centre block and attention are never used.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .layers_conv import ConvNormReLU


class UNetBlock(nn.Module):
    """Double the size of a map, join a finer one, and convolve twice.

    Args:
        in_channels: Of the map.
        skip_channels: Of the finer map, 0 for none.
        out_channels: Of the result.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        # PyTorch's own start, unlike the other heads (original spec 3.0).
        self.conv1 = ConvNormReLU(in_channels + skip_channels, out_channels, 3, nn.Conv2d)
        self.conv2 = ConvNormReLU(out_channels, out_channels, 3, nn.Conv2d)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map (B, C_in, H, W), and a skip of any size, to (B, C_out, 2 H, 2 W)."""
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            size = x.shape[-2:]
            skip = F.interpolate(skip, size=size, mode="bilinear", align_corners=False)
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


class UNetDecoder(nn.Module):
    """Fuse four maps into one of 32 times the coarsest's size.

    Kept: with four maps of stride 16 (a ViT without pyramid) finer maps are enlarged 2, 4 and 8
    times, and the result has twice the size of the image (original spec 6, quirk 48).

    Args:
        in_channels: Channels of the four backbone maps, finest first.
        hidden_sizes: Channels of the four blocks, in the order in which they run.
    """

    def __init__(self, in_channels: Sequence[int], hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        coarsest, *skips = reversed(in_channels)
        inputs = [coarsest, *hidden_sizes[:-1]]
        self.blocks = nn.ModuleList(
            UNetBlock(*channels) for channels in zip(inputs, [*skips, 0], hidden_sizes, strict=True)
        )

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map four maps (B, C_l, H_l, W_l), finest first, to (B, hidden_sizes[-1], 32 H, 32 W).

        H and W are those of the coarsest map.
        """
        x, *skips = reversed(features)
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            x = block(x, skip)
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
