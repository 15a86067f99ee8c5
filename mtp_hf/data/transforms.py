"""Joint transforms, and the pretraining's list of them: all annotations stay on their pixels.

Each transform is a callable `(sample, rng) -> sample` that returns a new dict and draws all its
randomness from the given numpy generator. What one task needs alone is in `transforms_TASK.py`.

Source: MTP training pipeline (spec 2.9, 7.9), and those of the finetuning (spec 3).
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from mtp_hf.data.geometry import (
    LABEL_MAPS,
    PICTURES,
    check_map_sizes,
    count_dropped,
    crop,
    flip,
    pad_to,
    padded_size,
    resize,
    resize_pictures,
    select_instances,
    select_rotated,
)
from mtp_hf.data.masks import decode_map, decode_masks, mask_areas, view_map
from mtp_hf.data.photometric import PhotometricDistortion
from mtp_hf.data.schema import IGNORE_LABEL, RawSample, Sample
from mtp_hf.modeling.ops_rotated_boxes import polygons_to_rotated_boxes

_MAX_WINDOW_DRAWS = 10
_FLIPS = ("horizontal", "vertical", "diagonal")

Transform = Callable[[Any, np.random.Generator], Any]


class RejectedSampleError(Exception):
    """No instance of this image survived the transforms: another image takes its place."""


def check_probability(name: str, value: float) -> float:
    """Return a probability of a transform, or raise where it is not in 0..1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} probability {value} is not in 0..1")
    return value


class Compose:
    """Apply transforms one after the other with one generator."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sample: Any, rng: np.random.Generator) -> Any:
        """Run all transforms in order."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


class DropDegenerate:
    """Drop polygons with two equal consecutive corners, counted as `degenerate_polygons`."""

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Drop them; no randomness."""
        if "polygons" not in sample:
            return sample
        corners = sample["polygons"].unflatten(1, (4, 2))  # (M, 8) -> (M, 4, 2)
        coincide = (corners == corners.roll(-1, dims=1)).all(dim=2).any(dim=1)
        sample = select_rotated(sample, ~coincide)
        return count_dropped(sample, "degenerate_polygons", int(coincide.sum()))


class RandomFlip:
    """Flip horizontally, vertically or both ways.

    Args:
        probability: Of a flip of any kind.
        directions: The kinds, equally likely.

    Raises:
        ValueError: A probability outside 0..1, or no or an unknown direction.
    """

    def __init__(self, probability: float = 0.75, directions: Sequence[str] = _FLIPS) -> None:
        self.probability = check_probability("flip", probability)
        if not directions or not set(directions) <= set(_FLIPS):
            raise ValueError(f"flip directions {list(directions)}, expected some of {_FLIPS}")
        self.directions = tuple(directions)

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw a direction and flip."""
        draw = float(rng.random())
        if draw >= self.probability:
            return sample
        return flip(sample, self.directions[int(len(self.directions) * draw / self.probability)])


class RandomResize:
    """Resize so that the long side fits a random multiple of the training size.

    Args:
        size: Side s of the training image in pixels.
        factor_range: The factor f is uniform in [low, high); the target is int(s * f).
    """

    def __init__(self, size: int, factor_range: tuple[float, float] = (0.5, 2.0)) -> None:
        self.size = size
        self.factor_range = factor_range

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw a factor and resize."""
        return resize(sample, int(self.size * rng.uniform(*self.factor_range)))


class Resize:
    """Resize so that the long side has `size` pixels, aspect ratio kept."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Resize; no randomness."""
        return resize(sample, self.size)


class ResizePictures:
    """Resize only the pictures, to (height, width); label maps keep their resolution.

    The logits of a model are resized to the map (quirk 44).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Resize; no randomness."""
        return resize_pictures(sample, self.size)


