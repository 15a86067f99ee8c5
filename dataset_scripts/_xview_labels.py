"""Read the one label file of xView, a GeoJSON of 600,000 features, and group it by image.

Only four values of a feature are kept while the file is read, so that it fits in memory. What a
feature says is checked when its image is read; features that cannot be objects are counted here:
the numbers 75 and 82 stand for no class, and some features have no box.

Source: files of the xView challenge (Lam et al. 2018) and their development kit.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    BoxRecord,
    check_coordinates,
    parse_number,
    read_json,
)
from mtp_hf.dataset_scripts.class_names import XVIEW_CLASSES

# Number of each class in the file, in the order of the classes.
TYPE_IDS = [
    *(11, 12, 13, 15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 32, 33, 34, 35, 36, 37, 38),
    *(40, 41, 42, 44, 45, 47, 49, 50, 51, 52, 53, 54, 55, 56, 57, 59, 60, 61, 62, 63, 64, 65, 66),
    *(71, 72, 73, 74, 76, 77, 79, 83, 84, 86, 89, 91, 93, 94),
]
CLASS_OF_TYPE = dict(zip(TYPE_IDS, XVIEW_CLASSES, strict=True))
UNDEFINED_TYPES = (75, 82)
FIELDS = ("image_id", "type_id", "bounds_imcoords")


class XviewFeature(NamedTuple):
    """One feature as it is in the file; `number` counts from 0."""

    number: int
    type_id: Any
    bounds: Any


class XviewLabels(NamedTuple):
    """All features of a file that may be objects, and what the others were.

    Attributes:
        features: image stem -> features in file order.
        left_out: reason -> number of features.
    """

    features: dict[str, list[XviewFeature]]
    left_out: dict[str, int]


def read_xview_geojson(path: str | Path) -> XviewLabels:
    """Group the features of a file by image.

    Raises:
        AnnotationError: the file is no GeoJSON of xView, or a feature names no image.
    """
    content = read_json(path, _slim)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, list):
        raise AnnotationError(f"{path}: no list of 'features'; expected the GeoJSON of xView")
    images: dict[str, list[XviewFeature]] = {}
    left_out: Counter[str] = Counter()
    for index, feature in enumerate(features):
        values = feature.get("properties") if isinstance(feature, dict) else None
        if not isinstance(values, tuple) or not isinstance(values[0], str) or not values[0]:
            raise AnnotationError(
                f"{path}, feature {index}: no image is named; expected 'properties' with "
                f"{', '.join(FIELDS)}"
            )
        image_id, type_id, bounds = values
        of_image = images.setdefault(Path(image_id).stem, [])
        if bounds in ([], "", None):
            left_out["no box (empty 'bounds_imcoords')"] += 1
        elif type_id in UNDEFINED_TYPES:
            left_out[f"type_id {type_id}, which is no class"] += 1
        else:
            of_image.append(XviewFeature(index, type_id, bounds))
    return XviewLabels(images, dict(left_out))


def xview_boxes(features: list[XviewFeature], path: str) -> list[BoxRecord]:
    """Boxes of one image, x1, y1, x2, y2 as in the file.

    Raises:
        AnnotationError: a class number is unknown or a box is none.
    """
    records = []
    for number, type_id, bounds in features:
        row = f"{path}, feature {number}"
        if not isinstance(type_id, int) or type_id not in CLASS_OF_TYPE:
            raise AnnotationError(
                f"{row}: field 'type_id' is {type_id!r}; expected one of the 60 class numbers"
            )
        numbers = (
            [parse_number(word) for word in bounds.split(",")] if isinstance(bounds, str) else []
        )
        box = [number for number in numbers if number is not None]
        if len(box) != 4 or len(numbers) != 4:
            raise AnnotationError(
                f"{row}: field 'bounds_imcoords' is {bounds!r}; expected 'xmin,ymin,xmax,ymax'"
            )
        check_coordinates(box, row)
        if box[2] < box[0] or box[3] < box[1]:
            raise AnnotationError(
                f"{row}: the box {bounds!r} ends before it starts; expected 'xmin,ymin,xmax,ymax'"
            )
        records.append(BoxRecord(row, box, CLASS_OF_TYPE[type_id], 0))
    return records


def _slim(node: dict[str, Any]) -> Any:
    """Keep of `properties` what is read, and nothing of `geometry`."""
    if "coordinates" in node:
        return None
    return tuple(node.get(name) for name in FIELDS) if FIELDS[0] in node else node
