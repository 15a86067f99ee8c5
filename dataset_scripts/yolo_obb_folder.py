"""Builder of one's own pictures with rotated boxes in the format of YOLO-OBB.

    rows = load_dataset("yolo_obb_folder", data_dir="mine", split="train")

As `yolo_folder.py`, but a line has the four corners of the object.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, polygon_columns
from mtp_hf.dataset_scripts._yolo_labels import read_yolo_polygons
from mtp_hf.dataset_scripts.features import oriented_detection_features
from mtp_hf.dataset_scripts.yolo_folder import YoloConfig, YoloFolder


class YoloObbFolder(YoloFolder):
    """Pictures with rotated boxes, one text file a picture."""

    BUILDER_CONFIGS: ClassVar = [YoloConfig(name="all", description="text files as of YOLO-OBB")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=oriented_detection_features(self.class_names))

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        row = self.picture_columns(record.image_id, record.image)
        size = row["height"], row["width"]
        names, label = self.class_names, record.annotation
        polygons = read_yolo_polygons(label, size, names) if label else []
        row["objects"] = polygon_columns(polygons, self.classes)
        yield record.image_id, row | {"image_source": None, "gsd": None}
