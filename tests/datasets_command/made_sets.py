"""A data set of every family in one plain layout, so that commands are tried without a real set.

`rows.json` holds {split: [row, ...]}; pictures and maps are files beside it. A row with the key
`broken` cannot be read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts import BUILDERS, features
from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import CHANGE_CLASSES

NAMES = ["plane", "ship", "harbor"]
FEATURES = {
    "classification": features.classification_features(NAMES),
    "detection": features.detection_features(NAMES),
    "oriented": features.oriented_detection_features(NAMES),
    "segmentation": features.segmentation_features(),
    "change": features.change_features(),
}
WIDTH, HEIGHT = 48, 32


class Made(FilesBuilder):
    """Rows as they are written in `rows.json`."""

    BUILDER_CONFIGS: ClassVar[list[FilesConfig]] = [FilesConfig(name=name) for name in FEATURES]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES[self.config.name])

    @property
    def class_names(self) -> list[str]:
        return CHANGE_CLASSES if self.config.name == "change" else NAMES

    def find_records(self, root: Path) -> dict:
        splits = json.loads((root / "rows.json").read_text())
        return {
            split: [{**row, "root": str(root)} for row in rows] for split, rows in splits.items()
        }

    def read_record(self, record: dict) -> Iterator[tuple[str, dict]]:
        row = dict(record)
        root = Path(row.pop("root"))
        if "broken" in row:
            raise AnnotationError(f"{root / 'rows.json'}: {row['broken']}")
        for column in ("image", "image_post", "mask"):
            if row.get(column):
                row[column] = str(root / row[column])
        yield row["image_id"], row


@pytest.fixture
def made_builder(monkeypatch):
    """The set `made` among the builders."""
    monkeypatch.setitem(BUILDERS, "made", (__name__, "Made"))


def write_rows(root: Path, splits: dict[str, list[dict]]) -> Path:
    """Write the rows, and a picture of noise for each name that has none yet."""
    root.mkdir(parents=True, exist_ok=True)
    for rows in splits.values():
        for row in rows:
            for column in ("image", "image_post"):
                if row.get(column) and not (root / row[column]).exists():
                    write_noise(root / row[column])
    (root / "rows.json").write_text(json.dumps(splits))
    return root


def write_noise(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """A picture that no other name has."""
    seed = sum(ord(letter) << (index % 8) for index, letter in enumerate(path.name))
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_map(path: Path, values: np.ndarray) -> None:
    """An 8-bit map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def picture_row(name: str, **columns: object) -> dict:
    """Columns that all families but classification have."""
    return {"image_id": name, "image": f"{name}.png", "width": WIDTH, "height": HEIGHT, **columns}


def objects_of(boxes: list, labels: list[int], *, oriented: bool = False) -> dict:
    """Objects from boxes x, y, width, height; turned ones get these as polygons."""
    objects = {
        "id": list(range(len(boxes))),
        "bbox": boxes,
        "category": labels,
        "area": [width * height for _, _, width, height in boxes],
        "iscrowd": [False] * len(boxes),
    }
    if oriented:
        objects["polygon"] = [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in boxes]
        objects["difficult"] = [0] * len(boxes)
    return objects


def clean_rows(family: str, root: Path) -> dict[str, list[dict]]:
    """Two rows to train and one to validate, without anything wrong; maps are written to `root`."""
    values = np.zeros((HEIGHT, WIDTH))
    values[:10], values[10:20], values[20:] = 0, 1, 1 if family == "change" else 2
    splits: dict[str, list[dict]] = {}
    for split, names in {"train": ("a", "b"), "validation": ("c",)}.items():
        splits[split] = []
        for name in names:
            if family == "classification":
                row = {"image_id": name, "image": f"{name}.png", "label": "abc".index(name)}
            elif family in ("detection", "oriented"):
                boxes, labels = [[2, 3, 10, 8], [20, 5, 6, 12], [30, 15, 8, 8]], [0, 1, 2]
                row = picture_row(name)
                row["objects"] = objects_of(boxes, labels, oriented=family == "oriented")
                if family == "oriented":
                    row |= {"image_source": None, "gsd": 0.5}
            else:
                write_map(root / f"{name}_map.png", values)
                row = picture_row(name, mask=f"{name}_map.png")
                row |= (
                    {"scene": None}
                    if family == "segmentation"
                    else {"image_post": f"{name}_later.png"}
                )
            splits[split].append(row)
    return splits
