"""RoI pooling from one map or from a pyramid, for horizontal and rotated boxes.

Every output bin is the mean of a few bilinear samples, hence a weighted sum of map positions: here
are the positions and weights, `ops_weighted_positions.py` sums up, for all levels at once and with
a gradient to the features (none to the boxes, as in the original).
Letters: B batch, C channels, H W map size, R RoIs, L levels, S samples per bin side, o output size,
T positions that one bin reads along an axis.
Source: RoIAlign, Mask R-CNN (arXiv 1703.06870), section 3; level rule, FPN (arXiv 1612.03144),
equation 1; matches torchvision's `roi_align(aligned=True)`, mmcv's
`RoIAlignRotated(aligned=True, clockwise=True)` and mmdet's `SingleRoIExtractor`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from .ops_weighted_positions import Terms, first_positions, sum_positions


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
    """Pool horizontal boxes, each from the map that suits its size, one sample per map pixel.

    Args:
        features: L maps (B, C, H, W), finest first.
        rois: (R, 5) image index, x1, y1, x2, y2 in input pixels.
        output_size: side of the result.
        strides: input pixels per map pixel of each level.
        finest_scale: see `roi_levels`.

    Returns:
        (R, C, o, o) float32.
    """
    rois = rois.detach().float()
    areas = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])
    levels = roi_levels(areas, len(strides), finest_scale)
    maps = [level.float() for level in features[: len(strides)]]
    places = _places(maps, rois[:, 0], levels, [1 / stride for stride in strides])
    terms = _upright_terms(rois[:, 1:], places, output_size)
    return sum_positions(maps, terms, output_size**2).unflatten(2, (output_size, output_size))


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
        sampling_ratio: samples per bin side, at least 1.
        finest_scale: see `roi_levels`.

    Returns:
        (R, C, o, o).
    """
    rois = rois.detach().float()
    levels = roi_levels(rois[:, 3] * rois[:, 4], len(strides), finest_scale)
    maps = list(features[: len(strides)])
    places = _places(maps, rois[:, 0], levels, [1 / stride for stride in strides])
    return _pool_turned(maps, rois, places, output_size, (sampling_ratio, sampling_ratio))


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
    places = _places([features], rois[:, 0], torch.zeros_like(rois[:, 0]).long(), [spatial_scale])
    if sampling_ratio > 0 or len(rois) == 0:
        samples = (max(1, sampling_ratio),) * 2
        return _pool_turned([features], rois, places, output_size, samples)
    pooled = features.new_zeros(len(rois), features.shape[1], output_size, output_size)
    grids = torch.ceil(rois[:, 3:5] * spatial_scale / output_size).long()
    for grid in torch.unique(grids, dim=0):
        index = (grids == grid).all(1).nonzero().squeeze(1)
        samples_x, samples_y = grid.tolist()
        own = _Places(*(place[index] for place in places))
        part = _pool_turned([features], rois[index], own, output_size, (samples_x, samples_y))
        pooled = pooled.index_copy(0, index, part)
    return pooled


class _Places(NamedTuple):
    """Where each RoI reads, (R,) each: the size of its map and where its image begins there."""

    scale: torch.Tensor  # map pixels per input pixel
    height: torch.Tensor
    width: torch.Tensor
    first: torch.Tensor  # position of pixel (0, 0), counted as in `Terms`


def _places(
    features: Sequence[torch.Tensor],
    images: torch.Tensor,
    levels: torch.Tensor,
    scales: Sequence[float],
) -> _Places:
    """Look up the map of each RoI, given the numbers (R,) of its image and level."""
    heights, widths, firsts = (
        torch.tensor(values, device=levels.device)
        for values in (
            [level.shape[2] for level in features],
            [level.shape[3] for level in features],
            first_positions(features)[:-1],
        )
    )
    height, width = heights[levels], widths[levels]
    scale = torch.tensor(list(scales), device=levels.device)[levels]
    return _Places(scale, height, width, firsts[levels] + images.long() * height * width)


def _upright_terms(boxes: torch.Tensor, places: _Places, output_size: int) -> Terms:
    """List the terms of all bins of horizontal boxes (R, 4).

    Bilinear weights are products, so the samples of a bin that share a row or column are joined
    along each axis first: (S + 1) squared terms instead of 4 S squared.
    """
    low, high = (boxes * places.scale[:, None]).split(2, dim=1)
    rows, columns = (
        _axis_terms(low[:, axis] - 0.5, (high - low)[:, axis], limit, output_size)
        for axis, limit in ((1, places.height), (0, places.width))
    )
    num_rows, num_columns = rows.counts, columns.counts
    counts = (num_rows * num_columns).repeat_interleave(output_size**2)  # (R oo,)
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    # For each term its bin, and from there its RoI and its place in the bin's block of pixels.
    bins = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    rois = torch.div(bins, output_size**2, rounding_mode="floor")
    bin_rows = torch.div(bins, output_size, rounding_mode="floor")  # (RoI, bin row) as one number
    bin_columns = rois * output_size + bins % output_size
    term = torch.arange(len(bins), device=bins.device) - starts[bins]
    row = torch.div(term, num_columns[rois], rounding_mode="floor")
    row_term = bin_rows * rows.pixels.shape[-1] + row
    column_term = bin_columns * columns.pixels.shape[-1] + term - row * num_columns[rois]
    positions = rows.pixels.take(row_term) * places.width[rois] + columns.pixels.take(column_term)
    positions = positions + places.first[rois]
    weights = rows.weights.take(row_term) * columns.weights.take(column_term)
    return Terms(positions.int(), weights, starts.int())


