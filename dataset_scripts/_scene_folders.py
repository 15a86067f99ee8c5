"""Images of scenes, one label each, and which split they belong to.

Accepted anywhere below the folder of a set are

    <class>/<class>_<n>.jpg                 as published
    {train,val,test}/<class>/<name>.jpg     folders of splits
    <class>_<n>.jpg                         all in one folder; the name tells the class

with class names in any case, with blanks, hyphens or underscores. Splits are those of list files
(`<name>` or `<name> <label>` a line; an image that is listed and not there is a record whose
reading fails), else of the folders, else drawn per class from a seed with a warning.

Source: layouts of EuroSAT and NWPU-RESISC45 as published, and those their users made of them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from mtp_hf.dataset_scripts._errors import AnnotationError, MissingFileError
from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw
from mtp_hf.dataset_scripts.class_names import normalize_class_name

logger = datasets.utils.logging.get_logger(__name__)

SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class Scene(NamedTuple):
    """An image file and what folder, name and list say about it, None where they do not.

    One of no class is in a list and not among the files.
    """

    path: str
    folder_class: str | None
    name_class: str | None
    split: str | None  # of a folder around it
    listed_label: int | None = None

    @property
    def image_id(self) -> str:
        """Stem of the file."""
        return Path(self.path).stem

    @property
    def class_name(self) -> str:
        """Class by the folder, or by the name where the folder says none.

        Raises:
            MissingFileError: the image is not there.
        """
        name = self.folder_class or self.name_class
        if name is None:
            raise MissingFileError(f"{self.path}: listed, but no such image of a class is there")
        return name


def find_scenes(
    root: Path, class_names: Sequence[str], suffixes: tuple[str, ...]
) -> dict[str, Scene]:
    """Images below a folder by id, sorted; only names are looked at.

    Raises:
        FileNotFoundError: there is none that tells its class.
        AnnotationError: two images share an id, or most images are of no class.
    """
    known = {normalize_class_name(name): name for name in class_names}
    scenes: dict[str, Scene] = {}
    unknown: list[str] = []
    for folder in walk_folders(root):
        inside = Path(folder).relative_to(root).parts
        split = next((SPLIT_FOLDERS[p.lower()] for p in inside if p.lower() in SPLIT_FOLDERS), None)
        of_folder = known.get(normalize_class_name(inside[-1])) if inside else None
        for name in sorted(os.listdir(folder)):
            if name.startswith(".") or not name.lower().endswith(suffixes):
                continue
            prefix = os.path.splitext(name)[0].rpartition("_")[0]
            of_name = known.get(normalize_class_name(prefix))
            scene = Scene(os.path.join(folder, name), of_folder, of_name, split)
            if of_folder is None and of_name is None:
                unknown.append(scene.path)
            elif scene.image_id in scenes:
                raise AnnotationError(
                    f"{scene.path}: image id {scene.image_id!r} is also that of "
                    f"{scenes[scene.image_id].path}; expected one file an id"
                )
            else:
                scenes[scene.image_id] = scene
    if not scenes:
        raise FileNotFoundError(
            f"{root}: no {' or '.join(suffixes)} file in a folder of a class; expected folders "
            f"such as {class_names[0]!r}" + (f", found {unknown[0]}" if unknown else "")
        )
    if len(unknown) > len(scenes):
        raise AnnotationError(
            f"{root}: {len(unknown)} images are in no folder of a class, such as {unknown[0]}, and"
            f" {len(scenes)} are; is it another data set? expected folders such as"
            f" {class_names[0]!r}"
        )
    if unknown:
        logger.warning(f"{root}: {len(unknown)} images of no class left out, first {unknown[0]}")
    present = {scene.class_name for scene in scenes.values()}
    if missing := [name for name in class_names if name not in present]:
        logger.warning(
            f"{root}: no image of {len(missing)} of {len(class_names)} classes: "
            f"{', '.join(missing)}"
        )
    return dict(sorted(scenes.items()))


def split_scenes(
    root: Path,
    scenes: Mapping[str, Scene],
    lists: Mapping[str, Sequence[str]],
    sizes: Mapping[str, float],
    seed: int,
) -> dict[str, list[Scene]]:
    """Scenes of each split, sorted by id.

    Args:
        root: folder of the set.
        scenes: all images by id.
        lists: split -> possible names of its list file.
        sizes: split -> share, where it must be drawn.
        seed: of the draw.

    Raises:
        FileNotFoundError: some lists are missing.
        AnnotationError: the folders are those of other splits.
    """
    files = {split: _find_list(root, names) for split, names in lists.items()}
    if found := {split: file for split, file in files.items() if file}:
        missing = [lists[split][0] for split in lists if split not in found]
        if missing:
            raise FileNotFoundError(
                f"{root}: found {', '.join(file.name for file in found.values())} but not "
                f"{', '.join(missing)}; expected all lists or none"
            )
        return _split_by_lists(root, scenes, found)
    if any(scene.split for scene in scenes.values()):
        return _split_by_folders(root, scenes, sizes)
    class_of = {image_id: scene.class_name for image_id, scene in scenes.items()}
    splits = draw_split(list(scenes), sizes, seed=seed, class_of=class_of)
    names = ", ".join(names[0] for names in lists.values())
    warn_of_draw(root, splits, seed, f"no lists ({names}) and no folders of splits")
    return {split: [scenes[i] for i in ids] for split, ids in splits.items()}


def read_scene(scene: Scene, class_names: Sequence[str]) -> dict[str, Any]:
    """Row of an image; the picture stays a path that is not opened.

    Raises:
        AnnotationError: folder, file name and list disagree.
        MissingFileError: a list names the image, and it is not there.
    """
    name = scene.class_name
    if scene.name_class not in (None, name):
        raise AnnotationError(
            f"{scene.path}: a file of class {scene.name_class!r} in the folder of class {name!r}"
        )
    label = class_names.index(name)
    if scene.listed_label not in (None, label):
        raise AnnotationError(
            f"{scene.path}: label {scene.listed_label} in the list; expected {label} ({name})"
        )
    return {"image_id": scene.image_id, "image": scene.path, "label": label}


def read_label_list(path: Path) -> dict[str, int | None]:
    """Stems and labels, if there are any, of `<name>` or `<name> <label>` lines.

    Raises:
        AnnotationError: the list is empty, names an image twice or has another third column.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not a text file ({error})") from None
    labels: dict[str, int | None] = {}
    for number, line in enumerate(lines, start=1):
        tokens = line.split()
        if not tokens:
            continue
        if len(tokens) > 2 or not all(token.isdecimal() for token in tokens[1:]):
            raise AnnotationError(
                f"{path}, line {number}: {line!r}; expected a file name, or one and a label"
            )
        stem = os.path.splitext(tokens[0].replace("\\", "/").rpartition("/")[2])[0]
        if stem in labels:
            raise AnnotationError(f"{path}, line {number}: image {stem!r} is listed twice")
        labels[stem] = int(tokens[1]) if len(tokens) == 2 else None
    if not labels:
        raise AnnotationError(f"{path}: the list is empty; expected a file name a line")
    return labels


