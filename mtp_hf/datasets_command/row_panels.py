"""Draw a row as a few pictures side by side, whatever its family.

Pictures are brought to one length of the longer side, small ones made larger; boxes and polygons
are scaled with them, maps and masks by the nearest pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from mtp_hf.datasets_command.families import CHANGE, CLASSIFICATION, IGNORED, SAMRS, Family
from mtp_hf.datasets_command.pictures import is_band_list, open_picture
from mtp_hf.datasets_command.row_summary import object_boxes
from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.drawing import (
    Color,
    NamePlates,
    draw_boxes,
    draw_polygons,
    overlay_masks,
    overlay_semantic_map,
)
from mtp_hf.visualize.samples import ALPHA, MAX_NAMES, class_colors

BACKGROUNDS = ("background", "unchanged")  # names of a class 0 that stays clear in maps
CHANGE_COLORS: list[Color] = [(255, 255, 0)]
BRIGHT_PERCENTILES = (2, 98)  # stretch of arrays of more than 8 bits
RGB_BANDS = (3, 2, 1)  # B04, B03, B02 of Sentinel-2


@dataclass
class Panels:
    """Pictures of one row, and what to write above them.

    Attributes:
        classes: labels that occur, for the legend.
    """

    title: str
    pictures: list[Image.Image]
    classes: set[int]


def draw_row(row: dict[str, Any], family: Family, *, side: int) -> Panels:
    """Draw a row with its annotations.

    Args:
        row: as the builder reads it.
        family: its schema.
        side: length of the longer side of each picture in pixels.

    Raises:
        PictureError: a picture cannot be read.
    """
    originals = [_to_rgb(row[column]) for column in family.pictures]
    width, height = originals[0].size
    factor = side / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    canvases = [picture.resize(size, Image.Resampling.BICUBIC) for picture in originals]
    palette = default_palette(len(family.class_names))
    title = f"{row['image_id']}  {width} x {height}"
    pictures: list[Image.Image] = []
    classes: set[int] = set()
    if family.name == CLASSIFICATION:
        label = row["label"]
        class_name = "no label" if label is None else family.class_names[label]
        return Panels(f"{class_name}  {title}", canvases, classes)  # titles are cut at their end
    if family.name == CHANGE:
        pictures, change = _draw_change(canvases, row[str(family.mask)])
        return Panels(title + change, pictures, classes)
    for column in family.object_columns:
        if row.get(column) is not None:
            labels = np.asarray(row[column]["category"], np.int64)
            canvas = canvases[0].copy()
            pictures.append(_draw_objects(canvas, row[column], family, factor, palette))
            classes |= set(labels.tolist())
            title += f"  {len(labels)} {column.replace('_', ' ')}"
    if family.mask and row.get(family.mask) is not None:
        values = _resized_map(row[family.mask], size)
        tinted, found = _draw_map(canvases[0], values, family)
        pictures += [canvases[0], tinted] if family.name != SAMRS else [tinted]
        classes |= found
    return Panels(title, pictures or canvases, classes)


def _draw_objects(
    canvas: Image.Image, objects: dict[str, Any], family: Family, factor: float, palette: np.ndarray
) -> Image.Image:
    labels = np.asarray(objects["category"], np.int64)
    colors = class_colors(labels, palette)
    is_crowded = len(labels) > MAX_NAMES  # names and thick lines would hide the objects
    if objects.get("segmentation"):
        masks = [_resized_mask(rle, canvas.size) for rle in objects["segmentation"]]
        canvas = overlay_masks(canvas, np.stack(masks), colors, alpha=ALPHA)
    if "polygon" in objects:
        polygons = np.asarray(objects["polygon"], np.float64).reshape(-1, 8) * factor
        widths = {"width": 1, "front_width": 2} if is_crowded else {}
        corners = draw_polygons(canvas, polygons, colors, **widths)
    else:
        boxes = object_boxes(objects) * factor
        boxes[:, 2:] += boxes[:, :2]  # x y w h -> x1 y1 x2 y2
        corners = draw_boxes(canvas, boxes, colors, scale=1, **({"width": 1} if is_crowded else {}))
    if not is_crowded:
        _write_names(canvas, [family.class_names[label] for label in labels], corners, colors)
    return canvas


def _write_names(
    canvas: Image.Image,
    names: Sequence[str],
    corners: Sequence[tuple[float, float]],
    colors: Sequence[Color],
) -> None:
    plates = NamePlates(canvas)
    for name, corner, color in zip(names, corners, colors, strict=True):
        plates.write(name, corner, color)


def _draw_map(
    canvas: Image.Image, values: np.ndarray, family: Family
) -> tuple[Image.Image, set[int]]:
    num_classes = len(family.class_names)
    found = {int(value) for value in np.unique(values)} & set(range(num_classes))
    palette = default_palette(num_classes)
    if family.name == SAMRS:
        shifted = np.where(values == IGNORED, 0, values.astype(np.int64) + 1)
    else:
        shifted = np.where(values == IGNORED, IGNORED, values.astype(np.int64) + 1)
        if num_classes and family.class_names[0].lower() in BACKGROUNDS:
            shifted[values == 0] = 0
            found -= {0}
    return overlay_semantic_map(canvas, shifted, palette, alpha=ALPHA), found


def _draw_change(canvases: list[Image.Image], mask: Any) -> tuple[list[Image.Image], str]:
    """Outline what changed in both pictures, and show the map as a third one."""
    if mask is None:
        return canvases, "  no labels"
    values = _resized_map(mask, canvases[0].size)
    changed = values == 1
    outlined = [
        overlay_masks(canvas, changed[None], CHANGE_COLORS, alpha=0.0) for canvas in canvases
    ]
    gray = np.where(values == IGNORED, 128, np.where(changed, 255, 0)).astype(np.uint8)
    share = f"  {100 * float(changed.mean()):.1f} % changed"
    return [*outlined, Image.fromarray(gray).convert("RGB")], share


def _resized_map(value: Any, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(open_picture(value).resize(size, Image.Resampling.NEAREST))


def _resized_mask(rle: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    mask = Image.fromarray(coco.decode({**rle, "counts": rle["counts"].encode("latin-1")}) * 255)
    return np.asarray(mask.resize(size, Image.Resampling.NEAREST)) > 0


def _to_rgb(value: Any) -> Image.Image:
    """Any picture as RGB; many bands as their natural colours, stretched."""
    if isinstance(value, (str, dict)):
        return open_picture(value).convert("RGB")
    if is_band_list(value):
        value = [np.asarray(open_picture(band)) for band in value]
    bands = np.asarray(value)
    bands = bands[list(RGB_BANDS)] if len(bands) > max(RGB_BANDS) else bands[[0, 0, 0]]
    low, high = np.percentile(bands, BRIGHT_PERCENTILES)
    scaled = np.clip((bands - low) / max(1.0, high - low), 0, 1) * 255
    return Image.fromarray(scaled.transpose(1, 2, 0).astype(np.uint8))  # (3, H, W) -> (H, W, 3)
