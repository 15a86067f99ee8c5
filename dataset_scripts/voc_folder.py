"""Builder of one's own pictures with Pascal VOC files, as labelImg and CVAT write them.

    rows = load_dataset("voc_folder", data_dir="mine", split="train")

Folders are those of `_own_folders.py` (labels `Annotations`, or xml files beside the pictures),
`VOCdevkit/VOC2012` with its `ImageSets/Main` among them. Classes are those of `classes.txt`, else
all names in the files, sorted. Boxes are `xmin ymin xmax ymax` as written, widths their
differences. Objects marked `difficult` are read like the others: rows of horizontal boxes have no
column for it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._annotations_xml import read_voc_xml
from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, box_columns
from mtp_hf.dataset_scripts._own_builder import OwnBoxConfig, OwnBuilder
from mtp_hf.dataset_scripts._own_folders import LabelKind, PairingRule, find_pictures
from mtp_hf.dataset_scripts.features import detection_features

KIND = LabelKind(("Annotations", "labels", "xml", "xmls"), (".xml",))


class VocFolder(OwnBuilder):
    """Pictures with horizontal boxes, one xml file a picture."""

    BUILDER_CONFIG_CLASS = OwnBoxConfig
    BUILDER_CONFIGS: ClassVar = [OwnBoxConfig(name="all", description="Pascal VOC xml files")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=detection_features(self.class_names))

    def find_class_names(self, root: Path) -> list[str]:
        """Names of `classes.txt`, else of all objects."""
        return self.names_in_labels(self.find_records(root), read_voc_xml)

    def find_records(self, root: Path) -> dict[str, list[DetectionRecord]]:
        """Pictures of each split."""
        rule = PairingRule(self.config.missing_labels == "empty", self.config.on_error)
        return find_pictures(root, KIND, rule)

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        boxes = read_voc_xml(record.annotation) if record.annotation else []
        row = self.picture_columns(record.image_id, record.image)
        yield record.image_id, row | {"objects": box_columns(boxes, self.classes)}
