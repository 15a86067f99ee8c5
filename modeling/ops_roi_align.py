"""RoI pooling from one map or from a pyramid, for horizontal and rotated boxes.

The horizontal operator is torchvision's. The rotated one is written here: every output bin is a
weighted sum of a few map positions, so pooling is one `embedding_bag` over the rows of the
channels-last map, with a fast gradient to the features (none to the boxes, as in the original).
Letters: B batch, C channels, H W map size, R RoIs, L levels, S samples per bin side, o output size.
Source: RoIAlign, Mask R-CNN (arXiv 1703.06870), section 3; level rule, FPN (arXiv 1612.03144),
equation 1; matches mmcv's `RoIAlignRotated(aligned=True, clockwise=True)` and mmdet's
`SingleRoIExtractor`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

MAX_COPY = 1 << 22  # Elements of a channels-last copy: larger buffers cost page faults.
MIN_RUN = 32  # Channels of a copy at least, or reading rows becomes inefficient.


def roi_levels(areas: torch.Tensor, num_levels: int, finest_scale: int = 56) -> torch.Tensor:
    """Choose the pyramid level of each RoI by its size.

    Args:
        areas: (R,) box areas, square pixels.
        num_levels: number of maps, finest first.
        finest_scale: boxes with sides below twice this use the finest map, pixels.

    Returns:
        (R,) int64 levels from 0.
    """
    scale = areas.float().clamp(min=0).sqrt()
    levels = torch.floor(torch.log2(scale / finest_scale + 1e-6))
    return levels.clamp(0, num_levels - 1).long()


def multilevel_roi_align(
    features: Sequence[torch.Tensor],
    rois: torch.Tensor,
    output_size: int,
    strides: Sequence[int],
    finest_scale: int = 56,
) -> torch.Tensor:
    """Pool horizontal boxes, each from the map that suits its size.

    Args:
        features: L maps (B, C, H, W), finest first.
        rois: (R, 5) image index, x1, y1, x2, y2 in input pixels.
        output_size: side of the result.
        strides: input pixels per map pixel of each level.
        finest_scale: see `roi_levels`.

    Returns:
        (R, C, o, o) float32.
    """
    areas = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])
    levels = roi_levels(areas, len(strides), finest_scale)
    shape = (len(rois), features[0].shape[1], output_size, output_size)
    pooled = features[0].new_zeros(shape, dtype=torch.float32)
    for level, stride in enumerate(strides):
        index = (levels == level).nonzero().squeeze(1)
        part = roi_align(
            features[level].float(), rois[index].float(), output_size, 1 / stride, aligned=True
        )
        pooled = pooled.index_copy(0, index, part)
    return pooled


def multilevel_rotated_roi_align(
    features: Sequence[torch.Tensor],
    rois: torch.Tensor,
    output_size: int,
    strides: Sequence[int],
    sampling_ratio: int = 2,
    finest_scale: int = 56,
) -> torch.Tensor:
    """Pool rotated boxes, each from the map that suits its size.

    Args:
        features: L maps (B, C, H, W), finest first.
        rois: (R, 6) image index, cx, cy, w, h, angle in input pixels.
        output_size: side of the result.
        strides: input pixels per map pixel of each level.
        sampling_ratio: see `rotated_roi_align`.
        finest_scale: see `roi_levels`.

    Returns:
        (R, C, o, o).
    """
    levels = roi_levels(rois[:, 3] * rois[:, 4], len(strides), finest_scale)
    pooled = features[0].new_zeros(len(rois), features[0].shape[1], output_size, output_size)
    for level, stride in enumerate(strides):
        index = (levels == level).nonzero().squeeze(1)
        part = rotated_roi_align(
            features[level], rois[index], output_size, 1 / stride, sampling_ratio
        )
        pooled = pooled.index_copy(0, index, part)
    return pooled


def rotated_roi_align(
    features: torch.Tensor,
    rois: torch.Tensor,
    output_size: int,
    spatial_scale: float,
    sampling_ratio: int = 2,
) -> torch.Tensor:
    """Pool one map over grids turned with each box; differentiable in the features.

    Args:
        features: (B, C, H, W).
        rois: (R, 6) image index, cx, cy, w, h in input pixels, angle in radians (clockwise).
        output_size: side o of the result.
        spatial_scale: map pixels per input pixel.
        sampling_ratio: samples per bin side; 0 takes about one per map pixel (slow: one pass for
            each number of samples that occurs).

    Returns:
        (R, C, o, o).
    """
    rois = rois.detach().float()
    if sampling_ratio > 0 or len(rois) == 0:
        samples = (max(1, sampling_ratio),) * 2
        return _pool(features, rois, output_size, spatial_scale, samples)
    pooled = features.new_zeros(len(rois), features.shape[1], output_size, output_size)
    grids = torch.ceil(rois[:, 3:5] * spatial_scale / output_size).long()
    for grid in torch.unique(grids, dim=0):
        index = (grids == grid).all(1).nonzero().squeeze(1)
        samples_x, samples_y = grid.tolist()
        part = _pool(features, rois[index], output_size, spatial_scale, (samples_x, samples_y))
        pooled = pooled.index_copy(0, index, part)
    return pooled


def _pool(
    features: torch.Tensor,
    rois: torch.Tensor,
    output_size: int,
    spatial_scale: float,
    samples: tuple[int, int],
) -> torch.Tensor:
    """Pool with the same number of samples (along w, along h) in every bin."""
    x, y = _sample_points(rois, output_size, spatial_scale, samples)
    rows, weights = _bilinear_rows(x, y, rois[:, 0].long(), features.shape)
    pooled = _WeightedRows.apply(features.float(), rows, weights)  # (R, C, oo)
    return pooled.unflatten(2, (output_size, output_size)).to(features.dtype)


def _sample_points(
    rois: torch.Tensor, output_size: int, spatial_scale: float, samples: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Place the samples: (x, y), each (R, oo, SS), in map pixels with pixel centres at integers."""
    center = rois[:, 1:3] * spatial_scale - 0.5
    sides = rois[:, 3:5] * spatial_scale
    steps_x, steps_y = (
        (torch.arange(output_size * count, device=rois.device) + 0.5) / (output_size * count) - 0.5
        for count in samples
    )  # box coordinates in [-0.5, 0.5]
    local_x = (sides[:, :1] * steps_x).unflatten(1, (1, output_size, 1, -1))  # (R, 1, o, 1, S)
    local_y = (sides[:, 1:] * steps_y).unflatten(1, (output_size, 1, -1, 1))  # (R, o, 1, S, 1)
    cos, sin = (t[:, None, None, None, None] for t in (rois[:, 5].cos(), rois[:, 5].sin()))
    x = local_x * cos - local_y * sin + center[:, 0, None, None, None, None]
    y = local_x * sin + local_y * cos + center[:, 1, None, None, None, None]
    return x.flatten(3).flatten(1, 2), y.flatten(3).flatten(1, 2)


