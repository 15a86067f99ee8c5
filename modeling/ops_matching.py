"""Matching of anchors or proposals to objects, and balanced sampling of the matches.

A match is the index of an object (>= 0), `NEGATIVE` or `IGNORED`.
Letters: G objects, P anchors or proposals.
Source: Faster R-CNN (arXiv 1506.01497), section 3.1.2; matches mmdet's `MaxIoUAssigner` and
`RandomSampler`.
"""

import torch

NEGATIVE = -1
IGNORED = -2


def match_boxes(
    iou: torch.Tensor,
    positive_threshold: float,
    negative_threshold: float,
    min_positive: float,
    allow_low_quality: bool,
) -> torch.Tensor:
    """Match every anchor to its best object, if good enough, and every object to its best anchors.

    Args:
        iou: (G, P) overlaps.
        positive_threshold: best overlap from which an anchor is positive.
        negative_threshold: best overlap under which it is negative; between the two it is ignored.
        min_positive: least overlap for the second rule.
        allow_low_quality: also match all anchors that tie for an object's best overlap, whatever
            they matched before; of several such objects the last wins.

    Returns:
        (P,) int64: object index, -1 negative, -2 ignored.
    """
    num_objects, num_anchors = iou.shape
    if num_objects == 0 or num_anchors == 0:
        return torch.full((num_anchors,), NEGATIVE, device=iou.device)
    best_iou, best_object = iou.max(dim=0)  # (P,)
    matches = torch.full_like(best_object, IGNORED)
    matches[best_iou < negative_threshold] = NEGATIVE
    matches = torch.where(best_iou >= positive_threshold, best_object, matches)
    if not allow_low_quality:
        return matches
    object_iou = iou.amax(dim=1)  # (G,)
    objects = (object_iou >= min_positive).nonzero().squeeze(1)
    ties = (iou[objects] == object_iou[objects, None]).nonzero()
    # A maximum, not an assignment: repeated indices have no defined order.
    best = torch.full_like(matches, NEGATIVE)
    best = best.scatter_reduce(0, ties[:, 1], objects[ties[:, 0]], "amax")
    return torch.where(best >= 0, best, matches)


def sample_balanced(
    matches: torch.Tensor, num_samples: int, positive_fraction: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw positives up to their share, and fill up with negatives.

    Args:
        matches: (P,) as of `match_boxes`.
        num_samples: wanted number of samples.
        positive_fraction: largest share of positives.

    Returns:
        Indices of the drawn positives and of the drawn negatives, each in rising order.
    """
    positives = _draw((matches >= 0).nonzero().squeeze(1), int(num_samples * positive_fraction))
    negatives = (matches == NEGATIVE).nonzero().squeeze(1)
    return positives, _draw(negatives, num_samples - len(positives))


def _draw(indices: torch.Tensor, count: int) -> torch.Tensor:
    """Choose `count` of the indices at random, or all if there are not more."""
    if len(indices) <= count:
        return indices
    chosen = torch.randperm(len(indices))[:count].to(indices.device)
    return indices[chosen.sort().values]
