"""Geometry on whole samples: flip, resize, crop, pad, and selecting objects from parallel lists.

All functions return a new dict and leave the given one as it is. Masks and label maps only ever
have rows and columns chosen, so they are read once, when their final pixels are needed. Both
pictures of a pair are moved alike.

Source: MTP training pipeline (spec 2.9) and the operators it borrows (spec 7.9).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtp_hf.data.masks import (
    decode_with_boxes,
    select_masks,
    view_map,
    view_masks,
)
from mtp_hf.data.schema import RawSample
from mtp_hf.modeling.ops_rotated_boxes import polygons_to_rotated_boxes

# Keys of a sample that move together: pictures, and maps that label their pixels.
PICTURES = ("image", "image_post")
LABEL_MAPS = ("semantic_labels", "change_labels")
_HORIZONTAL = ("boxes", "class_labels", "iscrowd", "area")
_ROTATED = ("polygons", "rotated_class_labels", "rotated_difficult")


def flip(sample: RawSample, direction: str) -> RawSample:
    """Mirror a sample, `direction` one of horizontal, vertical, diagonal (both)."""
    height, width = sample["image"].shape[1:]
    axes = {"horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}[direction]
    rows = np.arange(height)[:: -1 if 1 in axes else 1]
    cols = np.arange(width)[:: -1 if 2 in axes else 1]
    sample = _take(sample, rows, cols)
    _map_pictures(sample, lambda picture: picture.flip(axes))
    _move_points(
        sample,
        scale=(-1.0 if 2 in axes else 1.0, -1.0 if 1 in axes else 1.0),
        shift=(float(width) if 2 in axes else 0.0, float(height) if 1 in axes else 0.0),
    )
    if "boxes" in sample:
        boxes = sample["boxes"].unflatten(1, (2, 2))  # corners changed places
        sample["boxes"] = torch.cat([boxes.amin(dim=1), boxes.amax(dim=1)], dim=1)
    return sample


def resize(sample: RawSample, long_side: int) -> RawSample:
    """Scale a sample to the given long side, in pixels.

    The image is interpolated bilinearly without antialiasing, masks and label maps take the
    source pixel floor(x * scale), both as OpenCV does. Boxes are clipped, polygons are not.
    """
    height, width = sample["image"].shape[1:]
    factor = long_side / max(height, width)
    new_height, new_width = (max(int(side * factor + 0.5), 1) for side in (height, width))
    sample = _take(sample, _nearest(height, new_height), _nearest(width, new_width))
    sample = resize_pictures(sample, (new_height, new_width))
    _move_points(sample, scale=(new_width / width, new_height / height), shift=(0.0, 0.0))
    _clip_boxes(sample)
    return sample


def resize_pictures(sample: RawSample, size: tuple[int, int]) -> RawSample:
    """Interpolate the pictures to (height, width) and leave every annotation as it is."""
    sample = {**sample}
    if tuple(sample["image"].shape[1:]) != size:
        # Differs: the original keeps float pixels in pretraining; ours are rounded to 8 bits.
        _map_pictures(
            sample,
            lambda picture: F.interpolate(picture[None], size, mode="bilinear", antialias=False)[0],
        )
    return sample


def crop(sample: RawSample, top: int, left: int, size: tuple[int, int]) -> RawSample:
    """Cut the window that starts at (top, left) and has the given (height, width).

    Instances stay if their clipped box is not empty; then the boxes are recomputed from the cut
    masks (an invisible mask gives a zero box, see `FilterInstances`). Rotated objects stay, never
    clipped, if the centre of their minimum-area rectangle lies inside.

    Kept: so the two label lists of one crop may disagree (quirks 50 and 52).
    """
    rows, cols = np.arange(top, top + size[0]), np.arange(left, left + size[1])
    sample = _take(sample, rows, cols)
    window = (slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
    _map_pictures(sample, lambda picture: picture[window])
    _move_points(sample, scale=(1.0, 1.0), shift=(-float(left), -float(top)))
    if "boxes" in sample:
        _clip_boxes(sample)
        visible = (sample["boxes"][:, 2:] > sample["boxes"][:, :2]).all(dim=1)
        sample = select_instances(sample, visible)
    if "instance_masks" in sample:
        sample["instance_masks"], sample["boxes"] = decode_with_boxes(sample["instance_masks"])
    return select_centered(sample)


def padded_size(
    sizes: Sequence[tuple[int, int]], size: int | None, size_divisor: int
) -> tuple[int, int]:
    """Canvas that holds images of all `sizes`: `size` squared, or the next multiples."""
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    if size is None:
        return (
            math.ceil(height / size_divisor) * size_divisor,
            math.ceil(width / size_divisor) * size_divisor,
        )
    if height > size or width > size:
        raise ValueError(f"an image of {height}x{width} does not fit {size}x{size}")
    return size, size


def pad_to(maps: Tensor, size: tuple[int, int], value: float) -> Tensor:
    """Pad maps (..., H, W) right and bottom to (..., *size)."""
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    padded = maps.new_full((*maps.shape[:-2], *size), value)
    padded[..., :height, :width] = maps
    return padded


def select_instances(sample: RawSample, keep: Tensor) -> RawSample:
    """Keep the horizontal objects where the bool vector `keep` (N,) is true, in all lists."""
    kept: Any = {key: sample[key][keep] for key in _HORIZONTAL if key in sample}  # type: ignore
    if "instance_masks" in sample:
        kept["instance_masks"] = select_masks(sample["instance_masks"], keep)
    return cast(RawSample, {**sample, **kept})


def select_rotated(sample: RawSample, keep: Tensor) -> RawSample:
    """Keep the rotated objects where the bool vector `keep` (M,) is true, in all lists."""
    kept = {key: sample[key][keep] for key in _ROTATED if key in sample}  # type: ignore
    return cast(RawSample, {**sample, **kept})


def select_centered(sample: RawSample) -> RawSample:
    """Keep the rotated objects whose minimum-area rectangle has its centre in the image."""
    if "polygons" not in sample:
        return sample
    height, width = sample["image"].shape[1:]
    centers = polygons_to_rotated_boxes(sample["polygons"])[:, :2]
    inside = ((centers >= 0) & (centers < torch.tensor([width, height]))).all(dim=1)
    return select_rotated(sample, inside)


def check_map_sizes(sample: RawSample) -> None:
    """Check that label maps have the size of the picture, which moves them.

    Raises:
        ValueError: A map of another size, as `resize_pictures` leaves it.
    """
    size = tuple(sample["image"].shape[1:])
    for key in LABEL_MAPS:
        if key in sample and tuple(sample[key].shape) != size:  # type: ignore[literal-required]
            raise ValueError(
                f"{key} is {tuple(sample[key].shape)}, the image {size}: "  # type: ignore
                "resize pictures alone after everything that moves them"
            )


def count_dropped(sample: RawSample, reason: str, number: int) -> RawSample:
    """Add to the count of dropped annotations."""
    dropped = dict(sample.get("dropped", {}))
    dropped[reason] = dropped.get(reason, 0) + number
    return {**sample, "dropped": dropped}


def _nearest(old: int, new: int) -> np.ndarray:
    """Source index of each of `new` pixels on a line of `old`: floor(x * scale)."""
    return np.minimum((np.arange(new) * (1.0 / (new / old))).astype(np.int64), old - 1)


def _take(sample: RawSample, rows: np.ndarray, cols: np.ndarray) -> RawSample:
    """Copy the dict with rows and columns chosen from masks and label maps."""
    check_map_sizes(sample)
    sample = {**sample}
    for key in LABEL_MAPS:
        if key in sample:
            sample[key] = view_map(sample[key], rows, cols)  # type: ignore[literal-required]
    if "instance_masks" in sample:
        sample["instance_masks"] = view_masks(sample["instance_masks"], rows, cols)
    return sample


def _map_pictures(sample: RawSample, change: Callable[[Tensor], Tensor]) -> None:
    """Change the pictures, (3, H, W) each, in place."""
    for key in PICTURES:
        if key in sample:
            sample[key] = change(sample[key])  # type: ignore[literal-required]


def _move_points(sample: RawSample, scale: tuple[float, float], shift: tuple[float, float]) -> None:
    """Map the points (x, y) of boxes and polygons to scale * point + shift, in place."""
    if "boxes" in sample:
        sample["boxes"] = sample["boxes"] * torch.tensor(scale * 2) + torch.tensor(shift * 2)
    if "polygons" in sample:
        sample["polygons"] = sample["polygons"] * torch.tensor(scale * 4) + torch.tensor(shift * 4)


def _clip_boxes(sample: RawSample) -> None:
    """Clip boxes to the image, in place."""
    if "boxes" in sample:
        height, width = sample["image"].shape[1:]
        limit = torch.tensor([width, height, width, height], dtype=torch.float32)
        sample["boxes"] = torch.minimum(sample["boxes"].clamp(min=0), limit)
