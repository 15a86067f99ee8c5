"""Weighted sums of map positions: what pooling of regions, upright or turned, comes down to.

Each sum is a bag of rows of a channels-last table, so both directions are an `embedding_bag`: it
reads whole rows of channels, uses all threads and adds in one order, on every device.

Letters: B batch, C channels, H W map size, L levels, R RoIs, S sums of a RoI, E terms of all sums.

Differs: torchvision's kernels for a CPU use one thread, and their backward pass adds channel by
channel at scattered places; the gradient took eight times as long as here.

Source: bilinear pooling of Mask R-CNN (https://arxiv.org/abs/1703.06870), section 3.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

MAX_COPY = 1 << 22  # Elements of a channels-last copy: larger buffers cost page faults.
MIN_RUN = 32  # Channels of a copy at least, or reading rows becomes inefficient.


class Terms(NamedTuple):
    """The terms of all sums, one sum after the other.

    Attributes:
        positions: (E,) int32, counted through all maps, image by image and row by row.
        weights: (E,) float32.
        starts: (R S + 1,) int32, first term of each sum, and E.
    """

    positions: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor


def first_positions(features: Sequence[torch.Tensor]) -> list[int]:
    """Number of the first position of each map (B, C, H, W), and of all positions: L + 1 ints."""
    firsts = [0]
    for level in features:
        firsts.append(firsts[-1] + level.shape[0] * level.shape[2] * level.shape[3])
    return firsts


def sum_positions(
    features: Sequence[torch.Tensor], terms: Terms, sums_per_roi: int
) -> torch.Tensor:
    """Sum up weighted positions; differentiable in the features.

    Args:
        features: L maps (B, C, H, W), float32.
        terms: of R S sums.
        sums_per_roi: S.

    Returns:
        (R, C, S), the channels of a sum side by side in memory.
    """
    return _SumPositions.apply(terms, sums_per_roi, *features)


def sum_rows(table: torch.Tensor, terms: Terms) -> torch.Tensor:
    """Sum up weighted rows of a table (positions, C): (sums, C); no gradient to the weights."""
    return F.embedding_bag(
        terms.positions,
        table,
        terms.starts,
        mode="sum",
        per_sample_weights=terms.weights,
        include_last_offset=True,
    )


def sort_by_position(
    positions: torch.Tensor, num_positions: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the terms of each position.

    Returns:
        (E,) int64 numbers of the terms, position by position and in order within each, and
        (num_positions + 1,) int32, the first of each position there.
    """
    ordered, order = positions.sort(stable=True)
    bounds = torch.arange(num_positions + 1, device=positions.device, dtype=positions.dtype)
    return order, torch.searchsorted(ordered, bounds, out_int32=True)


class _SumPositions(torch.autograd.Function):
    """`sum_positions` and its gradient.

    The gradient is the same sum with the roles of sums and positions exchanged: terms are sorted by
    position once, so that each position is one bag. No atomic additions: deterministic on a GPU.
    Works through runs of channels, which bounds the memory for channels-last copies.
    """

    @staticmethod
    def forward(ctx: Any, terms: Terms, sums_per_roi: int, *features: torch.Tensor) -> torch.Tensor:
        """Sum up; see `sum_positions`."""
        ctx.save_for_backward(*terms)
        ctx.sums_per_roi = sums_per_roi
        ctx.shapes = [level.shape for level in features]
        num_positions = first_positions(features)[-1]
        sums = features[0].new_empty(len(terms.starts) - 1, features[0].shape[1])  # (R S, C)
        for run in _channel_runs(num_positions, sums.shape[1]):
            table = _table([level[:, run] for level in features])  # (all positions, c)
            sums[:, run] = sum_rows(table, terms)
        return sums.unflatten(0, (-1, sums_per_roi)).mT  # channels last, as convolutions like it

    @staticmethod
    def backward(ctx: Any, grad_sums: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Map the gradient (R, C, S) to those of the L maps."""
        terms = Terms(*ctx.saved_tensors)
        grads = [grad_sums.new_empty(shape) for shape in ctx.shapes]
        num_positions = first_positions(grads)[-1]
        by_position = _exchange(terms, num_positions)
        for run in _channel_runs(num_positions, grad_sums.shape[1]):
            table = grad_sums[:, run].mT.flatten(0, 1).contiguous()  # (R, c, S) -> (R S, c)
            _write_maps(sum_rows(table, by_position), [grad[:, run] for grad in grads])
        return None, None, *grads


def _exchange(terms: Terms, num_positions: int) -> Terms:
    """Sort the terms by position: sums over the sums that a position takes part in."""
    order, starts = sort_by_position(terms.positions, num_positions)
    counts = terms.starts.diff()
    sums = torch.arange(len(counts), device=order.device, dtype=terms.positions.dtype)
    sums = sums.repeat_interleave(counts, output_size=len(order))[order]
    return Terms(sums, terms.weights[order], starts)


def _table(maps: list[torch.Tensor]) -> torch.Tensor:
    """Write maps (B, c, H, W) below each other, channels last: (all positions, c)."""
    table = maps[0].new_empty(first_positions(maps)[-1], maps[0].shape[1])
    for rows, level in zip(_map_rows(table, maps), maps, strict=True):
        rows.copy_(level.permute(0, 2, 3, 1))
    return table


def _write_maps(table: torch.Tensor, maps: list[torch.Tensor]) -> None:
    """Undo `_table`, into the given maps."""
    for rows, level in zip(_map_rows(table, maps), maps, strict=True):
        level.copy_(rows.permute(0, 3, 1, 2))


def _map_rows(table: torch.Tensor, maps: list[torch.Tensor]) -> list[torch.Tensor]:
    """See the rows of each map in a table as (B, H, W, c)."""
    firsts = first_positions(maps)
    return [
        table[first:last].view(level.shape[0], *level.shape[2:], -1)
        for first, last, level in zip(firsts[:-1], firsts[1:], maps, strict=True)
    ]


def _channel_runs(num_positions: int, channels: int) -> list[slice]:
    """Cut the channels into runs whose channels-last copy has about `MAX_COPY` elements."""
    step = max(MIN_RUN, MAX_COPY // max(1, num_positions))
    return [slice(start, start + step) for start in range(0, channels, step)]