def _bilinear_rows(
    x: torch.Tensor, y: torch.Tensor, batch_index: torch.Tensor, shape: torch.Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the table rows and weights of each bin's mean, each (R, oo, 4 SS)."""
    _, _, height, width = shape
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right_part, bottom_part = x - left, y - top
    left, top = left.long(), top.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    top = (top + batch_index[:, None, None] * height) * width
    bottom = (bottom + batch_index[:, None, None] * height) * width
    share = inside.float() / max(1, x.shape[-1])
    upper, lower = (1 - bottom_part) * share, bottom_part * share
    rows = torch.cat((top + left, top + right, bottom + left, bottom + right), dim=-1)
    weights = torch.cat(
        (
            upper * (1 - right_part),
            upper * right_part,
            lower * (1 - right_part),
            lower * right_part,
        ),
        dim=-1,
    )
    return rows.int(), weights


class _WeightedRows(torch.autograd.Function):
    """Weighted sums of map positions: `embedding_bag` over channels-last rows, in both directions.

    The gradient is the same sum with the roles of bins and positions exchanged: entries are sorted
    by position once, so that each position is one bag. No atomic additions: deterministic on a GPU.
    Works through runs of channels, which bounds the memory for channels-last copies.
    """

    @staticmethod
    def forward(
        ctx: Any, features: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Map (B, C, H, W), rows and weights (R, oo, T) to (R, C, oo)."""
        ctx.save_for_backward(rows, weights)
        ctx.shape = features.shape
        num_rois, num_bins, num_terms = rows.shape
        pooled = features.new_zeros(num_rois, features.shape[1], num_bins)
        if rows.numel() == 0:
            return pooled
        rows, weights = rows.view(-1, num_terms), weights.view(-1, num_terms)
        for run in _channel_runs(features.shape):
            table = features[:, run].permute(0, 2, 3, 1).flatten(0, 2).contiguous()  # (BHW, c)
            part = F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
            pooled[:, run] = part.view(num_rois, num_bins, -1).mT  # (R oo, c) -> (R, c, oo)
        return pooled

    @staticmethod
    def backward(ctx: Any, grad_pooled: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Map the gradient (R, C, oo) to (B, C, H, W)."""
        rows, weights = ctx.saved_tensors
        batch, _, height, width = ctx.shape
        grad = grad_pooled.new_zeros(ctx.shape)
        if rows.numel() == 0:
            return grad, None, None
        sorted_rows, order = rows.flatten().sort(stable=True)
        positions = torch.arange(batch * height * width + 1, device=rows.device, dtype=rows.dtype)
        bag_starts = torch.searchsorted(sorted_rows, positions, out_int32=True)
        bins = torch.div(order, rows.shape[2], rounding_mode="floor").to(rows.dtype)
        weights = weights.flatten()[order]
        for run in _channel_runs(ctx.shape):
            table = grad_pooled[:, run].mT.flatten(0, 1).contiguous()  # (R, c, oo) -> (R oo, c)
            part = F.embedding_bag(
                bins,
                table,
                bag_starts,
                mode="sum",
                per_sample_weights=weights,
                include_last_offset=True,
            )  # (BHW, c)
            grad[:, run] = part.view(batch, height, width, -1).permute(0, 3, 1, 2)
        return grad, None, None


def _channel_runs(shape: torch.Size) -> list[slice]:
    """Cut the channels into runs whose channels-last copy has about `MAX_COPY` elements."""
    batch, channels, height, width = shape
    step = max(MIN_RUN, MAX_COPY // (batch * height * width))
    return [slice(start, start + step) for start in range(0, channels, step)]
