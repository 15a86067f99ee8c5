"""Transforms of horizontal and of rotated detection; `Collate` pads to multiples of 32.

Source: pipelines of the original's horizontal (spec 3.2) and rotated detection (spec 3.3, 7.9).
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from mtp_hf.data.geometry import count_dropped, select_instances
from mtp_hf.data.geometry_rotation import rotate
from mtp_hf.data.schema import RawSample
from mtp_hf.data.transforms import (
    Compose,
    DropDegenerate,
    RandomFlip,
    Resize,
    Transform,
    check_probability,
    finalize,
)

_QUARTERS_DEG = (90.0, 180.0, -90.0, -180.0)
# Shortest side of a horizontal box that is trained on, in pixels (mmdetection's COCO loader).
_MIN_BOX_SIDE = 1.0
_ROUNDING = 1e-3  # of a side between two corners that are float32


class DropUntrainable:
    """Drop horizontal objects that are measured with but not trained on.

    These are crowds, counted as `crowd`, and boxes with a side below one pixel or without a part
    in the image, counted as `empty_boxes`. Of the objects left `iscrowd` and `area` are not needed.

    Source: the COCO loader of mmdetection 3.1 (spec 3.2).
    """

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Drop them, in pixels of the image as stored; no randomness."""
        boxes = sample["boxes"]
        height, width = sample["image"].shape[1:]
        limit = torch.tensor([width, height, width, height], dtype=torch.float32)
        visible = torch.minimum(boxes.clamp(min=0), limit)
        short = (boxes[:, 2:] - boxes[:, :2] < _MIN_BOX_SIDE - _ROUNDING).any(dim=1)
        empty = short | (visible[:, 2:] <= visible[:, :2]).any(dim=1)
        crowd = sample.get("iscrowd", torch.zeros(len(boxes), dtype=torch.bool))
        sample = count_dropped(sample, "empty_boxes", int((empty & ~crowd).sum()))
        sample = count_dropped(sample, "crowd", int(crowd.sum()))
        kept = select_instances(sample, ~(empty | crowd))
        left = {key: value for key, value in kept.items() if key not in ("iscrowd", "area")}
        return cast(RawSample, left)


class RandomRotate:
    """Turn image and rotated objects by a random angle; the canvas keeps its size.

    Args:
        probability: Of a rotation.
        max_angle_deg: The angle is uniform in [-max, max).
        quarter_turn_labels: Classes whose boxes do not say how they are turned, such as round
            ones: images that have one are turned by 90, 180, -90 or -180 degrees.
    """

    def __init__(
        self,
        probability: float = 0.5,
        max_angle_deg: float = 180.0,
        quarter_turn_labels: Sequence[int] = (),
    ) -> None:
        self.probability = check_probability("rotation", probability)
        self.max_angle_deg = max_angle_deg
        self.quarter_turn_labels = torch.tensor(list(quarter_turn_labels), dtype=torch.int64)

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw an angle and turn."""
        if rng.random() >= self.probability:
            return sample
        labels = sample.get("rotated_class_labels", torch.zeros(0, dtype=torch.int64))
        if torch.isin(labels, self.quarter_turn_labels).any():
            return rotate(sample, _QUARTERS_DEG[rng.integers(len(_QUARTERS_DEG))])
        return rotate(sample, float(rng.uniform(-self.max_angle_deg, self.max_angle_deg)))


def detection_train_transforms(image_size: int = 800, flip_probability: float = 0.5) -> Compose:
    """Training transforms of horizontal detection; crowds and empty boxes are dropped.

    Args:
        image_size: Long side in pixels: 800 for DIOR, 416 for xView.
        flip_probability: Of a horizontal flip.
    """
    flip = RandomFlip(flip_probability, ["horizontal"])
    return Compose([DropUntrainable(), Resize(image_size), flip, finalize])


def detection_eval_transforms(image_size: int = 800) -> Compose:
    """Validation transforms of horizontal detection: long side to `image_size`."""
    return Compose([Resize(image_size), finalize])


def rotated_train_transforms(
    image_size: int = 1024,
    flip_probability: float = 0.75,
    *,
    rotate_probability: float = 0.5,
    max_angle_deg: float = 180.0,
    quarter_turn_labels: Sequence[int] = (9, 11),
    drop_degenerate: bool = False,
) -> Compose:
    """Training transforms of rotated detection; the defaults are those of DOTA-1.0.

    Args:
        image_size: Long side in pixels: 1024 for DOTA, 800 for DIOR-R and FAIR1M.
        flip_probability: Of a flip: horizontal, vertical or both, equally likely.
        rotate_probability: Of a rotation: 0 for DIOR-R and DOTA-2.0, 0.5 for FAIR1M.
        max_angle_deg: Largest angle.
        quarter_turn_labels: Classes that are only turned by quarters: storage-tank and roundabout
            of DOTA; none in FAIR1M.
        drop_degenerate: Drop polygons with two equal consecutive corners, counted: true for DIOR-R
            and FAIR1M.
    """
    steps: list[Transform] = [DropDegenerate()] if drop_degenerate else []
    steps += [Resize(image_size), RandomFlip(flip_probability)]
    if rotate_probability:
        steps.append(RandomRotate(rotate_probability, max_angle_deg, quarter_turn_labels))
    return Compose([*steps, finalize])


def rotated_eval_transforms(image_size: int = 1024, drop_degenerate: bool = False) -> Compose:
    """Validation transforms of rotated detection: long side to `image_size`."""
    steps: list[Transform] = [DropDegenerate()] if drop_degenerate else []
    return Compose([*steps, Resize(image_size), finalize])
