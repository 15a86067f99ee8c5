"""Feature pyramid network: lateral 1 x 1, top-down nearest addition, 3 x 3 output, extra levels.

L levels; C channels; H W feature size. Source: Lin et al. 2017a, section 3; for the extra
convolutions Lin et al. 2017b (RetinaNet), section 4 (original spec 7.1).
"""

import torch
from torch import nn

from .layers_conv import KaimingConv2d


class FeaturePyramidNetwork(nn.Module):
    """Turn backbone maps into maps of equal width, plus coarser ones.

    Args:
        in_channels: Channels of each backbone map, finest first.
        hidden_size: Channels of every output map.
        start_level: Backbone maps before this are not read.
        num_extra_convs: Coarser maps by convolutions of stride 2, the first on the last backbone
            map; 0 = one coarser map, every second pixel of the last output.
    """

    def __init__(
        self,
        in_channels: list[int],
        hidden_size: int,
        *,
        start_level: int = 0,
        num_extra_convs: int = 0,
    ) -> None:
        super().__init__()
        self.start_level = start_level
        used = in_channels[start_level:]
        self.lateral_convs = nn.ModuleList(KaimingConv2d(c, hidden_size, 1) for c in used)
        self.output_convs = nn.ModuleList(
            KaimingConv2d(hidden_size, hidden_size, 3, padding=1) for _ in used
        )
        widths = [used[-1]] + [hidden_size] * num_extra_convs
        self.extra_convs = nn.ModuleList(
            KaimingConv2d(width, hidden_size, 3, stride=2, padding=1)
            for width in widths[:num_extra_convs]
        )

    def forward(self, features: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        """Compute the pyramid.

        Args:
            features: Maps (B, C_l, H_l, W_l), finest first.

        Returns:
            A map (B, hidden_size, H_l, W_l) for each map read, and the coarser ones, each of half
            the side of the one before, rounded up.
        """
        used = features[self.start_level :]
        maps = [conv(x) for conv, x in zip(self.lateral_convs, used, strict=True)]
        for level in range(len(maps) - 1, 0, -1):
            size = maps[level - 1].shape[-2:]
            upsampled = nn.functional.interpolate(maps[level], size=size, mode="nearest")
            maps[level - 1] = maps[level - 1] + upsampled
        outputs = [conv(x) for conv, x in zip(self.output_convs, maps, strict=True)]
        if not self.extra_convs:
            outputs.append(nn.functional.max_pool2d(outputs[-1], kernel_size=1, stride=2))
        x = used[-1]
        for conv in self.extra_convs:
            x = conv(x)
            outputs.append(x)
        return outputs
