"""Detections of one image brought together: from tiles of it, and from views of it.

Detections are what `predict` of a detection model gives for an image: `scores` (N,), `labels` (N,)
and `boxes` (N, 4) or `rotated_boxes` (N, 5). Letters: N detections.

Source: merging of the tiles of DOTA and FAIR1M, original spec 3.3 (rotated NMS, IoU 0.1).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from mtp_hf.modeling.ops_rotated_boxes import (
    batched_rotated_nms,
    flip_rotated_boxes,
    translate_rotated_boxes,
)

TILE_NMS_IOU = 0.1  # between rotated boxes of neighbouring tiles
BOX_NAMES = ("boxes", "rotated_boxes")

Detections = dict[str, Tensor]


def box_name(found: Mapping[str, Any]) -> str:
    """Return which of `boxes` and `rotated_boxes` there are.

    Raises:
        ValueError: Neither.
    """
    for name in BOX_NAMES:
        if name in found:
            return name
    raise ValueError(f"expected detections with boxes or rotated_boxes, got {sorted(found)}")


def _movable_box_name(found: Mapping[str, Any]) -> str:
    """Return the kind of boxes of detections without masks, which would stay where they are."""
    if "masks" in found:
        raise ValueError("masks of detections are not moved or merged; leave them out")
    return box_name(found)


def shift_detections(found: Mapping[str, Tensor], x: float, y: float) -> Detections:
    """Move detections by x pixels to the right and y pixels down.

    Raises:
        ValueError: They have masks.
    """
    name = _movable_box_name(found)
    boxes = found[name].float()
    if name == "boxes":
        moved = boxes + boxes.new_tensor((x, y, x, y))
    else:
        moved = translate_rotated_boxes(boxes, x, y)
    return {**found, name: moved}


def flip_detections(
    found: Mapping[str, Tensor], size: tuple[int, int], direction: str
) -> Detections:
    """Mirror detections with their image; twice is nothing.

    Args:
        found: See the module.
        size: Image height and width.
        direction: `horizontal` (left-right), `vertical` or `diagonal` (both).

    Raises:
        ValueError: Another direction, or detections with masks.
    """
    name = _movable_box_name(found)
    if name == "rotated_boxes":
        return {**found, name: flip_rotated_boxes(found[name], size, direction)}
    if direction not in ("horizontal", "vertical", "diagonal"):
        raise ValueError(f"direction must be horizontal, vertical or diagonal, got {direction!r}")
    height, width = size
    x1, y1, x2, y2 = found[name].float().unbind(-1)
    if direction != "vertical":
        x1, x2 = width - x2, width - x1
    if direction != "horizontal":
        y1, y2 = height - y2, height - y1
    return {**found, name: torch.stack((x1, y1, x2, y2), dim=-1)}


def merge_detections(
    parts: Sequence[Mapping[str, Tensor]],
    iou_threshold: float,
    max_detections: int | None = None,
) -> Detections:
    """Join detections in the pixels of one image, and drop doubles inside each class.

    Args:
        parts: At least one; all with the same kind of boxes.
        iou_threshold: Overlap with a better detection of the class that is still allowed.
        max_detections: Best ones to keep; None: all.

    Returns:
        Best score first.

    Raises:
        ValueError: They have masks.
    """
    name = _movable_box_name(parts[0])
    joined = {key: torch.cat([part[key] for part in parts]) for key in ("scores", "labels", name)}
    suppress = batched_nms if name == "boxes" else batched_rotated_nms
    boxes, scores = joined[name].float(), joined["scores"].float()
    keep = suppress(boxes, scores, joined["labels"], iou_threshold)[:max_detections]
    return {key: values[keep] for key, values in joined.items()}
