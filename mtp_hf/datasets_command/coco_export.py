"""Rows of a data set as one COCO file, with the category numbers of the class list (from 0).

Source: the preparation scripts of MTP for SAMRS, DIOR and xView. Boxes are x, y, width, height as
annotated, without one pixel added; of SAMRS they are those of the masks.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtp_hf.datasets_command.conversion import replace_text


def coco_content(rows: Iterable[dict[str, Any]], class_names: Sequence[str]) -> dict[str, Any]:
    """Images, categories and annotations; numbers of images and annotations start at 0.

    Args:
        rows: of a detection family or of SAMRS, as the builder reads them.
        class_names: K names.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, row in enumerate(rows):
        name = picture_name(row)
        image = coco_image(image_id, name, (row["height"], row["width"]))
        images.append(image | ({"segm_file": f"{Path(name).stem}.png"} if is_samrs(row) else {}))
        objects = row["objects"]
        for index, box in enumerate(objects["bbox"]):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": int(objects["category"][index]),
                    "bbox": [_plain(value) for value in box],
                    "area": _plain(objects["area"][index]),
                    "segmentation": objects["segmentation"][index] if is_samrs(row) else [],
                    "iscrowd": int(objects["iscrowd"][index]),
                }
            )
    categories = coco_categories(class_names)
    return {"images": images, "categories": categories, "annotations": annotations}


def coco_image(number: int | str, file_name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Entry of an image of some height and width."""
    return {"id": number, "file_name": file_name, "height": size[0], "width": size[1]}


def coco_categories(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of the classes, numbered from 0 in label order."""
    return [{"id": label, "name": name} for label, name in enumerate(class_names)]


def write_coco(rows: Iterable[dict[str, Any]], class_names: Sequence[str], path: Path) -> str:
    """Write a COCO file; it is whole or not there.

    Returns:
        A line that says how much is in it.
    """
    content = coco_content(rows, class_names)
    replace_text(path, json.dumps(content))
    num_images, num_objects = len(content["images"]), len(content["annotations"])
    return f"{path}: {num_images:,} images, {num_objects:,} objects"


def picture_name(row: dict[str, Any]) -> str:
    """File name of a row's picture."""
    image = row["image"]
    return Path(image["path"] if isinstance(image, dict) else image).name


def is_samrs(row: dict[str, Any]) -> bool:
    """Whether the objects of a row have masks."""
    return "segmentation" in row["objects"]


def _plain(value: float) -> int | float:
    """Write whole numbers without a point, as the files have them."""
    number = float(value)
    return int(number) if number.is_integer() else number
