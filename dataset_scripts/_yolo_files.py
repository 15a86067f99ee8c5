"""Find pictures, label files and classes of a YOLO folder, by its `data.yaml` where it has one.

    data.yaml       path: .   train: images/train   val: images/val   names: [ship, harbor]

`train`, `val` and `test` are a folder, a list of folders, or a text file that lists pictures; names
are a list or a table. The label of `images/.../x.jpg` is `labels/.../x.txt`, else it lies beside
the picture. `path` often belongs to another machine and paths often start with a wrong `../`, so
the folder of the file itself is tried as well. Nothing outside the folder is read.
Without such splits the folders are those of `_own_folders.py`.

Source: dataset format of Ultralytics YOLO.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mtp_hf.dataset_scripts._detection_rows import DetectionRecord, describe_folder
from mtp_hf.dataset_scripts._files import PICTURE_SUFFIXES, index_files, walk_folders
from mtp_hf.dataset_scripts._own_builder import read_class_file
from mtp_hf.dataset_scripts._own_folders import LabelKind, PairingRule, find_pictures
from mtp_hf.dataset_scripts._readers import AnnotationError, read_text

KIND = LabelKind(("labels",), (".txt",))
YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLIT_KEYS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class YoloFile:
    """A `data.yaml`: where it lies and what it says."""

    path: Path
    content: dict[str, Any]


def find_yolo_file(root: Path) -> YoloFile | None:
    """The `data.yaml` of a folder, or the only yaml file in it that has `names`.

    Raises:
        AnnotationError: it is no yaml, or there are several.
    """
    named = [root / name for name in YAML_NAMES if (root / name).is_file()]
    if named:
        return YoloFile(named[0], _read_yaml(named[0]))
    files = [path for path in sorted(root.glob("*.y*ml")) if path.is_file()]
    found = [YoloFile(path, content) for path in files if "names" in (content := _read_yaml(path))]
    if len(found) > 1:
        raise AnnotationError(
            f"{root}: {', '.join(file.path.name for file in found)} all have names; expected one "
            "file, or data.yaml"
        )
    return found[0] if found else None


def find_yolo_class_names(root: Path, file: YoloFile | None) -> list[str]:
    """Names by number, of `data.yaml` or `classes.txt`.

    Raises:
        FileNotFoundError: nothing names the classes.
        AnnotationError: the numbers of a table are not 0, 1, ..., or `nc` is not their number.
    """
    if file is None or "names" not in file.content:
        listed = read_class_file(root)
        if listed is None:
            raise FileNotFoundError(
                f"{root}: {describe_folder(root)}; expected a data.yaml with names, a classes.txt, "
                "or the option class_names"
            )
        return listed
    names, num_classes = file.content["names"], file.content.get("nc")
    if isinstance(names, dict):
        names = _names_by_number(names, file.path)
    if not isinstance(names, list):
        raise AnnotationError(f"{file.path}: names are {names!r}; expected a list or a table")
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise AnnotationError(
                f"{file.path}: a name is a {type(name).__name__}; expected words (in quotes where "
                "yaml reads them otherwise, as yes, no, on and off)"
            )
    if num_classes is not None and num_classes != len(names):
        found = num_classes if isinstance(num_classes, int) else type(num_classes).__name__
        raise AnnotationError(f"{file.path}: nc is {found}, but there are {len(names)} names")
    return [str(name) for name in names]


def _names_by_number(names: dict[Any, Any], path: Path) -> list[Any]:
    """Names of a table in the order of its numbers, which may be written as words."""
    numbers = {int(key): key for key in names if re.fullmatch(r"\d{1,9}", str(key))}
    if sorted(numbers) != list(range(len(names))):
        raise AnnotationError(
            f"{path}: names have the numbers {list(names)[:10]}; expected 0, 1, 2, ..."
        )
    return [names[key] for _, key in sorted(numbers.items())]


def find_yolo_pictures(
    root: Path, file: YoloFile | None, rule: PairingRule
) -> dict[str, list[DetectionRecord]]:
    """Pictures of each split with their label files.

    Raises:
        FileNotFoundError: a folder or label is not there.
        AnnotationError: a path leads out of the root, or two pictures have one name.
    """
    content = file.content if file else {}
    splits = {split: content.get(key) for split, key in SPLIT_KEYS.items()}
    if file is None or not any(splits.values()):
        return find_pictures(root, KIND, rule)
    return {
        split: _read_split(split, value if isinstance(value, list) else [value], root, file, rule)
        for split, value in splits.items()
        if value
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not a readable yaml file ({error})") from None
    if not isinstance(content, dict):
        raise AnnotationError(f"{path}: {type(content).__name__}; expected a table with names")
    return content


def _read_split(
    split: str, values: list[Any], root: Path, file: YoloFile, rule: PairingRule
) -> list[DetectionRecord]:
    pictures: dict[str, str] = {}
    for value in values:
        if not isinstance(value, str):
            raise AnnotationError(
                f"{file.path}: {SPLIT_KEYS[split]} is a {type(value).__name__}; expected a folder, "
                "a list of folders or a text file"
            )
        for image_id, path in _pictures_at(_resolve(value, split, root, file), root, file):
            if image_id in pictures:
                raise AnnotationError(
                    f"{path}: image id {image_id!r} is also that of {pictures[image_id]}; expected "
                    "one file an id"
                )
            pictures[image_id] = path
    labels = {image_id: _label_of(path, root) for image_id, path in pictures.items()}
    missing = sorted(image_id for image_id, label in labels.items() if label is None)
    if missing and not (split == "test" and len(missing) == len(labels)):
        what = f"{file.path}, {split}: {len(missing)} of {len(labels)} pictures have no label file"
        rule.report(what, missing, len(labels))
        if not rule.allow_missing:
            pictures = {image_id: path for image_id, path in pictures.items() if labels[image_id]}
    return [DetectionRecord(i, path, labels[i]) for i, path in sorted(pictures.items())]


def _resolve(value: str, split: str, root: Path, file: YoloFile) -> Path:
    folder = file.path.parent
    inner = value
    while inner.startswith(("../", "./")):
        inner = inner.partition("/")[2]
    base = file.content.get("path")
    base = base if isinstance(base, str) else "."
    tried = [folder / base / value, folder / value, folder / inner]
    found = [path.resolve() for path in tried if path.exists()]
    inside = [path for path in found if path.is_relative_to(root)]
    if not inside:
        where = f"leads to {found[0]}, out of {root}" if found else "is not there"
        raise FileNotFoundError(
            f"{file.path}: {SPLIT_KEYS[split]} {value!r} {where}; expected a folder of pictures or "
            f"a list of them inside {root}"
        )
    return inside[0]


def _pictures_at(place: Path, root: Path, file: YoloFile) -> Iterator[tuple[str, str]]:
    """Ids and paths of the pictures in a folder and below it, or in a list."""
    if place.is_dir():
        for folder in walk_folders(place):
            for path in index_files((folder,), PICTURE_SUFFIXES).values():
                yield os.path.splitext(os.path.relpath(path, place))[0].replace(os.sep, "/"), path
        return
    for number, line in enumerate(read_text(place).splitlines(), start=1):
        if not line.strip():
            continue
        bases = (place.parent, root, file.path.parent)
        found = [path for base in bases if (path := (base / line.strip()).resolve()).is_file()]
        inside = [path for path in found if path.is_relative_to(root)]
        if not inside:
            raise AnnotationError(
                f"{place}, line {number}: {line.strip()!r}; expected a picture inside {root}"
            )
        yield inside[0].stem, str(inside[0])


def _label_of(picture: str, root: Path) -> str | None:
    """Label in the folder `labels` that goes with the last `images` below the root, or beside."""
    beside = Path(picture).with_suffix(".txt")
    before, images, after = f"/{beside.relative_to(root).as_posix()}".rpartition("/images/")
    places = [root / f"{before}/labels/{after}".removeprefix("/"), beside] if images else [beside]
    return next((str(label) for label in places if label.is_file()), None)
