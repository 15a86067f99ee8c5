"""What a row holds, told from the columns alone, so that no command knows a data set by name.

A family is a schema of `dataset_scripts/features.py`, or that of SAMRS.
"""

from dataclasses import dataclass
from typing import Any

import datasets

from mtp_hf.dataset_scripts.class_names import CHANGE_CLASSES, DATASET_CLASSES

CLASSIFICATION = "classification"
DETECTION = "detection"
ORIENTED = "oriented detection"
SEGMENTATION = "segmentation"
CHANGE = "change"
SAMRS = "samrs"
IGNORED = 255  # of every map; the background of SAMRS maps
MASKS = ("mask", "semantic_mask")
OBJECT_COLUMNS = ("objects", "rotated_objects")


@dataclass(frozen=True)
class Family:
    """Schema of a data set and its classes.

    Attributes:
        name: one of the constants above.
        class_names: K names.
        pictures: columns of pictures, of change pairs two.
        mask: column of the map, None where rows have none.
        object_columns: columns of objects.
    """

    name: str
    class_names: tuple[str, ...]
    pictures: tuple[str, ...]
    mask: str | None
    object_columns: tuple[str, ...]


def family_of(builder: datasets.DatasetBuilder) -> Family:
    """Tell the family of a builder's rows.

    Raises:
        ValueError: its columns are those of no family.
    """
    features = builder.info.features
    columns = set(features or {})
    if "semantic_mask" in columns:
        name = SAMRS
    elif "image_post" in columns:
        name = CHANGE
    elif "mask" in columns:
        name = SEGMENTATION
    elif "objects" in columns:
        name = ORIENTED if "polygon" in features["objects"] else DETECTION
    elif "label" in columns:
        name = CLASSIFICATION
    else:
        raise ValueError(f"data set {builder.name!r} has columns {sorted(columns)} of no family")
    return Family(
        name=name,
        class_names=tuple(_class_names(builder, name)),
        pictures=("image", "image_post") if name == CHANGE else ("image",),
        mask=next((column for column in MASKS if column in columns), None),
        object_columns=tuple(column for column in OBJECT_COLUMNS if column in columns),
    )


def _class_names(builder: datasets.DatasetBuilder, family: str) -> list[str]:
    features: Any = builder.info.features
    if family == CLASSIFICATION:
        return features["label"].names
    if "objects" in features:
        return features["objects"]["category"].feature.names
    # Columns of maps hold no names.
    named = getattr(builder, "class_names", None) or getattr(builder.config, "class_names", None)
    if named:
        return list(named)
    return CHANGE_CLASSES if family == CHANGE else DATASET_CLASSES.get(builder.name, [])
