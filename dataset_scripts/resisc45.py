"""Builder of NWPU-RESISC45: aerial scenes of 256 x 256 pixels in 45 classes.

    rows = load_dataset("resisc45", "split_20_80", data_dir="NWPU-RESISC45", split="train")

Config `split_20_80` trains on a fifth, as MTP does: 140 images of every class, 560 for the test.
MTP's lists (`train_labels_28_mtp.txt`, `valid_labels_28_mtp.txt`) are used where they lie beside
the images; they were never published, so else a split of these sizes is drawn. Config `in_domain`
uses the lists of "In-domain representation learning for remote sensing" (Neumann et al. 2019),
`resisc45-{train,val,test}.txt`, or draws 60 / 20 / 20.

Source: RESISC45 (Cheng et al. 2017); layout in `_scene_folders.py`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._readers import read_image_size
from mtp_hf.dataset_scripts._scene_folders import Scene, find_scenes, read_scene, split_scenes
from mtp_hf.dataset_scripts.class_names import RESISC45_CLASSES
from mtp_hf.dataset_scripts.features import classification_features

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif")
LISTS = {
    "split_20_80": {
        "train": ("train_labels_28_mtp.txt",),
        "test": ("valid_labels_28_mtp.txt",),
    },
    "in_domain": {
        "train": ("resisc45-train.txt",),
        "validation": ("resisc45-val.txt",),
        "test": ("resisc45-test.txt",),
    },
}
SHARES = {
    "split_20_80": {"train": 0.2, "test": 0.8},
    "in_domain": {"train": 0.6, "validation": 0.2, "test": 0.2},
}


class Resisc45(FilesBuilder):
    """Read NWPU-RESISC45; splits `train` and `test`, and `validation` of `in_domain`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[FilesConfig]] = [
        FilesConfig(name="split_20_80", version=VERSION, description="20 % train, 80 % test"),
        FilesConfig(name="in_domain", version=VERSION, description="60 / 20 / 20 %"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=classification_features(RESISC45_CLASSES))

    def find_records(self, root: Path) -> dict[str, Sequence[Scene]]:
        """Images of each split."""
        config = self.config
        scenes = find_scenes(root, RESISC45_CLASSES, SUFFIXES)
        return split_scenes(
            root,
            scenes,
            LISTS[config.name],
            SHARES[config.name],
            config.split_seed,
        )

    def read_record(self, record: Scene) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image."""
        row = read_scene(record, RESISC45_CLASSES)
        read_image_size(record.path, self.config.max_pixels)  # or it is damaged
        yield row["image_id"], row
