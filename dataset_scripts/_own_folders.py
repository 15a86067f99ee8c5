"""Find pictures and labels in the folders that people keep their own data sets in.

Accepted are, in the folder that is named or up to two below it, with common names of the folders
and of the splits in any case (`train2017` is `train`, `valid` is `validation`),

    {train,val,test}/{images,labels}/x.png
    {images,labels}/{train,val,test}/x.png
    {images,labels}/x.png                     lists train.txt, val.txt, or all of it train
    {train,val,test}/x.png                    labels beside the pictures
    x.png                                     the same without splits

A label has the stem of its picture.
"""

import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import datasets

from mtp_hf.dataset_scripts._detection_rows import (
    DetectionRecord,
    describe_folder,
    report_missing,
)
from mtp_hf.dataset_scripts._files import PICTURE_SUFFIXES, find_folder, index_files
from mtp_hf.dataset_scripts._readers import AnnotationError, read_image_list

logger = datasets.utils.logging.get_logger(__name__)

PICTURE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "img_dir", "pictures")
SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainval"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LIST_FOLDERS = (".", "ImageSets/Main", "ImageSets/Segmentation", "ImageSets", "list", "splits")
# Text files that may lie among label files, unless a picture is called so.
NO_LABELS = {"classes", *(alias for aliases in SPLITS.values() for alias in aliases)}
FLAG = re.compile(r"\s+(-1|0|1)$")  # after a picture in lists of Pascal VOC
SEARCH_DEPTH = 2  # folders between the one that was named and the set
NUM_NAMED = 3  # files named in a message


@dataclass(frozen=True)
class LabelKind:
    """How a format keeps its labels.

    Attributes:
        folders: names of the folder of labels.
        suffixes: of the label files.
        endings: ends of the stem of a label that its picture does not have, such as `_mask`.
    """

    folders: tuple[str, ...]
    suffixes: tuple[str, ...]
    endings: tuple[str, ...] = ()

    @property
    def fits_beside_pictures(self) -> bool:
        """Whether labels can lie in the folder of the pictures: suffixes tell them apart."""
        return not set(self.suffixes) & set(PICTURE_SUFFIXES)

    def index(self, folder: Path, pictures: Container[str] = ()) -> dict[str, str]:
        """Label files by the stem of their picture.

        Raises:
            AnnotationError: a picture has two.
        """
        found = index_files((str(folder),), self.suffixes)
        if self.fits_beside_pictures:
            return {
                stem: path
                for stem, path in found.items()
                if stem in pictures or stem.lower() not in NO_LABELS or not path.endswith(".txt")
            }
        labels: dict[str, str] = {}
        for stem, path in found.items():
            ending = next((ending for ending in self.endings if stem.endswith(ending)), "")
            of = stem if stem in pictures else stem.removesuffix(ending)
            if of in labels:
                raise AnnotationError(
                    f"{path}: a label of {of!r} as {labels[of]} is; expected one a picture"
                )
            labels[of] = path
        return labels


@dataclass(frozen=True)
class PairingRule:
    """What to do with a picture without label file.

    Attributes:
        allow_missing: such a picture is a record without labels.
        on_error: as in `FilesConfig`; `skip` leaves such pictures out.
    """

    allow_missing: bool
    on_error: str

    def report(self, what: str, missing: list[str], num_pictures: int) -> None:
        """Say which pictures of a split have no label file, by the rule.

        Raises:
            FileNotFoundError: the rule admits none, or none of the pictures has one.
        """
        if not self.allow_missing:
            report_missing(what, missing, self.on_error)
            return
        names = ", ".join(map(repr, missing[:NUM_NAMED]))
        if len(missing) == num_pictures:
            raise FileNotFoundError(
                f"{what}, first {names}; expected some, and that of a picture without objects to "
                "be missing or empty"
            )
        logger.warning(f"{what}, first {names}; read without objects")


