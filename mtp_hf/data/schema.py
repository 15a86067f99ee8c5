"""The sample and batch contract: keys, shapes, dtypes, units and coordinates.

A sample is a plain dict that describes one image. It exists in two states:

* `RawSample`: what a reader returns and what travels through the transforms. Rotated objects are
  `polygons` (corners as annotated), instance masks may still be run-length coded, the semantic
  map may still be 8-bit and a view (`mtp_hf.data.masks`).
* `Sample`: what `finalize` makes of it, the last step of every transform list. `check_sample`
  holds exactly for this state.

A missing annotation kind is an absent key; an image without objects has keys with zero rows.
Horizontal objects (N of them) and rotated objects (M) are two independent lists. A pair of dates
has the later picture in `image_post`, of the size of `image`.

Coordinates are pixels of the image in the same dict, x to the right, y down; a box that covers
pixel columns 3 to 5 has x1 = 3 and x2 = 6. Sizes are (height, width). A label map has the size of
the image, or that of the stored image where only the picture was resized (`ResizeImages`).
"""

from typing import Any, NotRequired, TypedDict, cast

import torch
from torch import Tensor

from mtp_hf.data.masks import MapView, RleMasks

# Label of pixels without supervision (padding).
IGNORE_LABEL = 255
TASKS = ("ss", "is", "rd")


class RawSample(TypedDict, total=False):
    """One image between the reader and `finalize`."""

    image: Tensor  # (3, H, W) uint8, RGB
    image_post: Tensor  # (3, H, W) uint8, RGB, the later date of a pair
    label: Tensor  # () int64, 0..K-1, the scene
    boxes: Tensor  # (N, 4) float32, x1 y1 x2 y2
    class_labels: Tensor  # (N,) int64, 0..K-1
    iscrowd: Tensor  # (N,) bool, regions of many objects, which are not trained on
    area: Tensor  # (N,) float32, as annotated: square pixels of the image as stored
    instance_masks: Tensor | RleMasks  # (N, H, W) bool, or coded
    polygons: Tensor  # (M, 8) float32, x1 y1 .. x4 y4 in annotated corner order
    rotated_class_labels: Tensor  # (M,) int64, 0..K-1
    rotated_difficult: Tensor  # (M,) int64, 0, 1, or 2 = cut by the border of a tile
    # (H, W) uint8 or int64; in pretraining 0 background, 1..K classes, 255 ignore; else 0..K-1
    semantic_labels: Tensor | MapView
    change_labels: Tensor | MapView  # (H, W) uint8 or int64, 1 changed, 0 not, 255 ignore
    image_id: str
    dataset: str
    orig_size: tuple[int, int]  # size of the image as stored
    tile: dict[str, Any]  # where a tile was cut from, as in its row
    size: tuple[int, int]  # content size, set by `Pad` only
    dropped: dict[str, int]  # annotations left out so far, by reason
    num_redrawn: int  # images rejected before this one took their place


class Sample(TypedDict, total=False):
    """One image after `finalize`, before collation."""

    image: Tensor  # (3, H, W) uint8, RGB
    image_post: Tensor  # (3, H, W) uint8, RGB, the later date of a pair
    label: Tensor  # () int64, 0..K-1, the scene
    boxes: Tensor  # (N, 4) float32, x1 y1 x2 y2
    class_labels: Tensor  # (N,) int64, 0..K-1
    iscrowd: Tensor  # (N,) bool
    area: Tensor  # (N,) float32, square pixels of the image as stored
    instance_masks: Tensor  # (N, H, W) bool
    rotated_boxes: Tensor  # (M, 5) float32, cx cy w h angle (radians, clockwise on screen, le90)
    rotated_class_labels: Tensor  # (M,) int64, 0..K-1
    rotated_difficult: Tensor  # (M,) int64, 0, 1 or 2
    semantic_labels: Tensor  # (H, W) int64
    change_labels: Tensor  # (H, W) int64, 0, 1 or 255
    image_id: str
    dataset: str
    orig_size: tuple[int, int]
    tile: dict[str, Any]
    size: tuple[int, int]
    dropped: dict[str, int]
    num_redrawn: int


class Batch(TypedDict):
    """What `Collate` returns; images of all datasets of a step, in dataset order."""

    pixel_values: Tensor  # (B, 3, H, W) uint8, zero-padded right and bottom
    pixel_values_post: NotRequired[Tensor]  # the same for `image_post`
    image_labels: NotRequired[Tensor]  # (B,) int64, the stacked `label`s
    labels: list[dict[str, Any]]  # B dicts: all other keys of the sample, plus size = content size


