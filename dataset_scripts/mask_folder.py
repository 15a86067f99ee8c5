"""Builder of one's own pictures with maps of class numbers.

    rows = load_dataset("mask_folder", data_dir="mine", split="train",
                        class_names=["background", "building"], mask_values=[0, 255])

Folders are those of `_own_folders.py` (`masks`, `labels`, `SegmentationClass`); a mask may be
called as its picture, or that and `_mask` or `_label`. Class names are those of `classes.txt` or
the option. A map is an 8-bit image of one value a pixel, a palette image (its numbers, not its
colours) or one of three equal bands; `mask_values` says which value is which class, where that is
not 0, 1, 2, ... A map of 0 and 255 alone is refused where there are two classes, until an option
says whether 255 is the second class or no label.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from mtp_hf.dataset_scripts._change_maps import encode_png
from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, describe_folder
from mtp_hf.dataset_scripts._own_builder import OwnBuilder, OwnConfig, read_class_file
from mtp_hf.dataset_scripts._own_folders import (
    PICTURE_SUFFIXES,
    LabelKind,
    PairingRule,
    find_pictures,
)
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import segmentation_features

FOLDERS = ("masks", "labels", "mask", "label", "annotations", "SegmentationClass", "ann_dir", "gt")
KIND = LabelKind(FOLDERS, PICTURE_SUFFIXES, endings=("_mask", "_label", "_gt"))
IGNORED = 255
NO_VALUE = -1
OPAQUE = 255  # of the last of 2 or 4 bands
MOST_NAMED = 8  # values named in a message


@dataclass
class MaskConfig(OwnConfig):
    """Options of maps.

    Attributes:
        mask_values: value of each class in the files, in the order of the classes; None for 0, 1,
            2, ...
        ignore_value: value of pixels without label, 255 by default; -1 where every pixel has one.
    """

    mask_values: list[int] | None = None
    ignore_value: int | None = None

    def check_options(self) -> None:
        """Refuse values that no map has."""
        super().check_options()
        if self.ignore_value is not None and not NO_VALUE <= self.ignore_value <= 255:
            raise ValueError(
                f"ignore_value={self.ignore_value}; expected 0 to 255, or {NO_VALUE} for none"
            )

    def is_unclear(self, values: set[int], num_classes: int) -> bool:
        """Whether 255 may be the second of two classes or no label."""
        is_told = self.mask_values is not None or self.ignore_value is not None
        return not is_told and num_classes == 2 and 255 in values and values <= {0, 255}

    def table(self, num_classes: int) -> np.ndarray:
        """Class of each value, -1 where it has none.

        Raises:
            ValueError: the number of values is not that of the classes, or one is not 0 to 255.
        """
        values = list(range(num_classes)) if self.mask_values is None else list(self.mask_values)
        ignored = IGNORED if self.ignore_value is None else self.ignore_value
        if len(values) != num_classes or len(set(values)) != num_classes:
            raise ValueError(
                f"mask_values={values}; expected {num_classes} different ones, one for each class"
            )
        if not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
            raise ValueError(f"mask_values={values}; expected 0 to 255")
        table = np.full(256, -1, np.int16)
        if ignored != NO_VALUE:
            table[ignored] = IGNORED
        table[values] = np.arange(num_classes)
        return table


class MaskFolder(OwnBuilder):
    """Pictures with maps of classes, one image file a map."""

    BUILDER_CONFIG_CLASS = MaskConfig
    BUILDER_CONFIGS: ClassVar = [MaskConfig(name="all", description="images of class numbers")]

    def _info(self) -> datasets.DatasetInfo:
        self.config.table(len(self.class_names))  # wrong options are errors at once
        return datasets.DatasetInfo(features=segmentation_features())

    def find_class_names(self, root: Path) -> list[str]:
        """Names of `classes.txt`."""
        listed = read_class_file(root)
        if listed is None:
            raise FileNotFoundError(
                f"{root}: {describe_folder(root)}; expected a classes.txt or the option "
                "class_names, for the names of the classes"
            )
        return listed

    def find_records(self, root: Path) -> dict[str, list[DetectionRecord]]:
        """Pictures of each split."""
        return find_pictures(root, KIND, PairingRule(False, self.config.on_error))

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        row = self.picture_columns(record.image_id, record.image)
        size = row["height"], row["width"]
        mask = self._read_mask(record.annotation, size) if record.annotation else None
        yield record.image_id, row | {"mask": mask, "scene": None}

    def _read_mask(self, path: str, size: tuple[int, int]) -> dict[str, Any]:
        with Raster(path, max_pixels=self.config.max_pixels) as raster:
            values = raster.read()  # (H, W, C), numbers of a palette
        if values.shape[:2] != size:
            raise AnnotationError(
                f"{path}: {values.shape[0]} x {values.shape[1]} pixels; expected {size[0]} x "
                f"{size[1]} (height x width), the size of the picture"
            )
        if values.shape[2] in (2, 4) and (values[..., -1] == OPAQUE).all():
            values = values[..., :-1]
        if values.shape[2] > 1 and (values != values[..., :1]).any():
            raise AnnotationError(
                f"{path}: {values.shape[2]} different bands; expected a map of one number a pixel, "
                "not colours"
            )
        values = values[..., 0]
        if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() > 255:
            raise AnnotationError(
                f"{path}: {values.dtype} values from {values.min()} to {values.max()}; expected "
                "whole numbers from 0 to 255"
            )
        table = self.config.table(len(self.class_names))
        found = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
        if self.config.is_unclear(set(found), len(self.class_names)):
            raise AnnotationError(
                f"{path}: values {found}; expected 0 and 1, or an option: mask_values=[0, 255] if "
                f"255 is {self.class_names[1]!r}, ignore_value=255 if it is no label"
            )
        if wrong := [value for value in found if table[value] < 0]:
            known = [int(value) for value in np.flatnonzero(table >= 0)]
            raise AnnotationError(
                f"{path}: values {wrong[:MOST_NAMED]}; expected some of {known[:MOST_NAMED]}"
                f"{' ...' if len(known) > MOST_NAMED else ''}, or the option mask_values"
            )
        return {
            "path": Path(path).stem + ".png",
            "bytes": encode_png(table[values].astype(np.uint8)),
        }
