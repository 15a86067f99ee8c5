"""Builder of one's own pictures with horizontal boxes in the format of YOLO.

    rows = load_dataset("yolo_folder", data_dir="mine", split="train")

Where the files may lie is in `_yolo_files.py`, the lines of a label file in `_yolo_labels.py`. A
picture without label file has no object, as Ultralytics has it; `missing_labels="error"` refuses
it. A split other than `test` without any label file is refused always.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, box_columns
from mtp_hf.dataset_scripts._own_builder import OwnBoxConfig, OwnBuilder
from mtp_hf.dataset_scripts._own_folders import PairingRule
from mtp_hf.dataset_scripts._yolo_files import (
    YoloFile,
    find_yolo_class_names,
    find_yolo_file,
    find_yolo_pictures,
)
from mtp_hf.dataset_scripts._yolo_labels import read_yolo_boxes
from mtp_hf.dataset_scripts.features import detection_features


@dataclass
class YoloConfig(OwnBoxConfig):
    """Options of a YOLO folder, in which a missing label file means no object."""

    missing_labels: str = "empty"


class YoloFolder(OwnBuilder):
    """Pictures with horizontal boxes, one text file a picture."""

    BUILDER_CONFIG_CLASS = YoloConfig
    BUILDER_CONFIGS: ClassVar = [YoloConfig(name="all", description="text files as of YOLO")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=detection_features(self.class_names))

    def find_class_names(self, root: Path) -> list[str]:
        """Names of `data.yaml` or `classes.txt`."""
        return find_yolo_class_names(root, self._file)

    def find_records(self, root: Path) -> dict[str, list[DetectionRecord]]:
        """Pictures of each split."""
        rule = PairingRule(self.config.missing_labels == "empty", self.config.on_error)
        return find_yolo_pictures(root, self._file, rule)

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        row = self.picture_columns(record.image_id, record.image)
        size = row["height"], row["width"]
        names, label = self.class_names, record.annotation
        boxes = read_yolo_boxes(label, size, names) if label else []
        yield record.image_id, row | {"objects": box_columns(boxes, self.classes)}

    @functools.cached_property
    def _file(self) -> YoloFile | None:
        return find_yolo_file(self.config.root())
