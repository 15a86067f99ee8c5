"""Builder of DIOR: 20 classes in 800-pixel images, horizontal boxes or (DIOR-R) rotated ones.

    rows = load_dataset("dior", "obb", data_dir="DIOR", split="train+validation")

Reads `JPEGImages-{trainval,test}/00001.jpg`, `Annotations/{Horizontal,Oriented} Bounding Boxes/
00001.xml` and the published lists `ImageSets/Main/{train,val,test}.txt`; folder names may differ in
case, hyphens, underscores and blanks. Lists elsewhere are those of another set, such as SIOR, which
may share the folder; they are read only where `ImageSets` has none. `trainval.txt` stands in for
one list that is missing beside `train.txt` or `val.txt`; without both of them, `train` and
`validation` are drawn from it with `split_seed`, as they are from the images of
`JPEGImages-trainval` in copies without lists. That changes nothing for who trains on both, as MTP
does. A split of whose list no image is there is left out; a test split without annotation files has
images only.

A horizontal file may call its box `robndbox`, an oriented one may hold a plain box. Corners keep
the order of the file, whatever their names say; polygons may leave the image.

Source: Li et al. 2020 (DIOR), Cheng et al. 2022 (DIOR-R).
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._annotations_xml import read_oriented_xml, read_voc_xml
from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import (
    ClassNumbers,
    DetectionRecord,
    box_columns,
    describe_folder,
    polygon_columns,
    report_missing,
)
from mtp_hf.dataset_scripts._files import IMAGE_SUFFIXES, index_files, walk_folders
from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import read_image_list
from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw
from mtp_hf.dataset_scripts.class_names import SIOR_CLASSES, normalize_class_name
from mtp_hf.dataset_scripts.features import detection_features, oriented_detection_features

logger = datasets.utils.logging.get_logger(__name__)

LISTS = {
    "train": ("train.txt",),
    "validation": ("val.txt", "valid.txt"),
    "test": ("test.txt",),
    "both": ("trainval.txt",),  # train and validation
}
SPLITS = ("train", "validation", "test")
NUM_IMAGES = {"train": 5862, "validation": 5863}
# Names of folders without case, hyphens, underscores and blanks.
IMAGE_FOLDER = r"(jpeg)?images(trainval|test)?"
LIST_FOLDER = r"imagesets|main"
ANNOTATION_FOLDER = r"annotations?(trainval|test)?"
KIND_NAMES = {"hbb": "Horizontal Bounding Boxes", "obb": "Oriented Bounding Boxes"}
KIND_FOLDERS = {"hbb": r"hbb|horizontal.*", "obb": r"obb|oriented.*"}


class Dior(FilesBuilder):
    """Read DIOR or DIOR-R from the files as unpacked."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = PicturesConfig
    BUILDER_CONFIGS: ClassVar[list[PicturesConfig]] = [
        PicturesConfig(name="hbb", version=VERSION, description="DIOR, horizontal boxes"),
        PicturesConfig(name="obb", version=VERSION, description="DIOR-R, rotated boxes"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        columns = {"hbb": detection_features, "obb": oriented_detection_features}
        return datasets.DatasetInfo(
            description="DIOR: objects of 20 classes in optical images of 800 pixels.",
            features=columns[self.config.name](SIOR_CLASSES),
        )

    def find_records(self, root: Path) -> dict[str, Sequence[DetectionRecord]]:
        """Listed images of each split with their annotation files."""
        folders = [Path(folder) for folder in walk_folders(root)]
        images = index_files(_named(folders, IMAGE_FOLDER), IMAGE_SUFFIXES)
        annotations = index_files(_annotation_folders(folders, self.config.name), (".xml",))
        lists = find_lists(folders)
        ids = self._read_lists(root, lists) if lists else self._draw(root, folders)
        for found, expected in (
            (images, "images in 'JPEGImages-trainval' and 'JPEGImages-test'"),
            (annotations, f"xml files in 'Annotations/{KIND_NAMES[self.config.name]}'"),
            (ids, "lists 'ImageSets/Main/{train,val,test}.txt'"),
        ):
            if not found:
                raise FileNotFoundError(
                    f"{root}: {describe_folder(root)}; config {self.config.name!r} expected "
                    f"{expected}"
                )
        splits = {
            split: self._records(f"{lists.get(split, root)}, {split}", listed, images, annotations)
            for split, listed in ids.items()
        }
        return {split: records for split, records in splits.items() if records}

    def read_annotations(self, record: DetectionRecord) -> dict[str, Any]:
        """Objects of one image, without opening the image.

        Raises:
            AnnotationError: something in the annotation file cannot be right.
        """
        path = record.annotation
        if self.config.name == "hbb":
            return {"objects": box_columns(read_voc_xml(path) if path else [], self._classes)}
        polygons = read_oriented_xml(path) if path else []
        objects = polygon_columns(polygons, self._classes)
        return {"objects": objects, "image_source": None, "gsd": None}

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image."""
        config = self.config
        picture = picture_columns(
            record.image_id, record.image, bands=config.bands, max_pixels=config.max_pixels
        )
        yield record.image_id, picture | self.read_annotations(record)

    @functools.cached_property
    def _classes(self) -> ClassNumbers:
        return ClassNumbers(SIOR_CLASSES)

    def _read_lists(self, root: Path, lists: dict[str, Path]) -> dict[str, list[str]]:
        """Image ids of each split that a list tells, by itself or with that of both."""
        ids = {split: sorted(read_image_list(path)) for split, path in lists.items()}
        both = ids.pop("both", [])
        missing = [split for split in NUM_IMAGES if split not in ids]
        if both and len(missing) == 1:
            (split,) = missing
            (other,) = NUM_IMAGES.keys() - missing
            ids[split] = sorted(set(both) - set(ids[other]))
        elif len(both) > 1 and missing:
            drawn = draw_split(both, NUM_IMAGES, seed=self.config.split_seed)
            warn_of_draw(root, drawn, self.config.split_seed, "'trainval.txt' alone")
            ids |= drawn
        if absent := [split for split in SPLITS if not ids.get(split)]:
            found = ", ".join(str(path.relative_to(root)) for path in lists.values())
            expected = ", ".join(LISTS[split][0] for split in absent)
            logger.warning(f"{root}: lists {found}; no split {', '.join(absent)}: no {expected}")
        _warn_of_overlap(root, ids)
        return {split: ids[split] for split in SPLITS if ids.get(split)}

    def _draw(self, root: Path, folders: list[Path]) -> dict[str, list[str]]:
        """Image ids of a copy without lists, as far as the names of its folders tell."""
        test = index_files(_named(folders, IMAGE_FOLDER, "test"), IMAGE_SUFFIXES)
        both = index_files(_named(folders, IMAGE_FOLDER, "trainval"), IMAGE_SUFFIXES)
        splits = {}
        if len(both) > 1:
            splits = draw_split(list(both), NUM_IMAGES, seed=self.config.split_seed)
            warn_of_draw(root, splits, self.config.split_seed, "no lists in 'ImageSets/Main'")
        return splits | ({"test": list(test)} if test else {})

    def _records(
        self, where: str, listed: list[str], images: dict[str, str], annotations: dict[str, str]
    ) -> list[DetectionRecord]:
        """Records of the listed images of one split."""
        there = [stem for stem in listed if stem in images]
        if not there:
            logger.warning(f"{where}: none of its {len(listed)} images is here; left out")
            return []
        if missing := [stem for stem in listed if stem not in images]:
            what = f"{where}: {len(missing)} of {len(listed)} images are not here"
            report_missing(what, missing, self.config.on_error)
        without = [stem for stem in there if stem not in annotations]
        if where.endswith("test") and len(without) == len(there):
            logger.warning(f"{where}: no image has an annotation file; read without objects")
        elif without:
            kind = f"{self.config.name!r} annotation file"
            what = f"{where}: {len(without)} of {len(there)} images have no {kind}"
            report_missing(what, without, self.config.on_error)
            there = [stem for stem in there if stem in annotations]
        return [DetectionRecord(stem, images[stem], annotations.get(stem)) for stem in there]


def find_lists(folders: list[Path]) -> dict[str, Path]:
    """List of each split, and of `both`; those of `ImageSets` are the published ones."""
    for places in (list(map(Path, _named(folders, LIST_FOLDER))), folders):
        lists = {
            split: paths[0]
            for split, names in LISTS.items()
            if (paths := [p for name in names for place in places if (p := place / name).is_file()])
        }
        if lists:
            return lists
    return {}


def _warn_of_overlap(root: Path, ids: dict[str, list[str]]) -> None:
    for first, second in itertools.combinations(ids, 2):
        if shared := sorted(set(ids[first]) & set(ids[second])):
            logger.warning(
                f"{root}: {len(shared)} images are in the lists of both {first} and {second}, "
                f"first {shared[0]!r}; expected every image in one"
            )


def _annotation_folders(folders: list[Path], kind: str) -> tuple[str, ...]:
    """Folders of a kind; of horizontal boxes also one that names no kind."""
    own = _named(folders, KIND_FOLDERS[kind])
    return own if own or kind != "hbb" else _named(folders, ANNOTATION_FOLDER)


def _named(folders: list[Path], pattern: str, end: str = "") -> tuple[str, ...]:
    names = [normalize_class_name(folder.name) for folder in folders]
    return tuple(
        str(folder)
        for folder, name in zip(folders, names, strict=True)
        if re.fullmatch(pattern, name) and name.endswith(end)
    )
