"""Find the json files of a COCO folder, their classes, and the pictures that they list.

    annotations/instances_{train,val}2017.json  with {train,val}2017/x.jpg   as COCO publishes
    {train,valid,test}/_annotations.coco.json   beside the pictures          as Roboflow exports
    annotations.json                            with images/x.jpg            one file, all train
    annotations/instances_default.json          with images/default/x.jpg    as CVAT exports

The split is a word of the file's name or of its folder's. Where files called `instances_*` exist,
others (captions, keypoints) are not read; nor is json that is not COCO's.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from mtp_hf.dataset_scripts._own_folders import PICTURE_FOLDERS, split_of
from mtp_hf.dataset_scripts._readers import AnnotationError, read_json

logger = datasets.utils.logging.get_logger(__name__)

PREFERRED = "instances_"
ANNOTATION_KEYS = ("id", "bbox", "category_id", "area", "iscrowd")
COCO_WORDS = (b'"images"', b'"categories"')
SEARCH_DEPTH = 3


class CocoPicture(NamedTuple):
    """An entry of `images` with its annotations, as in the file; `places` are tried for it."""

    file: str
    entry: dict[str, Any]
    annotations: list[dict[str, Any]]
    places: tuple[str, ...]


class CocoFile(NamedTuple):
    """One annotation file: pictures in the order of their names, classes by id."""

    pictures: list[CocoPicture]
    categories: dict[int, str]


def find_coco_files(root: Path) -> dict[str, Path]:
    """The annotation file of each split.

    Raises:
        FileNotFoundError: there is none.
        AnnotationError: two are of the same split.
    """
    files = [path for path in _json_files(root, SEARCH_DEPTH) if _is_coco(path)]
    files = [path for path in files if path.name.startswith(PREFERRED)] or files
    if not files:
        raise FileNotFoundError(
            f"{root}: no annotations of COCO; expected annotations/instances_train.json, "
            "train/_annotations.coco.json or annotations.json"
        )
    splits: dict[str, Path] = {}
    for path in files:
        split = split_of(path.stem) or split_of(path.parent.name) or "train"
        if split in splits:
            raise AnnotationError(
                f"{path}: split {split!r} is also that of {splits[split]}; expected one file a "
                "split, with train, val or test in its name"
            )
        splits[split] = path
    return splits


def read_coco_file(path: Path, root: Path, split: str, on_error: str = "raise") -> CocoFile:
    """Read a file; what is wrong in one annotation is left for `coco_folder` to say.

    Args:
        path: json file.
        root: folder of the set.
        split: what its pictures are.
        on_error: `skip` leaves out annotations of unknown images and says so.

    Raises:
        AnnotationError: the file is no COCO json, or ids or names are there twice.
    """
    content = read_json(path)
    try:
        categories = _by_id(content["categories"], f"{path}, categories")
        images = _by_id(content["images"], f"{path}, images")
        groups: dict[Any, list[dict[str, Any]]] = {image_id: [] for image_id in images}
        orphans = []
        for index, annotation in enumerate(content.get("annotations", [])):
            if annotation["image_id"] not in groups:
                orphans.append(f"annotations[{index}]: image_id {annotation['image_id']!r}")
                continue
            kept = {key: annotation[key] for key in ANNOTATION_KEYS if key in annotation}
            groups[annotation["image_id"]].append(kept)
        names = {class_id: entry["name"] for class_id, entry in categories.items()}
        places = _places(path, root, split)
        pictures = [
            CocoPicture(f"{path}, image {image_id}", entry, groups[image_id], places)
            for image_id, entry in images.items()
        ]
        pictures.sort(key=lambda picture: picture.entry["file_name"])
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: not a COCO file ({type(error).__name__}: {error}); expected lists images, "
            "annotations and categories, with id, file_name, image_id and name"
        ) from None
    if orphans:
        _report_orphans(orphans, path, on_error)
    _check_file_names(pictures, path)
    return CocoFile(pictures, names)


def find_picture(picture: CocoPicture, root: Path) -> str:
    """Path of the picture's file.

    Raises:
        AnnotationError: there is none, or its name leads out of the root.
    """
    name = picture.entry["file_name"]
    for place in picture.places:
        path = os.path.normpath(os.path.join(place, name))
        if os.path.isfile(path):
            if not Path(path).resolve().is_relative_to(root):
                raise AnnotationError(
                    f"{picture.file}: file_name {name!r} leads out of {root}; expected a picture "
                    "inside it"
                )
            return path
    raise AnnotationError(
        f"{picture.file}: no file {name!r}; looked in {', '.join(picture.places)}"
    )


def _json_files(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and depth > 1:
            yield from _json_files(path, depth - 1)
        elif path.suffix.lower() == ".json":
            yield path


def _is_coco(path: Path) -> bool:
    """Whether a file has the words that all COCO files have; it is read as a whole later."""
    if not path.stat().st_size:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(word) >= 0 for word in COCO_WORDS)


def _by_id(entries: list[dict[str, Any]], where: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry["id"], int):
            raise AnnotationError(f"{where}: id {entry['id']!r}; expected an integer")
        if entry["id"] in found:
            raise AnnotationError(f"{where}: id {entry['id']} is there twice; expected it once")
        found[entry["id"]] = entry
    return found


def _report_orphans(orphans: list[str], path: Path, on_error: str) -> None:
    if on_error != "skip":
        raise AnnotationError(f"{path}, {orphans[0]} is not among the images")
    logger.warning(
        f"{path}: {len(orphans)} annotations of images that are not among the images, first "
        f"{orphans[0]}; left out (on_error='skip')"
    )


def image_id_of(picture: CocoPicture) -> str:
    """Name of the picture's file without suffix."""
    return os.path.splitext(picture.entry["file_name"])[0]


def _check_file_names(pictures: list[CocoPicture], path: Path) -> None:
    for picture in pictures:
        if not isinstance(picture.entry["file_name"], str):
            raise AnnotationError(
                f"{picture.file}: file_name {picture.entry['file_name']!r}; expected a text"
            )
    found: dict[str, CocoPicture] = {}
    for picture in pictures:
        before = found.setdefault(image_id_of(picture), picture)
        if before is not picture:
            names = [p.entry["file_name"] for p in (before, picture)]
            raise AnnotationError(
                f"{path}: images {before.entry['id']} and {picture.entry['id']} are {names[0]!r} "
                f"and {names[1]!r}; expected one entry a file, and file names that differ in more "
                "than their suffix"
            )


def _places(path: Path, root: Path, split: str) -> tuple[str, ...]:
    """Folders in which a picture is looked for: beside the file, and those called after it."""
    pictures = {name.lower() for name in PICTURE_FOLDERS}
    subset = path.stem.removeprefix(PREFERRED).lower()

    def is_of_split(folder: Path) -> bool:
        return split_of(folder.name) == split or folder.name.lower() == subset

    outer = [root, path.parent, path.parent.parent]
    outer = [folder for folder in dict.fromkeys(outer) if folder.is_relative_to(root)]
    inner = [p for folder in outer for p in sorted(folder.iterdir()) if p.is_dir()]
    inner = [p for p in inner if p.name.lower() in pictures or is_of_split(p)]
    below = [p for folder in inner for p in sorted(folder.iterdir()) if p.is_dir()]
    below = [p for p in below if p.name.lower() in pictures or is_of_split(p)]
    # The closest to the split first: two splits may use the same names.
    named = [p for p in (*below, *inner) if is_of_split(p)]
    return tuple(map(str, dict.fromkeys([path.parent, *named, *inner, *below, *outer])))
