"""Builder of one's own pictures with rotated boxes in the text format of DOTA.

    rows = load_dataset("dota_folder", data_dir="mine", split="train")

A line is `x1 y1 x2 y2 x3 y3 x4 y4 name difficult`, in pixels; the last column may be missing, and
header lines (`imagesource:`, `gsd:`) are read. Folders are those of `_own_folders.py` (labels
`labelTxt`, `annfiles` or `labels`, or text files beside the pictures). Classes are those of
`classes.txt`, else all names in the files, sorted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, polygon_columns
from mtp_hf.dataset_scripts._own_builder import OwnBoxConfig, OwnBuilder
from mtp_hf.dataset_scripts._own_folders import LabelKind, PairingRule, find_pictures
from mtp_hf.dataset_scripts._readers import OrientedFile, read_dota_text
from mtp_hf.dataset_scripts.features import oriented_detection_features

KIND = LabelKind(("labelTxt", "annfiles", "labels", "annotations"), (".txt",))


class DotaFolder(OwnBuilder):
    """Pictures with rotated boxes, one text file a picture."""

    BUILDER_CONFIG_CLASS = OwnBoxConfig
    BUILDER_CONFIGS: ClassVar = [OwnBoxConfig(name="all", description="text files as of DOTA")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=oriented_detection_features(self.class_names))

    def find_class_names(self, root: Path) -> list[str]:
        """Names of `classes.txt`, else of all objects."""
        splits = self.find_records(root)
        return self.names_in_labels(splits, lambda path: read_dota_text(path).records)

    def find_records(self, root: Path) -> dict[str, list[DetectionRecord]]:
        """Pictures of each split."""
        rule = PairingRule(self.config.missing_labels == "empty", self.config.on_error)
        return find_pictures(root, KIND, rule)

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        file = read_dota_text(record.annotation) if record.annotation else OrientedFile([])
        row = self.picture_columns(record.image_id, record.image)
        row["objects"] = polygon_columns(file.records, self.classes)
        yield record.image_id, row | {"image_source": file.image_source, "gsd": file.gsd}
