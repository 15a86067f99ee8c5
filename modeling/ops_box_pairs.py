"""Pairs of horizontal boxes that share an area, found by sweeping, not by comparing all.

Rotated overlaps are costly, so they are computed only for the pairs found here on the hulls.
Letters: N boxes, P pairs.
Source: sweep and prune, Cohen et al., I-COLLIDE (1995), section 4.
"""

from collections.abc import Iterator

import torch

MAX_PAIRS = 1 << 16  # Candidate pairs at once: buffers that stay in the cache are the fastest.


def boxes_touch(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Tell for broadcast pairs of boxes whether they share an area.

    Args:
        boxes1: (..., 4).
        boxes2: (..., 4).

    Returns:
        (...) bool.
    """
    low = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    high = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    return (low < high).all(-1)


def touching_pairs(boxes: torch.Tensor, labels: torch.Tensor) -> Iterator[torch.Tensor]:
    """List the pairs of boxes of equal label that share an area, each pair once.

    After sorting by (label, left side), the candidates for a box are the ones that follow it and
    start before its right side.

    Args:
        boxes: (N, 4).
        labels: (N,) int64.

    Yields:
        (2, P) indices, smaller one first; P at most about `MAX_PAIRS` a time.
    """
    by_left = boxes[:, 0].argsort(stable=True)
    sweep = by_left[labels[by_left].argsort(stable=True)]  # (N,) position -> box
    boxes = boxes[sweep]
    positions = torch.arange(len(sweep), device=boxes.device)
    counts = _sweep_ends(boxes, labels[sweep]) - positions - 1
    counts = counts.clamp(min=0)  # a box of no width ends before itself
    for rows in _runs(counts):
        left = positions[rows].repeat_interleave(counts[rows])
        begins = (counts[rows].cumsum(0) - counts[rows]).repeat_interleave(counts[rows])
        right = left + 1 + torch.arange(len(left), device=boxes.device) - begins
        near = boxes_touch(boxes[left], boxes[right]).nonzero().squeeze(1)
        pairs = torch.stack((sweep[left[near]], sweep[right[near]]))
        yield torch.stack((pairs.amin(0), pairs.amax(0)))


def _sweep_ends(boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Give the position after the last candidate of each of the boxes sorted by (label, left)."""
    # Ranks instead of label * offset + x: one sortable key without losing precision.
    sides = torch.cat((boxes[:, 0], boxes[:, 2]))
    ranks = torch.unique(sides, return_inverse=True)[1]
    starts, ends = (labels.repeat(2) * len(sides) + ranks).chunk(2)
    return torch.searchsorted(starts.contiguous(), ends.contiguous())


def _runs(counts: torch.Tensor) -> list[slice]:
    """Cut rows into runs of about `MAX_PAIRS` candidates."""
    block = torch.div(counts.cumsum(0), MAX_PAIRS, rounding_mode="floor")
    stops = torch.unique_consecutive(block, return_counts=True)[1].cumsum(0).tolist() or [0]
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