def _find_list(root: Path, names: Sequence[str]) -> Path | None:
    """Shallowest file of one of the names."""
    paths = (Path(folder, name) for folder in walk_folders(root) for name in names)
    found = [path for path in paths if path.is_file()]
    return min(found, key=lambda path: (len(path.parts), str(path)), default=None)


def _split_by_lists(
    root: Path, scenes: Mapping[str, Scene], files: Mapping[str, Path]
) -> dict[str, list[Scene]]:
    splits, seen = {}, dict[str, str]()
    num_twice = 0
    for split, file in files.items():
        labels = read_label_list(file)
        splits[split] = [
            (scenes.get(i) or Scene(str(root / i), None, None, None))._replace(listed_label=label)
            for i, label in sorted(labels.items())
        ]
        num_twice += sum(image_id in seen for image_id in labels)
        seen |= dict.fromkeys(labels, split)
    if num_twice:
        logger.warning(f"{root}: {num_twice} images are in several lists")
    if unlisted := [image_id for image_id in scenes if image_id not in seen]:
        logger.warning(
            f"{root}: {len(unlisted)} images are in no list and left out, first {unlisted[0]!r}"
        )
    return splits


def _split_by_folders(
    root: Path, scenes: Mapping[str, Scene], sizes: Mapping[str, float]
) -> dict[str, list[Scene]]:
    splits: dict[str, list[Scene]] = {}
    for scene in scenes.values():
        if scene.split is None or scene.split not in sizes:
            raise AnnotationError(
                f"{scene.path}: in a folder of split {scene.split}; expected all images of {root} "
                f"in folders of the splits {', '.join(sizes)}, or none"
            )
        splits.setdefault(scene.split, []).append(scene)
    return {split: splits[split] for split in sizes if split in splits}
