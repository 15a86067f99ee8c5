"""Rows of the SAMRS schema with many objects: four generated scenes to a picture.

One scene of the demo has at most six objects; four with at least three each make about fifteen,
on files about as large as those of the published sets.
"""

import io
from typing import Any

import datasets
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mtp_hf.dataset_scripts.demo import DEMO_SETS, draw_image
from mtp_hf.dataset_scripts.samrs import samrs_features

LEAST_OBJECTS = 3  # of one of the four scenes
BACKGROUND = 255
Row = dict[str, Any]


def make_rows(
    config: str, image_format: str, image_size: int, count: int
) -> tuple[datasets.Dataset, dict[str, float]]:
    """Draw rows of a data set.

    Args:
        config: set whose classes and object kinds are used.
        image_format: `JPEG` or `PNG`.
        image_size: side of the pictures, an even number of pixels.
        count: number of rows.

    Returns:
        The rows as the builder returns them, and means: objects and kilobytes of a picture.
    """
    rows, objects, size = [], 0, 0
    for number in range(count):
        row = _row(config, image_format, image_size, number)
        objects += len(row["objects"]["category"])
        size += len(row["image"]["bytes"])
        rows.append(row)
    features = samrs_features(DEMO_SETS[config].class_names)
    means = {"objects": objects / count, "kB": size / count / 1000}
    return datasets.Dataset.from_list(rows, features=features), means


def _row(config: str, image_format: str, image_size: int, number: int) -> Row:
    """Put four scenes together; later ones keep their objects, moved by half a side."""
    names, kinds = DEMO_SETS[config].class_names, DEMO_SETS[config].kinds
    half = image_size // 2
    picture = Image.new("RGB", (image_size, image_size))
    gray = np.full((image_size, image_size), BACKGROUND, np.uint8)
    masks, labels, polygons = [], [], []
    for place in range(4):
        left, top = half * (place % 2), half * (place // 2)
        scene, found = _scene(half, set(kinds), 4 * number + place)
        picture.paste(scene, (left, top))
        for item in found:
            mask = np.zeros_like(gray)
            mask[top : top + half, left : left + half] = item.mask
            masks.append(mask)
            labels.append(names.index(kinds[item.kind]))
            polygons.append((item.polygon + (left, top)).ravel())
            gray[mask.astype(bool)] = labels[-1]
    ids = list(range(len(labels)))
    return {
        "image_id": f"{number}",
        "image": _encoded(picture, image_format),
        "width": image_size,
        "height": image_size,
        "semantic_mask": _encoded(Image.fromarray(gray), "PNG"),
        "objects": {"id": ids, "category": labels} | _instances(masks),
        "rotated_objects": {
            "id": ids,
            "category": labels,
            "polygon": polygons,
            "difficult": [0] * len(ids),
        },
    }


def _scene(size: int, kinds: set[str], number: int) -> tuple[Image.Image, list]:
    """Draw the first scene from a seed on that has enough objects."""
    attempt = 0
    while True:
        picture, found = draw_image([number, attempt], size, kinds, scene_number=number + attempt)
        if len(found) >= LEAST_OBJECTS:
            return picture, found
        attempt += 1


def _instances(masks: list[np.ndarray]) -> dict[str, list]:
    """Code masks as the columns of a row."""
    codes = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    boxes = [coco_mask.toBbox(code).tolist() for code in codes]
    return {
        "bbox": boxes,
        "prompt_bbox": boxes,
        "area": [float(coco_mask.area(code)) for code in codes],
        "iscrowd": [False] * len(codes),
        "segmentation": [{"size": c["size"], "counts": c["counts"].decode()} for c in codes],
    }


def _encoded(picture: Image.Image, image_format: str) -> Row:
    file = io.BytesIO()
    picture.save(file, image_format, quality=93)  # PNG has no quality
    return {"bytes": file.getvalue(), "path": None}
