"""Builder of DOTA: rotated objects of 15, 16 or 18 classes in large aerial images.

    rows = load_dataset("dota", "v1.0", data_dir="DOTA", split="train+validation")
    tiles = load_dataset("dota", "v1.0_tiles", data_dir="DOTA", split="train+validation")

Reads `{train,val}/images/**/P0000.png` with `{train,val}/labelTxt*/**/P0000.txt` (also `annfiles`
and `annotations/version1.0`), and `test/images` without labels. Where a folder holds the labels of
several releases, those of the config are read, and images that only another release labels are
left out and counted. The files of horizontal boxes are not read.

Objects of zero size, objects that leave the image and objects marked difficult are kept. Images may
be gray or have an alpha channel; the column gives RGB (`_pictures`). The largest images exceed the
limit that Pillow has against decompression bombs: who decodes them whole raises
`PIL.Image.MAX_IMAGE_PIXELS` first, who reads tiles need not.

The tiles of a release are by default those that its finetuning uses: of three scales for 1.0, of
one for 2.0, where tiles without objects are left out (`_tiled`, `_tiling`).

Source: Xia et al. 2018, Ding et al. 2021; file formats of the DOTA development kit.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import (
    ClassNumbers,
    DetectionRecord,
    describe_folder,
    pair_files,
    polygon_columns,
)
from mtp_hf.dataset_scripts._files import (
    IMAGE_SUFFIXES,
    find_folder,
    find_root,
    index_files,
    walk_folders,
)
from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import OrientedFile, read_dota_text
from mtp_hf.dataset_scripts._tiled import SlidingTilesConfig, read_sliding_tiles
from mtp_hf.dataset_scripts.class_names import DOTA_V2_CLASSES
from mtp_hf.dataset_scripts.features import oriented_detection_features

logger = datasets.utils.logging.get_logger(__name__)

DOTA_CLASSES = {
    "v1.0": DOTA_V2_CLASSES[:15],
    "v1.5": DOTA_V2_CLASSES[:16],  # with container-crane
    "v2.0": DOTA_V2_CLASSES,
}
SPLIT_FOLDERS = {
    "train": ("train", "trainval"),
    "validation": ("val", "validation", "valid"),
    "test": ("test",),
}
# Release 2.0 has two test sets of its own.
SECOND_TEST_FOLDERS = {
    "test": ("test-dev", "test_dev", "test"),
    "test_challenge": ("test-challenge", "test_challenge"),
}
LABELLED = ("train", "validation")
LABEL_FOLDER = re.compile(r"labeltxt|annfiles", re.IGNORECASE)
HORIZONTAL = r"hbb|task2|reclabel"  # folders of labels with horizontal boxes only
RELEASE = re.compile(r"v(?:ersion)?\.?(\d\.\d)", re.IGNORECASE)


@dataclass
class DotaConfig(PicturesConfig):
    """Options of one release; its name is that of the config."""

    @property
    def release(self) -> str:
        """`v1.0`, `v1.5` or `v2.0`."""
        return self.name.removesuffix("_tiles")

    def wants_archive(self, archive: Path) -> bool:
        """Labels of horizontal boxes and of other releases stay packed."""
        labels = LABEL_FOLDER.search(str(archive.parent.name))
        releases = RELEASE.findall(f"{archive.parent.name} {archive.name}") if labels else []
        other = releases and self.release not in {f"v{found}" for found in releases}
        return not other and not re.search(HORIZONTAL, archive.name, re.IGNORECASE)


@dataclass
class DotaTilesConfig(DotaConfig, SlidingTilesConfig):
    """Options of the tiles of one release."""


class Dota(FilesBuilder):
    """Read one release of DOTA as unpacked; splits are those whose folders are there."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = DotaConfig
    BUILDER_CONFIGS: ClassVar[list[DotaConfig]] = [
        DotaConfig(name="v1.0", version=VERSION, description="15 classes, whole images"),
        DotaConfig(name="v1.5", version=VERSION, description="16 classes, whole images"),
        DotaConfig(name="v2.0", version=VERSION, description="18 classes, whole images"),
        DotaTilesConfig(
            name="v1.0_tiles",
            version=VERSION,
            description="15 classes, tiles of three scales",
            overlap=500,
            scales=(0.5, 1.0, 1.5),
        ),
        DotaTilesConfig(name="v1.5_tiles", version=VERSION, description="16 classes, tiles"),
        DotaTilesConfig(name="v2.0_tiles", version=VERSION, description="18 classes, tiles"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="DOTA: rotated objects in large aerial images.",
            features=oriented_detection_features(
                DOTA_CLASSES[self.config.release],
                tiled=isinstance(self.config, SlidingTilesConfig),
            ),
        )

    def find_records(self, root: Path) -> dict[str, Sequence[DetectionRecord]]:
        """Images of each split whose folder is there, with their label files."""
        split_folders = SPLIT_FOLDERS | (
            SECOND_TEST_FOLDERS if self.config.release == "v2.0" else {}
        )
        names = tuple(name for folders in split_folders.values() for name in folders)
        top = find_root(root, names)
        if top is None:
            raise FileNotFoundError(
                f"{root}: {describe_folder(root)}; expected a folder 'train', 'val' or 'test' with "
                "a folder 'images' of DOTA"
            )
        splits: dict[str, Sequence[DetectionRecord]] = {}
        for split, folders in split_folders.items():
            found = [folder for name in folders if (folder := find_folder(top, name))]
            if found:
                splits[split] = self._records(found[0], split in LABELLED)
        return splits

    def read_annotations(self, record: DetectionRecord) -> dict[str, Any]:
        """Objects, satellite and resolution of one image, without opening the image.

        Raises:
            AnnotationError: a line of the label file cannot be right.
        """
        labels = (
            OrientedFile([]) if record.annotation is None else read_dota_text(record.annotation)
        )
        return {
            "objects": polygon_columns(labels.records, self._classes),
            "image_source": labels.image_source,
            "gsd": labels.gsd,
        }

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image, or the rows of its tiles."""
        if isinstance(self.config, SlidingTilesConfig):
            yield from read_sliding_tiles(record, self.read_annotations(record), self.config)
            return
        config = self.config
        picture = picture_columns(
            record.image_id, record.image, bands=config.bands, max_pixels=config.max_pixels
        )
        yield record.image_id, picture | self.read_annotations(record)

    @functools.cached_property
    def _classes(self) -> ClassNumbers:
        return ClassNumbers(DOTA_CLASSES[self.config.release])

    def _records(self, folder: Path, is_labelled: bool) -> list[DetectionRecord]:
        image_folder = find_folder(folder, "images")
        if image_folder is None:
            raise FileNotFoundError(f"{folder}: {describe_folder(folder)}; expected 'images'")
        images = index_files(walk_folders(image_folder), IMAGE_SUFFIXES)
        candidates = _label_folders(folder)
        if not candidates and not is_labelled:
            return [DetectionRecord(stem, path, None) for stem, path in images.items()]
        chosen = _choose_labels(folder, candidates, self.config.release)
        labels = {name: _index_labels(path) for name, path in candidates.items()}
        others = {stem for name in candidates if name != chosen for stem in labels[name]}
        foreign = (images.keys() & others) - labels[chosen].keys()
        if foreign:
            logger.warning(
                f"{folder}: {len(foreign)} images have labels of other releases only and are no "
                f"part of {self.config.release}, first {min(foreign)!r}; left out"
            )
        own = {stem: path for stem, path in images.items() if stem not in foreign}
        records = pair_files(own, labels[chosen], f"{folder} ({chosen})", self.config.on_error)
        return [record._replace(is_test=not is_labelled) for record in records]


def _label_folders(folder: Path) -> dict[str, Path]:
    """Folders of rotated labels by name; `annotations` holds one folder for each release."""
    found = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    by_release = find_folder(folder, "annotations")
    if by_release is not None:
        found += [path for path in sorted(by_release.iterdir()) if path.is_dir()]
    return {
        path.name: path
        for path in found
        if (LABEL_FOLDER.match(path.name) or path.parent == by_release)
        and not re.search(HORIZONTAL, path.name, re.IGNORECASE)
    }


def _choose_labels(folder: Path, candidates: dict[str, Path], release: str) -> str:
    """The folder named after the release, or the only one that names none."""
    named = {name: RELEASE.search(name) for name in candidates}
    fitting = [name for name, found in named.items() if found and f"v{found[1]}" == release]
    fitting = fitting or [name for name, found in named.items() if not found]
    if len(fitting) != 1:
        raise FileNotFoundError(
            f"{folder}: label folders {sorted(candidates)}; expected one 'labelTxt', 'annfiles', "
            f"'labelTxt-{release}' or 'annotations/version{release[1:]}' with the labels of "
            f"release {release}"
        )
    return fitting[0]


def _index_labels(folder: Path) -> dict[str, str]:
    return index_files(walk_folders(folder, HORIZONTAL), (".txt",))
