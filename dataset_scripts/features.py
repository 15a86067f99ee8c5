"""Columns of a row, one schema for each family of tasks.

Boxes are x, y, width, height and polygons x1 y1 ... x4 y4 in pixels of the image; nothing is
clipped. Objects are parallel lists, the form that the processors and examples of transformers for
object detection are fed from. A test split without labels has the same columns with empty lists or
None. `tiled=True` adds where a tile was cut from.
"""

from datasets import ClassLabel, Features, Image, List, Value

# Where a tile lies in its image: pixels, and the side of the window before any resizing.
TILE = {
    "source_id": Value("string"),
    "x": Value("int32"),
    "y": Value("int32"),
    "size": Value("int32"),
}


def classification_features(class_names: list[str]) -> Features:
    """One label an image."""
    return Features(
        {
            "image_id": Value("string"),
            "image": Image(),
            "label": ClassLabel(names=class_names),
        }
    )


def detection_features(class_names: list[str], *, tiled: bool = False) -> Features:
    """Horizontal boxes."""
    return _with_tile({**_rgb_picture(), "objects": _objects(class_names)}, tiled)


def oriented_detection_features(class_names: list[str], *, tiled: bool = False) -> Features:
    """Polygons of four corners as annotated, and the boxes around them.

    `difficult` is 0 or 1 as published, 2 for an object that the border of a tile cuts;
    `image_source` and `gsd` (metres a pixel) are None where the files do not say.
    """
    objects = _objects(class_names) | {
        "polygon": List(List(Value("float32"), length=8)),
        "difficult": List(Value("int8")),
    }
    columns = {
        **_rgb_picture(),
        "objects": objects,
        "image_source": Value("string"),
        "gsd": Value("float32"),
    }
    return _with_tile(columns, tiled)


def segmentation_features() -> Features:
    """A map of class numbers, 8-bit, 255 = ignore; `scene` is None where a set has none."""
    columns = _picture()
    return Features(
        {
            "image_id": columns["image_id"],
            "image": columns["image"],
            "mask": Image(),
            "width": columns["width"],
            "height": columns["height"],
            "scene": Value("string"),
        }
    )


def change_features(*, tiled: bool = False) -> Features:
    """Two pictures of one place, `image` the earlier one; the map is 1 = changed, 255 = ignore."""
    columns = _picture()
    return _with_tile(
        {
            "image_id": columns["image_id"],
            "image": columns["image"],
            "image_post": Image(),
            "mask": Image(),
            "width": columns["width"],
            "height": columns["height"],
        },
        tiled,
    )


def _picture() -> dict:
    return {
        "image_id": Value("string"),
        "image": Image(),
        "width": Value("int32"),
        "height": Value("int32"),
    }


def _rgb_picture() -> dict:
    """Files may be gray, have a palette or an alpha channel; they are decoded as 8-bit RGB."""
    return _picture() | {"image": Image(mode="RGB")}


def _objects(class_names: list[str]) -> dict:
    return {
        "id": List(Value("int64")),
        "bbox": List(List(Value("float32"), length=4)),
        "category": List(ClassLabel(names=class_names)),
        "area": List(Value("float32")),
        "iscrowd": List(Value("bool")),
    }


def _with_tile(columns: dict, tiled: bool) -> Features:
    return Features(columns | ({"tile": dict(TILE)} if tiled else {}))
