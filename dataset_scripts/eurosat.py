"""Builder of EuroSAT: Sentinel-2 patches of 64 x 64 pixels in ten classes.

    rows = load_dataset("eurosat", "rgb", data_dir="EuroSAT", split="train")

Config `rgb` reads the JPEGs; `all_bands` the TIFFs of 13 bands, as `(13, 64, 64)` of uint16 in the
order of the files, which is B01, B02 ... B12 with B8A at the end. No split is official: MTP's runs
have the sizes of the lists of "In-domain representation learning for remote sensing" (Neumann et
al. 2019), `eurosat-{train,val,test}.txt`, which are used where they lie beside the images; else
60 / 20 / 20 of every class are drawn.

Source: EuroSAT (Helber et al. 2019); layout in `_scene_folders.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import AnnotationError, read_image_size
from mtp_hf.dataset_scripts._scene_folders import Scene, find_scenes, read_scene, split_scenes
from mtp_hf.dataset_scripts.class_names import EUROSAT_CLASSES
from mtp_hf.dataset_scripts.features import classification_features

SUFFIXES = {"rgb": (".jpg", ".jpeg", ".png"), "all_bands": (".tif", ".tiff")}
# Names of archives, in lower case, that hold the other of the two.
ALL_BANDS_ARCHIVES = ("allbands", "_ms.")
RGB_ARCHIVES = ("eurosat.zip", "eurosat_rgb.zip", "2750.zip")
LISTS = {
    "train": ("eurosat-train.txt",),
    "validation": ("eurosat-val.txt",),
    "test": ("eurosat-test.txt",),
}
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
SHAPE = (13, 64, 64)


@dataclass
class EurosatConfig(FilesConfig):
    """Options of EuroSAT."""

    def wants_archive(self, archive: Path) -> bool:
        """Leave the archive of the other config alone."""
        name = archive.name.lower()
        if self.name == "all_bands":
            return name not in RGB_ARCHIVES
        return not any(part in name for part in ALL_BANDS_ARCHIVES)


class Eurosat(FilesBuilder):
    """Read EuroSAT; splits `train`, `validation` and `test`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = EurosatConfig
    BUILDER_CONFIGS: ClassVar[list[EurosatConfig]] = [
        EurosatConfig(name="rgb", version=VERSION, description="8-bit pictures"),
        EurosatConfig(name="all_bands", version=VERSION, description="13 bands of 16 bits"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        features = classification_features(EUROSAT_CLASSES)
        if self.config.name == "all_bands":
            features["image"] = datasets.Array3D(SHAPE, "uint16")
        return datasets.DatasetInfo(features=features)

    def find_records(self, root: Path) -> dict[str, Sequence[Scene]]:
        """Images of each split."""
        scenes = find_scenes(root, EUROSAT_CLASSES, SUFFIXES[self.config.name])
        return split_scenes(root, scenes, LISTS, SHARES, self.config.split_seed)

    def read_record(self, record: Scene) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image."""
        row = read_scene(record, EUROSAT_CLASSES)
        if self.config.name == "all_bands":
            row["image"] = _read_bands(record.path, self.config.max_pixels)
        else:
            read_image_size(record.path, self.config.max_pixels)  # or it is damaged
        yield row["image_id"], row


def _read_bands(path: str, max_pixels: int) -> np.ndarray:
    with Raster(path, max_pixels=max_pixels) as raster:
        pixels = raster.read().transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
    if pixels.shape != SHAPE or pixels.dtype != np.uint16:
        raise AnnotationError(
            f"{path}: bands, height and width {pixels.shape} of {pixels.dtype}; expected {SHAPE} "
            "of uint16"
        )
    return pixels
