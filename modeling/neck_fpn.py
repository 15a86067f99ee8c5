"""Feature pyramid network: lateral 1 x 1, top-down nearest addition, 3 x 3 output, one extra level.

L levels; C channels; H W feature size. Source: Lin et al. 2017, section 3 (original spec 7.1).
"""

import torch
from torch import nn

from .layers_conv import KaimingConv2d


class FeaturePyramidNetwork(nn.Module):
    """Turn backbone maps into maps of equal width, plus one coarser map.

    Args:
        in_channels: Channels of each backbone map, finest first.
        hidden_size: Channels of every output map.
    """

    def __init__(self, in_channels: list[int], hidden_size: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(KaimingConv2d(c, hidden_size, 1) for c in in_channels)
        self.output_convs = nn.ModuleList(
            KaimingConv2d(hidden_size, hidden_size, 3, padding=1) for _ in in_channels
        )

    def forward(self, features: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Compute the pyramid.

        Args:
            features: L maps (B, C_l, H_l, W_l), finest first.

        Returns:
            L + 1 maps (B, hidden_size, H_l, W_l); the last keeps every second pixel of the one
            before.
        """
        maps = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for level in range(len(maps) - 1, 0, -1):
            size = maps[level - 1].shape[-2:]
            upsampled = nn.functional.interpolate(maps[level], size=size, mode="nearest")
            maps[level - 1] = maps[level - 1] + upsampled
        outputs = [conv(x) for conv, x in zip(self.output_convs, maps, strict=True)]
        outputs.append(nn.functional.max_pool2d(outputs[-1], kernel_size=1, stride=2))
        return outputs
