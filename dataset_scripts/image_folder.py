"""Builder of one's own pictures in a folder for each class.

    rows = load_dataset("image_folder", data_dir="mine", split="train")

    {train,val,test}/{ship,harbor}/x.jpg     or without splits, all of it train
    test/x.jpg                               without labels

An id is class and stem; classes are the folders' names, sorted. Folders are those of splits if one
that is called after a split holds folders of pictures, so a class may be called `train_station`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets

from mtp_hf.dataset_scripts._detection_rows import describe_folder
from mtp_hf.dataset_scripts._files import index_files
from mtp_hf.dataset_scripts._own_builder import OwnBuilder, OwnConfig
from mtp_hf.dataset_scripts._own_folders import (
    PICTURE_SUFFIXES,
    SPLITS,
    find_set,
    holds_pictures,
    split_folders,
    split_of,
    subfolders,
)
from mtp_hf.dataset_scripts.features import classification_features


class ClassPicture(NamedTuple):
    """A picture and the folder of its class; None in a test split without labels."""

    image_id: str
    image: str
    class_name: str | None


class ImageFolder(OwnBuilder):
    """Pictures by class, one folder a class."""

    BUILDER_CONFIGS: ClassVar = [OwnConfig(name="all", description="a folder for each class")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=classification_features(self.class_names))

    def find_class_names(self, root: Path) -> list[str]:
        """Names of the folders of all splits."""
        splits = self.find_records(root).values()
        return sorted({p.class_name for pictures in splits for p in pictures if p.class_name})

    def find_records(self, root: Path) -> dict[str, list[ClassPicture]]:
        """Pictures of each split."""
        folder = find_set(root, _is_set, "a folder of pictures for each class")
        splits = _find_splits(folder) or {"train": folder}
        found = {split: _list_pictures(path) for split, path in splits.items()}
        for split, pictures in found.items():
            if not pictures and split == "test":
                paths = index_files((str(splits[split]),), PICTURE_SUFFIXES)
                found[split] = [ClassPicture(stem, path, None) for stem, path in paths.items()]
            elif not pictures:
                raise FileNotFoundError(
                    f"{splits[split]}: {describe_folder(splits[split])}; expected a folder of "
                    "pictures for each class"
                )
        return found

    def read_record(self, record: ClassPicture) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        row = self.picture_columns(record.image_id, record.image)
        name = record.class_name
        label = None if name is None else self.classes.of(name, record.image)
        yield (
            record.image_id,
            {"image_id": record.image_id, "image": row["image"], "label": label},
        )


def _find_splits(folder: Path) -> dict[str, Path]:
    """Folders of splits; nothing where folders called so are classes among others."""
    below = subfolders(folder)
    is_nested = any(split_of(p.name) and any(map(holds_pictures, subfolders(p))) for p in below)
    aliases = {alias for names in SPLITS.values() for alias in names}
    is_plain = all(path.name.lower() in aliases for path in below)
    return split_folders(folder) if is_nested or is_plain else {}


def _is_set(folder: Path) -> bool:
    splits = _find_splits(folder)
    return any(
        holds_pictures(path) for top in (splits.values() or [folder]) for path in subfolders(top)
    )


def _list_pictures(folder: Path) -> list[ClassPicture]:
    return [
        ClassPicture(f"{path.name}/{stem}", picture, path.name)
        for path in subfolders(folder)
        for stem, picture in index_files((str(path),), PICTURE_SUFFIXES).items()
    ]
