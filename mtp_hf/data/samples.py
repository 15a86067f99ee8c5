"""Rows of the Hugging Face datasets -> raw samples (`mtp_hf.data.schema.RawSample`).

Here the stored encodings end: images become RGB tensors, gray maps become semantic labels with
background 0, run-length codes get their boxes. Nothing is resized or cropped.

Source: MTP pretraining loaders (spec 2.8).
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from mtp_hf.data.masks import RleMasks
from mtp_hf.data.schema import TASKS, RawSample

# 8-bit modes whose conversion to RGB loses nothing but transparency.
_RGB_MODES = ("RGB", "RGBA", "RGBX", "L", "LA", "P", "1")
_UNLABELLED = 255


def samrs_row_to_sample(
    row: Mapping[str, Any],
    dataset: str,
    tasks: Sequence[str] = TASKS,
    num_classes: int | None = None,
) -> RawSample:
    """Turn one row of the `samrs` schema into a raw sample.

    Args:
        row: Dataset row with `image`, `semantic_mask`, `objects`, `rotated_objects`, `image_id`.
        dataset: Name that the sample carries, a key of the model's `class_names`.
        tasks: Which annotations to read: "ss" semantic map, "is" instances, "rd" rotated objects.
        num_classes: K without background, to check the labels.

    Raises:
        ValueError: Unknown task, label outside 0..K-1, size or image mode that does not fit.
    """
    unknown = set(tasks) - set(TASKS)
    if unknown:
        raise ValueError(f"unknown tasks {sorted(unknown)}, expected a subset of {TASKS}")
    image = image_to_tensor(row["image"])
    height, width = image.shape[1:]
    sample = RawSample(
        image=image,
        image_id=str(row["image_id"]),
        dataset=dataset,
        orig_size=(height, width),
        dropped={},
    )
    if "ss" in tasks:
        sample["semantic_labels"] = _semantic_labels(
            _column(row, "semantic_mask"), (height, width), num_classes
        )
    if "is" in tasks:
        sample.update(_instances(_column(row, "objects"), (height, width), num_classes))
    if "rd" in tasks:
        sample.update(_rotated_objects(_column(row, "rotated_objects"), num_classes))
    return sample


def open_image(image: Image.Image | Mapping[str, Any]) -> Image.Image:
    """Return the PIL image of an `Image` column, decoded or `Image(decode=False)`."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Mapping) and (image.get("bytes") or image.get("path")):
        data = image.get("bytes")
        return Image.open(io.BytesIO(data) if data else image["path"])
    raise ValueError(f"expected a PIL image or a dict with bytes or path, got {type(image)}")


def image_to_tensor(image: Image.Image | Mapping[str, Any]) -> Tensor:
    """Decode to uint8 (3, H, W), RGB.

    Gray images are repeated over the channels, palettes looked up, transparency left out. The
    memory layout is channels last, which is what resizing is fast on.

    Raises:
        ValueError: 16-bit, float or non-RGB colour image: how it maps to 8 bits is the data
            set's decision, to be made where the data set is built.
    """
    image = open_image(image)
    if image.mode not in _RGB_MODES:
        raise ValueError(f"image mode {image.mode!r} has no agreed 8-bit RGB form, convert first")
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def gray_map_to_labels(gray: np.ndarray) -> np.ndarray:
    """Map class i to i + 1 and the unlabelled 255 to background 0; uint8 (H, W) -> uint8 (H, W).

    Differs: the original adds one in 8 bits and lets 255 wrap around to 0 (quirk 15); here the
    mapping is explicit. Labels stop at 253, so that none becomes the ignore label.
    """
    if gray.dtype != np.uint8 or gray.ndim != 2:
        raise ValueError(f"expected an 8-bit gray map, got {gray.dtype} {gray.shape}")
    if (gray == _UNLABELLED - 1).any():
        raise ValueError("class 254 would become the ignore label 255")
    is_labelled = gray != _UNLABELLED
    return (gray + is_labelled) * is_labelled


def _column(row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise ValueError(f"the row has no {name}: was the data set read without that task?")
    return row[name]


def _semantic_labels(semantic_mask: Any, size: tuple[int, int], num_classes: int | None) -> Tensor:
    """Read the gray map and add background, uint8 (H, W)."""
    mask = open_image(semantic_mask)
    if mask.mode not in ("L", "P"):
        raise ValueError(f"semantic_mask has mode {mask.mode!r}, expected L or P")
    if (mask.height, mask.width) != size:
        raise ValueError(f"semantic_mask is {mask.height}x{mask.width}, the image {size}")
    labels = gray_map_to_labels(np.array(mask))
    if num_classes is not None and labels.max(initial=0) > num_classes:
        raise ValueError(f"semantic_mask holds class {labels.max() - 1} of {num_classes}")
    return torch.from_numpy(labels)


def _instances(
    objects: Mapping[str, Any], size: tuple[int, int], num_classes: int | None
) -> RawSample:
    """Read coded masks and take the boxes from them; empty and crowd objects are counted."""
    codes = objects["segmentation"]
    wrong = [code["size"] for code in codes if tuple(code["size"]) != size]
    if wrong:
        raise ValueError(f"a mask is coded for size {wrong[0]}, the image is {size}")
    labels = _labels(objects["category"], num_classes, "objects.category")
    crowd = np.asarray(objects.get("iscrowd") or [False] * len(codes), dtype=bool)
    boxes = np.zeros((0, 4))
    if len(codes):
        boxes = coco_mask.toBbox(list(codes))
        boxes[:, 2:] += boxes[:, :2]  # x y w h -> x1 y1 x2 y2
    empty = (boxes[:, 2:] - boxes[:, :2] < 1).any(axis=1)
    keep = ~(empty | crowd)
    return RawSample(
        boxes=torch.from_numpy(boxes[keep]).float(),
        class_labels=labels[torch.from_numpy(keep)],
        instance_masks=RleMasks(codes, size).select(keep),
        dropped={"empty_masks": int((empty & ~crowd).sum()), "crowd": int(crowd.sum())},
    )


def _rotated_objects(objects: Mapping[str, Any], num_classes: int | None) -> RawSample:
    """Read polygons as annotated.

    Kept: `difficult` is not looked at, as its column of these files holds the class number and
    the original's threshold of 100 is never reached (spec 2.8).
    """
    polygons = torch.tensor(objects["polygon"], dtype=torch.float32).reshape(-1, 8)
    labels = _labels(objects["category"], num_classes, "rotated_objects.category")
    return RawSample(polygons=polygons, rotated_class_labels=labels)


def _labels(values: Sequence[int], num_classes: int | None, field: str) -> Tensor:
    labels = torch.tensor(values, dtype=torch.int64)
    if len(labels) and (labels.min() < 0 or (num_classes and labels.max() >= num_classes)):
        raise ValueError(f"{field} holds {labels.unique().tolist()}, expected 0..{num_classes}")
    return labels
