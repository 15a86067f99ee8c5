"""What a check keeps of one row: numbers, labels, and what is wrong with it.

Boxes are x, y, width, height in pixels of the picture.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mtp_hf.datasets_command.families import CLASSIFICATION, IGNORED, OBJECT_COLUMNS, Family
from mtp_hf.datasets_command.pictures import Header, PictureError, open_picture, read_header

# Kinds of findings: errors make a check fail, remarks do not.
MISSING = "files that are missing"
BROKEN = "records that cannot be read"
BROKEN_PICTURE = "pictures that cannot be read"
SIZES = "sizes that differ"
LABEL_RANGE = "labels out of range"
OUTSIDE = "objects outside the picture"
NO_AREA = "objects without an area"
LEAVES = "objects that leave the picture"
NO_OBJECT = "pictures without an object"
NO_LABELS = "splits without labels"

MAX_LABELS = 256  # of a map


class Flaw(NamedTuple):
    """Something to tell of a row: kind, and which object of which file."""

    kind: str
    where: str


@dataclass
class Objects:
    """Labels (N,) and boxes (N, 4) of one column of objects."""

    labels: np.ndarray
    boxes: np.ndarray


@dataclass
class RowSummary:
    """Numbers of one row.

    Attributes:
        headers: of its pictures; change pairs have two.
        objects: by column.
        class_counts: pictures, or pixels of the map, by label; None where there are no labels.
    """

    image_id: str
    headers: list[Header] = field(default_factory=list)
    objects: dict[str, Objects] = field(default_factory=dict)
    class_counts: np.ndarray | None = None
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def name(self) -> str:
        """File of the picture, or the id where it has no file."""
        path = self.headers[0].path if self.headers else None
        return path if path and os.path.isabs(path) else f"image {self.image_id!r}"


def summarize_row(row: dict[str, Any], family: Family, *, decode: bool) -> RowSummary:
    """Look at one row; everything wrong with it becomes a flaw."""
    summary = RowSummary(str(row["image_id"]))
    for column in family.pictures:
        try:
            summary.headers.append(read_header(row[column], decode=decode))
        except PictureError as error:
            summary.flaws.append(Flaw(BROKEN_PICTURE, str(error)))
    if not summary.headers:
        return summary
    summary.flaws += _size_flaws(row, family, summary)
    if family.name == CLASSIFICATION and row["label"] is not None:
        summary.class_counts = np.zeros(MAX_LABELS, np.int64)
        if 0 <= row["label"] < len(family.class_names):
            summary.class_counts[row["label"]] = 1
        else:
            summary.flaws.append(Flaw(LABEL_RANGE, f"{summary.name}: label {row['label']}"))
    if family.mask and row[family.mask] is not None:
        _add_map(row[family.mask], family, summary)
    for column in OBJECT_COLUMNS:
        if row.get(column) is not None:
            _add_objects(row[column], column, family, summary)
    if summary.objects and not any(len(found.labels) for found in summary.objects.values()):
        summary.flaws.append(Flaw(NO_OBJECT, summary.name))
    return summary


def _size_flaws(row: dict[str, Any], family: Family, summary: RowSummary) -> Iterator[Flaw]:
    first = summary.headers[0]
    size = (first.width, first.height)
    told = (row.get("width", size[0]), row.get("height", size[1]))
    for what, found in [
        ("the annotation says", told),
        *(("the later picture has", (other.width, other.height)) for other in summary.headers[1:]),
    ]:
        if found != size:
            where = f"{summary.name}: {size[0]} x {size[1]} pixels, {what} {found[0]} x {found[1]}"
            yield Flaw(SIZES, where)


def _add_map(value: Any, family: Family, summary: RowSummary) -> None:
    try:
        picture = open_picture(value)
    except PictureError as error:
        summary.flaws.append(Flaw(BROKEN_PICTURE, str(error)))
        return
    header = summary.headers[0]
    if picture.size != (header.width, header.height):
        found = f"its map {picture.width} x {picture.height}"
        where = f"{summary.name}: {header.width} x {header.height} pixels, {found}"
        summary.flaws.append(Flaw(SIZES, where))
    if picture.mode != "L":
        where = f"{summary.name}: a map of mode {picture.mode!r}; expected 8-bit gray"
        summary.flaws.append(Flaw(LABEL_RANGE, where))
        return
    counts = np.array(picture.histogram(), np.int64)
    wrong = np.flatnonzero(counts[len(family.class_names) : IGNORED]) + len(family.class_names)
    if len(wrong):
        where = f"{summary.name}: values {wrong.tolist()} in the map"
        summary.flaws.append(Flaw(LABEL_RANGE, where))
    summary.class_counts = counts


def _add_objects(objects: dict[str, Any], column: str, family: Family, summary: RowSummary) -> None:
    labels = np.asarray(objects["category"], np.int64)
    boxes = object_boxes(objects)
    summary.objects[column] = Objects(labels, boxes)
    header = summary.headers[0]
    is_wrong = (labels < 0) | (labels >= len(family.class_names))
    left, top, width, height = boxes.T
    is_flat = (width <= 0) | (height <= 0)
    is_outside = (left >= header.width) | (top >= header.height)
    is_outside |= (left + width <= 0) | (top + height <= 0)
    leaves = (left < 0) | (top < 0)
    leaves |= (left + width > header.width) | (top + height > header.height)
    for kind, found in (
        (LABEL_RANGE, is_wrong),
        (NO_AREA, is_flat),
        (OUTSIDE, is_outside & ~is_flat),
        (LEAVES, leaves & ~is_outside),
    ):
        for index in np.flatnonzero(found):
            box = ", ".join(f"{value:g}" for value in boxes[index])
            where = f"{summary.name}, {column} {index}: label {labels[index]}, box {box}"
            summary.flaws.append(Flaw(kind, where))


def object_boxes(objects: dict[str, Any]) -> np.ndarray:
    """Boxes x, y, width, height (N, 4), those around the polygons where objects have no boxes."""
    if "bbox" in objects:
        return np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
    corners = np.asarray(objects["polygon"], np.float64).reshape(-1, 4, 2)
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high - low], axis=1)