# key -> (dtype, shape); letters are sizes that must agree between keys.
_TENSORS: dict[str, tuple[torch.dtype, tuple[int | str, ...]]] = {
    "image": (torch.uint8, (3, "H", "W")),
    "image_post": (torch.uint8, (3, "H", "W")),
    "label": (torch.int64, ()),
    "boxes": (torch.float32, ("N", 4)),
    "class_labels": (torch.int64, ("N",)),
    "iscrowd": (torch.bool, ("N",)),
    "area": (torch.float32, ("N",)),
    "instance_masks": (torch.bool, ("N", "H", "W")),
    "rotated_boxes": (torch.float32, ("M", 5)),
    "rotated_class_labels": (torch.int64, ("M",)),
    "rotated_difficult": (torch.int64, ("M",)),
    "semantic_labels": (torch.int64, ("h", "w")),
    "change_labels": (torch.int64, ("h", "w")),
}
_REQUIRED: dict[str, type] = {"image": Tensor, "image_id": str, "dataset": str, "orig_size": tuple}
_OPTIONAL: dict[str, type] = {"tile": dict, "size": tuple, "dropped": dict, "num_redrawn": int}
# Each group is present as a whole or absent as a whole.
_TOGETHER = (("boxes", "class_labels"), ("rotated_boxes", "rotated_class_labels"))


def check_sample(sample: Sample, num_classes: int | None = None) -> None:
    """Raise where a finalized sample breaks the contract.

    Args:
        sample: Output of a transform list.
        num_classes: K, to check label ranges; semantic maps may hold 0..K and 255, as those of
            the pretraining do, whose background is class 0.

    Raises:
        TypeError: Unknown key, or a value of the wrong type or dtype.
        ValueError: Missing key, wrong or disagreeing shape, value out of range.
    """
    where = f"sample {sample.get('dataset')}/{sample.get('image_id')}"
    unknown = set(sample) - set(_TENSORS) - set(_REQUIRED) - set(_OPTIONAL)
    if unknown:
        raise TypeError(f"{where}: unknown keys {sorted(unknown)}")
    missing = [key for key in _REQUIRED if key not in sample]
    missing += [key for group in _TOGETHER if any(k in sample for k in group)
                for key in group if key not in sample]  # fmt: skip
    if missing:
        raise ValueError(f"{where}: missing keys {missing}")
    for key, kind in (_REQUIRED | _OPTIONAL).items():
        if key in sample and not isinstance(sample[key], kind):  # type: ignore[literal-required]
            raise TypeError(f"{where}: {key} is {type(sample[key]).__name__}")  # type: ignore
    _check_shapes(sample, where)
    _check_values(sample, where, num_classes)


def _check_shapes(sample: Sample, where: str) -> None:
    sizes: dict[str, int] = {}
    for key, (dtype, shape) in _TENSORS.items():
        if key not in sample:
            continue
        value = sample[key]  # type: ignore[literal-required]
        if not isinstance(value, Tensor) or value.dtype != dtype:
            raise TypeError(f"{where}: {key} must be a {dtype} tensor, got {_describe(value)}")
        expected = tuple(
            sizes.setdefault(n, s) if isinstance(n, str) else n
            for n, s in zip(shape, value.shape, strict=False)
        )
        if len(value.shape) != len(shape) or tuple(value.shape) != expected:
            raise ValueError(f"{where}: {key} is {tuple(value.shape)}, expected {shape} {sizes}")
    stored = tuple(sample["orig_size"])
    allowed = ((sizes["H"], sizes["W"]), stored, stored[::-1])  # the last: turned by 90 degrees
    for key in ("semantic_labels", "change_labels"):
        if key in sample and tuple(sample[key].shape) not in allowed:  # type: ignore
            raise ValueError(
                f"{where}: {key} is {tuple(sample[key].shape)}, expected the size of "  # type: ignore
                f"the image now, {allowed[0]}, or as stored, {stored}"
            )


def _check_values(sample: Sample, where: str, num_classes: int | None) -> None:
    for key in ("boxes", "rotated_boxes"):
        if key in sample and not torch.isfinite(sample[key]).all():  # type: ignore
            raise ValueError(f"{where}: {key} holds non-finite numbers")
    if "boxes" in sample and (sample["boxes"][:, 2:] < sample["boxes"][:, :2]).any():
        raise ValueError(f"{where}: boxes must have x2 >= x1 and y2 >= y1")
    limit = float("inf") if num_classes is None else num_classes
    for key in ("label", "class_labels", "rotated_class_labels"):
        labels = cast(Tensor, sample.get(key, torch.zeros(0)))
        if ((labels < 0) | (labels >= limit)).any():
            raise ValueError(f"{where}: {key} {labels.unique().tolist()} not in 0..{limit - 1}")
    if "semantic_labels" in sample:
        labels = sample["semantic_labels"]
        if ((labels < 0) | ((labels > min(limit, 254)) & (labels != IGNORE_LABEL))).any():
            found = labels.unique().tolist()
            raise ValueError(f"{where}: semantic labels {found} not in 0..{limit} or 255")
    for key, values in (("change_labels", (0, 1, IGNORE_LABEL)), ("rotated_difficult", (0, 1, 2))):
        found = sample[key].unique().tolist() if key in sample else []  # type: ignore
        if not set(found) <= set(values):
            raise ValueError(f"{where}: {key} {found} not in {values}")


def _describe(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
