"""Builder of one's own pictures with annotations in the json format of COCO.

    rows = load_dataset("coco_folder", data_dir="mine", split="train")

Where the files may lie is in `_coco_files.py`. Ids of classes are any numbers; ours are their
ranks, and ids of one name are one class (Roboflow adds a category that no object has). A picture's
id is its file name without suffix. Segmentations and keypoints are not read. A size of null or 0
and an area of null, which programs for labelling write, count as not told.

Source: COCO's data format (boxes x, y, width, height in pixels).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._coco_files import (
    CocoFile,
    CocoPicture,
    find_coco_files,
    find_picture,
    image_id_of,
    read_coco_file,
)
from mtp_hf.dataset_scripts._own_builder import OwnBuilder, OwnConfig
from mtp_hf.dataset_scripts._readers import AnnotationError, check_coordinates
from mtp_hf.dataset_scripts.features import detection_features


class CocoFolder(OwnBuilder):
    """Pictures with horizontal boxes, one json file a split."""

    BUILDER_CONFIGS: ClassVar = [OwnConfig(name="all", description="json files as of COCO")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=detection_features(self.class_names))

    def find_class_names(self, root: Path) -> list[str]:
        """Names of the categories in the order of their ids."""
        return list(dict.fromkeys(name for _, name in sorted(self._categories.items())))

    def find_records(self, root: Path) -> dict[str, Sequence[CocoPicture]]:
        """Pictures of each split with their annotations."""
        return {split: file.pictures for split, file in self._files.items()}

    def read_record(self, record: CocoPicture) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        path, entry = find_picture(record, self._root), record.entry
        image_id = image_id_of(record)
        row = self.picture_columns(image_id, path)
        size = row["height"], row["width"]
        told = entry.get("height") or size[0], entry.get("width") or size[1]
        if told != size:
            hint = ", as it is shown (turned by its EXIF orientation)" if told == size[::-1] else ""
            raise AnnotationError(
                f"{record.file}: {told[0]} x {told[1]} pixels (height x width), but {path} has "
                f"{size[0]} x {size[1]}; expected the same{hint}"
            )
        objects = [self._object(annotation, record.file) for annotation in record.annotations]
        names = ("id", "bbox", "category", "area", "iscrowd")
        yield image_id, row | {"objects": {name: [o[name] for o in objects] for name in names}}

    def _object(self, annotation: dict[str, Any], picture: str) -> dict[str, Any]:
        where = f"{picture}, annotation {annotation.get('id')}"
        if not isinstance(annotation.get("id"), int):
            raise AnnotationError(f"{where}: id {annotation.get('id')!r}; expected an integer")
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
            raise AnnotationError(f"{where}: bbox {bbox!r}; expected x, y, width, height")
        check_coordinates(bbox, where)
        if bbox[2] < 0 or bbox[3] < 0:
            raise AnnotationError(f"{where}: bbox {bbox} of negative size")
        class_id = annotation.get("category_id")
        if not isinstance(class_id, int | float) or class_id not in self._categories:
            known = ", ".join(map(str, sorted(self._categories)))
            raise AnnotationError(f"{where}: category_id {class_id!r}; expected one of {known}")
        area, crowd = annotation.get("area"), annotation.get("iscrowd", 0)
        area = bbox[2] * bbox[3] if area is None else area
        if not _is_number(area) or crowd not in (0, 1):
            raise AnnotationError(
                f"{where}: area {area!r}, iscrowd {crowd!r}; expected a number, and 0 or 1"
            )
        return {
            "id": annotation["id"],
            "bbox": bbox,
            "category": self.classes.of(self._categories[int(class_id)], where),
            "area": area,
            "iscrowd": bool(crowd),
        }

    @functools.cached_property
    def _root(self) -> Path:
        return self.config.root()

    @functools.cached_property
    def _files(self) -> dict[str, CocoFile]:
        found = find_coco_files(self._root)
        return {
            split: read_coco_file(path, self._root, split, self.config.on_error)
            for split, path in found.items()
        }

    @functools.cached_property
    def _categories(self) -> dict[int, str]:
        """Names by id over all files, which have to agree."""
        names: dict[int, str] = {}
        for split, file in self._files.items():
            for class_id, name in file.categories.items():
                if names.setdefault(class_id, name) != name:
                    raise AnnotationError(
                        f"{self._root}, split {split!r}: category {class_id} is {name!r}, but "
                        f"{names[class_id]!r} in another split; expected the same classes"
                    )
        return names


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