def split_of(name: str) -> str | None:
    """Split that a folder or a file is called after: `train2017` and `instances_val` tell it."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((split for split, aliases in SPLITS.items() if words & set(aliases)), None)


def find_pictures(
    root: Path, kind: LabelKind, rule: PairingRule
) -> dict[str, list[DetectionRecord]]:
    """Pictures of each split with their label files.

    A split `test` may have no labels at all.

    Raises:
        FileNotFoundError: there are no such folders, or labels are missing.
        AnnotationError: several sets lie below the root, or a list names a picture that does not.
    """
    folder = find_set(
        root,
        lambda path: bool(_find_parts(path, kind)),
        f"folders 'images' and {kind.folders[0]!r}",
    )
    parts = _find_parts(folder, kind)
    if None not in parts:
        return {
            str(split): _pair(str(split), images, labels, kind, rule)
            for split, (images, labels) in parts.items()
        }
    images, labels = parts[None]
    records = {record.image_id: record for record in _pair("train", images, labels, kind, rule)}
    return _split_by_lists(folder, records) or {"train": list(records.values())}


def find_set(root: Path, is_set: Callable[[Path], bool], expected: str) -> Path:
    """The one folder, at most `SEARCH_DEPTH` below the root, that holds a set.

    Raises:
        FileNotFoundError: there is none.
        AnnotationError: there are several.
    """
    level = [root]
    for _ in range(SEARCH_DEPTH + 1):
        found = [folder for folder in level if is_set(folder)]
        if len(found) > 1:
            raise AnnotationError(
                f"{root}: several sets, {', '.join(map(str, found[:NUM_NAMED]))}; expected one, "
                "name its folder"
            )
        if found:
            return found[0]
        level = [path for folder in level for path in subfolders(folder)]
    raise FileNotFoundError(
        f"{root}: {describe_folder(root)}; expected {expected}, with or without train, val and "
        "test above or below them"
    )


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; hidden ones do not count."""
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def split_folders(folder: Path) -> dict[str, Path]:
    """Subfolders that are called after a split, in the order of `SPLITS`.

    Raises:
        AnnotationError: two are called after the same one.
    """
    found: dict[str, Path] = {}
    for path in subfolders(folder):
        split = split_of(path.name)
        if split in found:
            raise AnnotationError(
                f"{folder}: folders {found[split].name!r} and {path.name!r} are both called after "
                f"split {split!r}; expected one a split"
            )
        if split:
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def find_any(folder: Path, names: tuple[str, ...]) -> Path | None:
    """First subfolder of these names, in any case."""
    return next((path for name in names if (path := find_folder(folder, name))), None)


def holds_pictures(folder: Path) -> bool:
    """Whether a picture lies directly in a folder."""
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(PICTURE_SUFFIXES) for entry in entries)


def _find_parts(folder: Path, kind: LabelKind) -> dict[str | None, tuple[Path, Path | None]]:
    """Folders of pictures and of labels by split; split None means that no folder tells it."""
    images, labels = find_any(folder, PICTURE_FOLDERS), find_any(folder, kind.folders)
    if images and (below := split_folders(images)):
        labels_below = split_folders(labels) if labels else {}
        return {split: (path, labels_below.get(split)) for split, path in below.items()}
    if images and labels and holds_pictures(images):
        return {None: (images, labels)}
    parts: dict[str | None, tuple[Path, Path | None]] = {}
    for split, path in split_folders(folder).items():
        if inside := find_any(path, PICTURE_FOLDERS):
            parts[split] = (inside, find_any(path, kind.folders))
        elif kind.fits_beside_pictures and holds_pictures(path):
            parts[split] = (path, path)
    if not parts and kind.fits_beside_pictures and holds_pictures(folder) and kind.index(folder):
        parts[None] = (folder, folder)
    return parts


def _pair(
    split: str, images: Path, labels: Path | None, kind: LabelKind, rule: PairingRule
) -> list[DetectionRecord]:
    pictures = index_files((str(images),), PICTURE_SUFFIXES)
    files = kind.index(labels, pictures) if labels else {}
    if split == "test" and not files:  # unlabelled
        return [DetectionRecord(stem, path, None) for stem, path in pictures.items()]
    if labels is None:
        raise FileNotFoundError(
            f"{images}: no labels of split {split!r}; expected them in a folder "
            f"{' or '.join(map(repr, kind.folders))}"
        )
    if left := sorted(files.keys() - pictures.keys()):
        logger.warning(
            f"{labels}: {len(left)} of {len(files)} label files have no picture in {images}, first "
            f"{', '.join(map(repr, left[:NUM_NAMED]))}"
        )
    missing = sorted(pictures.keys() - files.keys())
    if missing:
        what = f"{labels}: {len(missing)} of {len(pictures)} pictures have no label file"
        rule.report(what, missing, len(pictures))
    if not rule.allow_missing:
        pictures = {stem: path for stem, path in pictures.items() if stem in files}
    return [DetectionRecord(stem, path, files.get(stem)) for stem, path in pictures.items()]


def _listed_stem(name: str, records: Container[str]) -> str:
    """Stem that a line means: it may have a folder, and the flag of a list of Pascal VOC."""
    stem = Path(name).name
    return stem if stem in records else FLAG.sub("", stem)


def _split_by_lists(
    folder: Path, records: dict[str, DetectionRecord]
) -> dict[str, list[DetectionRecord]]:
    """Records of the splits that list files tell; nothing if there are no lists."""
    splits = {}
    for split, names in SPLITS.items():
        paths = [folder / place / f"{name}.txt" for place in LIST_FOLDERS for name in names]
        file = next(filter(Path.is_file, paths), None)
        if file is None:
            continue
        stems = [_listed_stem(name, records) for name in read_image_list(file)]
        if missing := [stem for stem in stems if stem not in records]:
            raise AnnotationError(
                f"{file}: {len(missing)} of {len(stems)} pictures are not there, first "
                f"{', '.join(map(repr, missing[:NUM_NAMED]))}"
            )
        splits[split] = [records[stem] for stem in sorted(stems)]
    listed = {record.image_id for found in splits.values() for record in found}
    if splits and (left := len(records.keys() - listed)):
        logger.warning(f"{folder}: {left} of {len(records)} pictures are in no list and left out")
    return splits
