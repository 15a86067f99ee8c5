"""Rows of the Hugging Face datasets -> raw samples (`mtp_hf.data.schema.RawSample`).

One function for each family of `dataset_scripts.features`. Here the stored encodings end: images
become RGB tensors, boxes get two corners, run-length codes get their boxes, and only in pretraining
gray maps become semantic labels with background 0. Nothing is resized or cropped.

Source: MTP pretraining loaders (spec 2.8), loaders of the finetuning (spec 3).
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from mtp_hf.data.masks import RleMasks
from mtp_hf.data.object_lists import class_labels, label_range, object_lists, truth_values
from mtp_hf.data.schema import IGNORE_LABEL, TASKS, RawSample

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
    sample = _picture(row, dataset)
    size = sample["orig_size"]
    if "ss" in tasks:
        sample["semantic_labels"] = _semantic_labels(row, size, num_classes)
    if "is" in tasks:
        sample.update(_instances(_column(row, "objects"), size, num_classes))
    if "rd" in tasks:
        sample.update(_rotated_objects(_column(row, "rotated_objects"), num_classes))
    return sample


def classification_row_to_sample(
    row: Mapping[str, Any], dataset: str, num_classes: int | None = None, labelled: bool = True
) -> RawSample:
    """Turn one row with `label` into a raw sample.

    Args:
        row: Dataset row.
        dataset: Name that the sample carries.
        num_classes: K, to check the label.
        labelled: False leaves the label out, for splits that have none.

    Raises:
        ValueError: No label, or one outside 0..K-1.
    """
    sample = _picture(row, dataset)
    if labelled:
        label = _column(row, "label")
        if label < 0 or (num_classes is not None and label >= num_classes):
            raise ValueError(f"label is {label}, expected {label_range(num_classes)}")
        sample["label"] = torch.tensor(label, dtype=torch.int64)
    return sample


def detection_row_to_sample(
    row: Mapping[str, Any], dataset: str, num_classes: int | None = None
) -> RawSample:
    """Turn one row with horizontal boxes into a raw sample; boxes may leave the image.

    Nothing is left out: the evaluation needs crowds and boxes of any size, the transforms of
    training drop them (`DropUntrainable`).

    Args:
        row: Dataset row with `objects`; without `iscrowd` there are no crowds, without `area` the
            areas are those of the boxes.
        dataset: Name that the sample carries.
        num_classes: K, to check the labels.

    Raises:
        ValueError: Label outside 0..K-1, non-finite box, negative side, or lists of objects that
            are missing or of different lengths.
    """
    sample = _picture(row, dataset)
    objects = object_lists(_column(row, "objects"), ("bbox", "category"), ("iscrowd", "area"))
    boxes = torch.tensor(objects["bbox"], dtype=torch.float32).reshape(-1, 4)
    bad = ~boxes.isfinite().all(dim=1) | (boxes[:, 2:] < 0).any(dim=1)
    if bad.any():
        raise ValueError(f"objects.bbox holds {boxes[bad][0].tolist()}, expected x, y, w >= 0, h")
    areas = [
        math.nan if each is None else each for each in objects.get("area", [None] * len(boxes))
    ]
    area = torch.tensor(areas, dtype=torch.float32)
    sample["area"] = torch.where(area.isnan(), boxes[:, 2:].prod(dim=1), area)
    boxes[:, 2:] += boxes[:, :2]  # x y w h -> x1 y1 x2 y2
    sample["boxes"] = boxes
    sample["class_labels"] = class_labels(objects["category"], num_classes, "objects.category")
    sample["iscrowd"] = truth_values(objects.get("iscrowd"), len(boxes))
    return sample


def oriented_row_to_sample(
    row: Mapping[str, Any], dataset: str, num_classes: int | None = None
) -> RawSample:
    """Turn one row with polygons into a raw sample.

    Nothing is left out: difficult objects are trained on, as in the original, whose threshold of
    difficulty is never reached; `rotated_difficult` lets the evaluation ignore them.

    Raises:
        ValueError: Label outside 0..K-1, a corner that is not a finite number, or lists of objects
            that are missing or of different lengths.
    """
    sample = _picture(row, dataset)
    sample.update(read_oriented_objects(row, num_classes))
    return sample


def read_oriented_objects(row: Mapping[str, Any], num_classes: int | None = None) -> RawSample:
    """Read the objects of a row with polygons, without its picture.

    Raises:
        ValueError: As `oriented_row_to_sample`.
    """
    objects = object_lists(_column(row, "objects"), ("polygon", "category"), ("difficult",))
    found = _rotated_objects(objects, num_classes, "objects")
    bad = ~found["polygons"].isfinite().all(dim=1)
    if bad.any():
        raise ValueError(f"objects.polygon holds {found['polygons'][bad][0].tolist()}")
    found["rotated_difficult"] = torch.tensor(
        objects.get("difficult", [0] * len(found["polygons"])), dtype=torch.int64
    )
    return found


def segmentation_row_to_sample(
    row: Mapping[str, Any], dataset: str, num_classes: int | None = None, labelled: bool = True
) -> RawSample:
    """Turn one row with a `mask` of class numbers into a raw sample; labels stay as stored.

    Args:
        row: Dataset row.
        dataset: Name that the sample carries.
        num_classes: K, to check the labels 0..K-1; 255 is always ignored.
        labelled: False leaves the map out, for splits that have none.

    Raises:
        ValueError: No mask, a mask of another size or mode, or a label outside 0..K-1.
    """
    sample = _picture(row, dataset)
    if labelled:
        labels = _gray_map(row, "mask", sample["orig_size"])
        _check_map(labels, 255 if num_classes is None else num_classes, "mask")
        sample["semantic_labels"] = torch.from_numpy(labels)
    return sample


def change_row_to_sample(row: Mapping[str, Any], dataset: str, labelled: bool = True) -> RawSample:
    """Turn one row with `image`, `image_post` and a `mask` of 0, 1 and 255 into a raw sample.

    Args:
        row: Dataset row.
        dataset: Name that the sample carries.
        labelled: False leaves the map out, for splits that have none.

    Raises:
        ValueError: Pictures of different sizes, or a mask that does not fit.
    """
    sample = _picture(row, dataset)
    sample["image_post"] = image_to_tensor(_column(row, "image_post"))
    sizes = [tuple(sample["image"].shape[1:]), tuple(sample["image_post"].shape[1:])]
    if sizes[0] != sizes[1]:
        raise ValueError(f"image is {sizes[0]}, image_post {sizes[1]}: expected one size")
    if labelled:
        labels = _gray_map(row, "mask", sample["orig_size"])
        _check_map(labels, 2, "mask")
        sample["change_labels"] = torch.from_numpy(labels)
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
        raise ValueError(f"the row has no {name}: was it left out, or has the split no labels?")
    return row[name]


def _picture(row: Mapping[str, Any], dataset: str) -> RawSample:
    """Begin a sample: the image and what names it."""
    image = image_to_tensor(row["image"])
    height, width = image.shape[1:]
    sample = RawSample(
        image=image,
        image_id=str(row["image_id"]),
        dataset=dataset,
        orig_size=(height, width),
        dropped={},
    )
    if row.get("tile") is not None:
        sample["tile"] = dict(row["tile"])
    return sample


def _gray_map(row: Mapping[str, Any], field: str, size: tuple[int, int]) -> np.ndarray:
    """Read a column of 8-bit maps, uint8 (H, W)."""
    gray = open_image(_column(row, field))
    if gray.mode not in ("L", "P"):
        raise ValueError(f"{field} has mode {gray.mode!r}, expected L or P")
    if (gray.height, gray.width) != size:
        raise ValueError(f"{field} is {gray.height}x{gray.width}, the image {size}")
    return np.array(gray)


def _check_map(labels: np.ndarray, num_classes: int, field: str) -> None:
    """Raise where a map (H, W) holds something besides 0..K-1 and 255."""
    if ((labels >= num_classes) & (labels != IGNORE_LABEL)).any():
        found = np.unique(labels).tolist()
        raise ValueError(f"{field} holds {found}, expected 0..{num_classes - 1} or 255")


def _semantic_labels(
    row: Mapping[str, Any], size: tuple[int, int], num_classes: int | None
) -> Tensor:
    """Read the gray map and add background, uint8 (H, W)."""
    labels = gray_map_to_labels(_gray_map(row, "semantic_mask", size))
    if num_classes is not None and labels.max(initial=0) > num_classes:
        raise ValueError(f"semantic_mask holds class {labels.max() - 1} of {num_classes}")
    return torch.from_numpy(labels)


def _instances(
    objects: Mapping[str, Any], size: tuple[int, int], num_classes: int | None
) -> RawSample:
    """Read coded masks and take the boxes from them; empty and crowd objects are counted."""
    objects = object_lists(objects, ("segmentation", "category"), ("iscrowd",))
    codes = objects["segmentation"]
    wrong = [code["size"] for code in codes if tuple(code["size"]) != size]
    if wrong:
        raise ValueError(f"a mask is coded for size {wrong[0]}, the image is {size}")
    labels = class_labels(objects["category"], num_classes, "objects.category")
    crowd = truth_values(objects.get("iscrowd"), len(codes)).numpy()
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


def _rotated_objects(
    objects: Mapping[str, Any], num_classes: int | None, field: str = "rotated_objects"
) -> RawSample:
    """Read polygons as annotated.

    Kept: `difficult` of pretraining files is not looked at, as its column holds the class number
    and the original's threshold of 100 is never reached (spec 2.8).
    """
    objects = object_lists(objects, ("polygon", "category"))
    polygons = torch.tensor(objects["polygon"], dtype=torch.float32).reshape(-1, 8)
    labels = class_labels(objects["category"], num_classes, f"{field}.category")
    return RawSample(polygons=polygons, rotated_class_labels=labels)
