"""Anchors: horizontal prior boxes on every cell of a feature pyramid.

Anchors of a level are ordered cells row by row, inside a cell ratio by ratio, inside a ratio scale
by scale: the order of the prediction channels in published weights. The first cell's anchors are
centred at pixel 0 (no half-cell offset).
Letters: L levels, A anchors per cell, H W map size, N anchors.
Source: Faster R-CNN (arXiv 1506.01497), section 3.1; matches mmdet's
`AnchorGenerator(center_offset=0)`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch


def anchors_inside(anchors: torch.Tensor, size: tuple[int, int], border: int) -> torch.Tensor:
    """Tell which anchors cross the image's edge by less than `border` pixels.

    Args:
        anchors: (N, 4).
        size: height and width of the image content, without padding.
        border: allowed overhang in pixels; negative accepts every anchor.

    Returns:
        (N,) bool.
    """
    if border < 0:
        return torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    x1, y1, x2, y2 = anchors.unbind(-1)
    height, width = size
    return (x1 >= -border) & (y1 >= -border) & (x2 < width + border) & (y2 < height + border)


def anchors_valid(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    size: tuple[int, int],
    *,
    num_anchors: int,
    pad_divisor: int = 1,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Tell which anchors belong to cells that start inside the (padded) image.

    Args:
        feature_sizes: height and width of each map.
        strides: input pixels per cell of each map.
        size: height and width of this image, in input pixels.
        num_anchors: anchors per cell.
        pad_divisor: the image counts as padded to a multiple of this.
        device: where the result lives.

    Returns:
        (N,) bool over all levels, in the order of `AnchorGenerator.grid`.
    """
    padded = [-(-side // pad_divisor) * pad_divisor for side in size]
    flags = []
    for (height, width), stride in zip(feature_sizes, strides, strict=True):
        rows = torch.arange(height, device=device) < math.ceil(padded[0] / stride)
        columns = torch.arange(width, device=device) < math.ceil(padded[1] / stride)
        cells = rows[:, None] & columns  # (H, W)
        flags.append(cells.flatten().repeat_interleave(num_anchors))
    return torch.cat(flags)


def order_by_anchor(maps: torch.Tensor, num_values: int) -> torch.Tensor:
    """Bring what a convolution says of each anchor into the order of `AnchorGenerator.grid`.

    Args:
        maps: (B, A D, H, W).
        num_values: D, told of each anchor.

    Returns:
        (B, H W A, D).
    """
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, num_values)


@dataclass(frozen=True)
class AnchorGenerator:
    """Make the anchors of a pyramid; every level has the same shapes in units of its stride.

    Args:
        strides: input pixels per cell, one per level.
        scales: sides of a square anchor in units of the stride.
        ratios: height over width.
    """

    strides: tuple[int, ...]
    scales: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def num_anchors(self) -> int:
        """Number of anchors per cell."""
        return len(self.scales) * len(self.ratios)

    def base_anchors(self, level: int, device: torch.device | str | None = None) -> torch.Tensor:
        """Give the anchors of the first cell, centred at the origin.

        Args:
            level: index of the pyramid level.
            device: where the result lives.

        Returns:
            (A, 4) boxes in pixels.
        """
        stride = self.strides[level]
        scales = torch.tensor(self.scales, dtype=torch.float, device=device)
        roots = torch.tensor(self.ratios, dtype=torch.float, device=device).sqrt()
        widths = (stride * (1 / roots)[:, None] * scales).flatten()  # ratio slow, scale fast
        heights = (stride * roots[:, None] * scales).flatten()
        return torch.stack((-widths, -heights, widths, heights), dim=-1) / 2

    def grid(
        self, feature_sizes: Sequence[tuple[int, int]], device: torch.device | str | None = None
    ) -> list[torch.Tensor]:
        """Give the anchors of all cells of each level.

        Args:
            feature_sizes: height and width of each map.
            device: where the anchors live.

        Returns:
            One (H * W * A, 4) tensor per level, pixels.
        """
        anchors = []
        for level, (height, width) in enumerate(feature_sizes):
            stride = self.strides[level]
            y = torch.arange(height, dtype=torch.float, device=device) * stride
            x = torch.arange(width, dtype=torch.float, device=device) * stride
            y, x = torch.meshgrid(y, x, indexing="ij")  # (H, W)
            shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)  # (HW, 1, 4)
            anchors.append((shifts + self.base_anchors(level, device)).flatten(0, 1))
        return anchors
