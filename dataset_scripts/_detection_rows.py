"""Make the columns of detection rows from records of objects, the same way for every set.

Boxes and polygons stay as annotated: of zero size, outside the image, in any corner order. What a
training run cannot use, its transforms drop.
"""

from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    BoxRecord,
    PolygonRecord,
)
from mtp_hf.dataset_scripts.class_names import normalize_class_name

logger = datasets.utils.logging.get_logger(__name__)

NUM_NAMED = 5  # missing files named in a message


class DetectionRecord(NamedTuple):
    """One image and what its objects are read from, usually a file; None for an unlabelled one.

    Tiles of a test image are kept without objects.
    """

    image_id: str
    image: str
    annotation: Any
    is_test: bool = False


class ClassNumbers:
    """Numbers of class names in any spelling that copies of a set use."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        spellings = {normalize_class_name(name): number for number, name in enumerate(names)}
        self._numbers = spellings | {name: number for number, name in enumerate(names)}

    def of(self, name: str, row: str) -> int:
        """Number of a class.

        Raises:
            AnnotationError: the set has no such class; `row` says where the name stands.
        """
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers.get(normalize_class_name(name))
        if number is None:
            raise AnnotationError(
                f"{row}: class name {name!r}; expected one of {', '.join(self.names)}"
            )
        return number


def box_columns(records: list[BoxRecord], classes: ClassNumbers) -> dict[str, list]:
    """Lists of horizontal objects; x1, y1, x2, y2 become x, y, width, height.

    Raises:
        AnnotationError: a class name is unknown.
    """
    corners = np.asarray([record.box for record in records], np.float64).reshape(-1, 4)
    return {
        "id": list(range(len(records))),
        "bbox": _boxes(corners[:, :2], corners[:, 2:]),
        "category": [classes.of(record.name, record.row) for record in records],
        "area": np.prod(corners[:, 2:] - corners[:, :2], axis=1).tolist(),
        "iscrowd": [False] * len(records),
    }


def polygon_columns(records: list[PolygonRecord], classes: ClassNumbers) -> dict[str, list]:
    """Lists of rotated objects: polygons, the boxes around them, and areas of the polygons.

    Raises:
        AnnotationError: a class name is unknown.
    """
    polygons = [record.polygon for record in records]
    corners = np.asarray(polygons, np.float64).reshape(-1, 4, 2)  # (N, 8) -> (N, 4, 2)
    following = np.roll(corners, -1, axis=1)
    # Half the sum of the cross products of neighbours; the origin moved to a corner keeps digits.
    x, y = np.moveaxis(corners - corners[:, :1], 2, 0)
    next_x, next_y = np.moveaxis(following - corners[:, :1], 2, 0)
    return {
        "id": list(range(len(records))),
        "bbox": _boxes(corners.min(axis=1), corners.max(axis=1)),
        "category": [classes.of(record.name, record.row) for record in records],
        "area": (np.abs((x * next_y - y * next_x).sum(axis=1)) / 2).tolist(),
        "iscrowd": [False] * len(records),
        "polygon": polygons,
        "difficult": [record.difficult for record in records],
    }


def pair_files(
    images: dict[str, str], annotations: dict[str, str], folders: str, on_error: str
) -> list[DetectionRecord]:
    """Records of images and annotation files of equal stem, sorted by stem.

    Args:
        images: stem -> path.
        annotations: stem -> path.
        folders: words for where they lie, for messages.
        on_error: `skip` leaves out what has no partner and says so.

    Raises:
        FileNotFoundError: a file has no partner.
    """
    for kind, alone in (
        ("images have no annotation file", sorted(images.keys() - annotations.keys())),
        ("annotation files have no image", sorted(annotations.keys() - images.keys())),
    ):
        if alone:
            report_missing(f"{folders}: {len(alone)} {kind}", alone, on_error)
    both = sorted(images.keys() & annotations.keys())
    return [DetectionRecord(stem, images[stem], annotations[stem]) for stem in both]


def report_missing(what: str, names: list[str], on_error: str) -> None:
    """Say which files are missing: as an error, or as a warning where they are to be skipped.

    Raises:
        FileNotFoundError: unless `on_error` is `skip`.
    """
    message = f"{what}, first {', '.join(map(repr, names[:NUM_NAMED]))}"
    if on_error != "skip":
        raise FileNotFoundError(f"{message}; expected one for each (on_error='skip' goes on)")
    logger.warning(f"{message}; left out (on_error='skip')")


def describe_folder(folder: Path) -> str:
    """What lies in a folder, for messages about what does not."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"found {', '.join(map(repr, names[:10])) or 'nothing'}{more}"


def _boxes(starts: np.ndarray, ends: np.ndarray) -> list[list[float]]:
    return np.concatenate([starts, ends - starts], axis=1).tolist()