class _AxisTerms(NamedTuple):
    """What every bin reads along one axis."""

    pixels: torch.Tensor  # (R, o, T) int64, inside the map
    weights: torch.Tensor  # (R, o, T)
    counts: torch.Tensor  # (R,) how many of the T are used


def _axis_terms(
    start: torch.Tensor, length: torch.Tensor, limit: torch.Tensor, output_size: int
) -> _AxisTerms:
    """Join the samples of each bin of RoIs from `start` (R,), `length` (R,) map pixels long.

    Samples are at most a pixel apart, so S of them read at most S + 1 neighbouring pixels.
    """
    samples = torch.ceil(length / output_size).clamp(min=0).long()  # (R,), none without extent
    most = max(int(samples.max()), 1) if len(samples) else 1
    number = torch.arange(most + 1, device=start.device)
    bins = torch.arange(output_size, device=start.device)[:, None]
    inner = ((number[:-1] + 0.5) / samples.clamp(min=1)[:, None])[:, None]  # (R, 1, S) in bins
    size = limit[:, None, None]
    sample = start[:, None, None] + (bins + inner) * (length / output_size)[:, None, None]
    is_used = (number[:-1] < samples[:, None])[:, None] & (sample >= -1) & (sample <= size)
    sample = torch.minimum(sample.clamp(min=0), size - 1)  # (R, o, S)
    pixels = sample[..., :1].floor() + number  # (R, o, T)
    near = (1 - (sample[..., None] - pixels[..., None, :]).abs()).clamp(min=0)  # (R, o, S, T)
    share = is_used / samples.clamp(min=1)[:, None, None]
    weights = (share[..., None] * near).sum(2)
    return _AxisTerms(torch.minimum(pixels.long(), size - 1), weights, samples + 1)


def _pool_turned(
    features: Sequence[torch.Tensor],
    rois: torch.Tensor,
    places: _Places,
    output_size: int,
    samples: tuple[int, int],
) -> torch.Tensor:
    """Pool with the same number of samples (along w, along h) in every bin."""
    x, y = _sample_points(rois, places.scale, output_size, samples)
    terms = _bilinear_terms(x, y, places)
    pooled = sum_positions([level.float() for level in features], terms, output_size**2)
    return pooled.unflatten(2, (output_size, output_size)).to(features[0].dtype)


def _sample_points(
    rois: torch.Tensor, scale: torch.Tensor, output_size: int, samples: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Place the samples: (x, y), each (R, oo, SS), in map pixels with pixel centres at integers."""
    center = rois[:, 1:3] * scale[:, None] - 0.5
    sides = rois[:, 3:5] * scale[:, None]
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


def _bilinear_terms(x: torch.Tensor, y: torch.Tensor, places: _Places) -> Terms:
    """List the terms of each bin's mean, 4 SS of each, given its samples (R, oo, SS)."""
    height, width, first = (t[:, None, None] for t in (places.height, places.width, places.first))
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    x, y = torch.minimum(x.clamp(min=0), width - 1), torch.minimum(y.clamp(min=0), height - 1)
    left, top = x.floor(), y.floor()
    right_part, bottom_part = x - left, y - top
    left, top = left.long(), top.long()
    right, bottom = torch.minimum(left + 1, width - 1), torch.minimum(top + 1, height - 1)
    top, bottom = top * width + first, bottom * width + first
    share = inside.float() / max(1, x.shape[-1])
    upper, lower = (1 - bottom_part) * share, bottom_part * share
    positions = torch.cat((top + left, top + right, bottom + left, bottom + right), dim=-1)
    weights = torch.cat(
        (
            upper * (1 - right_part),
            upper * right_part,
            lower * (1 - right_part),
            lower * right_part,
        ),
        dim=-1,
    )
    num_sums = x.shape[0] * x.shape[1]
    starts = torch.arange(num_sums + 1, device=x.device, dtype=torch.int32) * weights.shape[-1]
    return Terms(positions.flatten().int(), weights.flatten(), starts)