class RandomCrop:
    """Cut a random window; sides that are smaller than the window stay whole.

    Args:
        size: Side of the window in pixels.
        max_class_ratio: Largest share of one class among the labelled pixels of the window. While
            it is not below that, or there is one class only, the window is drawn again, ten times
            at most. None does not look.

    Raises:
        ValueError: A ratio that is not between 0 and 1.
    """

    def __init__(self, size: int, max_class_ratio: float | None = None) -> None:
        if max_class_ratio is not None and not 0.0 < max_class_ratio < 1.0:
            raise ValueError(f"max_class_ratio {max_class_ratio} is not between 0 and 1; or None")
        self.size = size
        self.max_class_ratio = max_class_ratio

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw the window's place and cut."""
        check_map_sizes(sample)
        height, width = sample["image"].shape[1:]
        is_choice = self.max_class_ratio is not None and max(height, width) > self.size
        for _ in range(_MAX_WINDOW_DRAWS if is_choice else 0):
            window = self._draw(height, width, rng)
            if self._is_mixed(sample, *window):
                break
        else:
            window = self._draw(height, width, rng)
        return crop(sample, *window)

    def _draw(
        self, height: int, width: int, rng: np.random.Generator
    ) -> tuple[int, int, tuple[int, int]]:
        """Draw top, left and size."""
        top = int(rng.integers(0, max(height - self.size, 0) + 1))
        left = int(rng.integers(0, max(width - self.size, 0) + 1))
        return top, left, (min(self.size, height), min(self.size, width))

    def _is_mixed(self, sample: RawSample, top: int, left: int, size: tuple[int, int]) -> bool:
        """Whether the window shows more than one class and none of them too much."""
        keys = [key for key in LABEL_MAPS if key in sample]
        if not keys:
            raise ValueError(f"image {sample['image_id']} has no label map to choose a window by")
        rows, cols = np.arange(top, top + size[0]), np.arange(left, left + size[1])
        labels = decode_map(view_map(sample[keys[0]], rows, cols))  # type: ignore[literal-required]
        counts = np.bincount(labels.numpy().ravel(), minlength=256)
        counts[IGNORE_LABEL] = 0
        mixed = np.count_nonzero(counts) > 1
        return bool(mixed and counts.max() < self.max_class_ratio * counts.sum())


class FilterInstances:
    """Drop instances without visible pixels, counted as `filtered_instances`.

    Args:
        min_area: Fewest mask pixels.
        min_side: Width and height of the box must be larger, in pixels.

    Raises:
        RejectedSampleError: There were instances and none is left.
    """

    def __init__(self, min_area: int = 1, min_side: float = 1e-5) -> None:
        self.min_area = min_area
        self.min_side = min_side

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Filter; no randomness."""
        if "boxes" not in sample or not len(sample["boxes"]):
            return sample
        keep = (sample["boxes"][:, 2:] - sample["boxes"][:, :2] > self.min_side).all(dim=1)
        if "instance_masks" in sample:
            masks = decode_masks(sample["instance_masks"])
            keep &= mask_areas(masks) >= self.min_area
            sample = {**sample, "instance_masks": masks}
        if not keep.any():
            raise RejectedSampleError(f"{sample['dataset']}/{sample['image_id']}")
        sample = count_dropped(sample, "filtered_instances", int((~keep).sum()))
        return select_instances(sample, keep)


class Pad:
    """Pad right and bottom: image 0, masks False, label maps 255; `size` keeps the content size.

    Differs: the original leaves the semantic map unpadded in its last padding step, so that the
    logits of the whole canvas are squeezed onto a smaller map (quirk 8).

    Args:
        size: Side of the square canvas in pixels; None to use `size_divisor`.
        size_divisor: Pad each side to the next multiple.
    """

    def __init__(self, size: int | None = None, size_divisor: int = 32) -> None:
        self.size = size
        self.size_divisor = size_divisor

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Pad; no randomness."""
        height, width = sample["image"].shape[1:]
        target = padded_size([(height, width)], self.size, self.size_divisor)
        sample = {**sample, "size": sample.get("size", (height, width))}
        padded: dict[str, Any] = {**sample}
        for key in PICTURES:
            if key in padded:
                padded[key] = pad_to(padded[key], target, 0)
        if "instance_masks" in padded:
            padded["instance_masks"] = pad_to(decode_masks(padded["instance_masks"]), target, False)
        for key in LABEL_MAPS:
            if key in padded:
                padded[key] = pad_to(decode_map(padded[key]), target, IGNORE_LABEL)
        return cast(RawSample, padded)


def finalize(sample: RawSample, rng: np.random.Generator) -> Sample:
    """Turn a raw sample into the contract's form; the last step of every transform list.

    Polygons become rotated boxes (minimum-area rectangle, le90), masks are decoded, label maps
    become int64.
    """
    final: dict[str, Any] = {**sample}
    if "instance_masks" in final:
        final["instance_masks"] = decode_masks(final["instance_masks"])
    if "polygons" in final:
        final["rotated_boxes"] = polygons_to_rotated_boxes(final.pop("polygons"))
    for key in LABEL_MAPS:
        if key in final:
            final[key] = decode_map(final[key]).long()
    return cast(Sample, final)


def pretraining_train_transforms(
    image_size: int,
    resize_range: tuple[float, float] = (0.5, 2.0),
    flip_probability: float = 0.75,
    photometric: bool = True,
) -> Compose:
    """Training transforms of the pretraining (spec 2.9); `Collate` pads to `image_size`."""
    steps: list[Transform] = [
        DropDegenerate(),
        RandomFlip(flip_probability),
        RandomResize(image_size, resize_range),
        RandomCrop(image_size),
        FilterInstances(),
    ]
    if photometric:
        steps.append(PhotometricDistortion())
    return Compose([*steps, finalize])


def pretraining_eval_transforms(image_size: int) -> Compose:
    """Validation transforms: fit the image into the square, annotations with it."""
    return Compose([DropDegenerate(), Resize(image_size), finalize])
