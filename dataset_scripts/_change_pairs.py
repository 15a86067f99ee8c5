"""Pairs of pictures of one place with a change map: where copies keep them, and their rows.

Accepted are, below the folder of a set or a folder or two above it,

    {train,val,test}/{A,B,label}/x.png      folders of splits
    {A,B,label}/{train,val,test}/x.png      the same the other way round
    {A,B,label}/x.png  list/{train,val,test}.txt
    {A,B,label}/train_x.png                 the split is the start of the name

with other common names of the three folders and of `val`, in any case; a split `test` may lack its
label. The files of a pair share their stem and may differ in suffix; one that has no partner is a
record whose reading fails, so that it can be skipped and listed.

Source: layouts of LEVIR-CD, WHU-CD and CDD as published and as the loaders of change-detection
projects expect them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets

from mtp_hf.dataset_scripts._change_maps import encode_png, read_change_map
from mtp_hf.dataset_scripts._files import IMAGE_SUFFIXES, find_folder, index_files
from mtp_hf.dataset_scripts._own_folders import find_set
from mtp_hf.dataset_scripts._pictures import picture_columns
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import (
    MAX_PIXELS,
    AnnotationError,
    read_image_header,
    read_image_list,
)

logger = datasets.utils.logging.get_logger(__name__)

# Names of the three folders, ours first.
ROLES: dict[str, tuple[str, ...]] = {
    "image": ("A", "before", "time1", "T1", "im1", "image1", "pre"),
    "image_post": ("B", "after", "time2", "T2", "im2", "image2", "post"),
    "mask": ("label", "OUT", "labels", "mask", "masks", "gt", "change_label", "change"),
}
SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
LISTS = ("list", "lists", ".")

Folders = tuple[Path, Path, Path | None]  # of the three roles
DrawSplits = Callable[[list[str]], dict[str, list[str]]]


class ChangePair(NamedTuple):
    """Paths of one pair; that of a file which is not there has no suffix.

    Attributes:
        mask: None in a test split without labels.
    """

    image_id: str
    image: str
    image_post: str
    mask: str | None


def find_pairs(root: Path, draw_splits: DrawSplits | None = None) -> dict[str, list[ChangePair]]:
    """Pairs of each split.

    Args:
        root: folder of the set, or one above it.
        draw_splits: makes splits from the sorted ids of a set whose files tell none.

    Raises:
        FileNotFoundError: there are no such folders, or one of the three is missing.
        ValueError: there are several such sets, or files that belong to no split.
    """
    splits = _find_splits(root, draw_splits)
    test = splits.get("test", [])
    if test and not any(pair.mask and os.path.isfile(pair.mask) for pair in test):
        logger.warning(f"{root}: no labels of split 'test'; its rows have no mask")
        splits["test"] = [pair._replace(mask=None) for pair in test]
    return splits


def read_pair(
    pair: ChangePair,
    max_pixels: int = MAX_PIXELS,
    *,
    bands: list[int] | None = None,
    ignore_value: int | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and row of a pair, a row of `features.change_features`.

    Args:
        pair: where its files are.
        max_pixels: larger pictures are refused before anything is decoded.
        bands: that become red, green and blue, as in `PicturesConfig`.
        ignore_value: of pixels of the map without label, whatever the others say.

    Raises:
        AnnotationError: a file is missing or damaged, sizes differ, or the map is none.
    """
    height, width = check_sizes(pair, max_pixels)
    row: dict[str, Any] = {"image_id": pair.image_id, "width": width, "height": height}
    for column, path in (("image", pair.image), ("image_post", pair.image_post)):
        name = f"{pair.image_id}_{column}"
        row[column] = picture_columns(name, path, bands=bands, max_pixels=max_pixels)["image"]
    row["mask"] = None
    if pair.mask is not None:
        change_map = read_change_map(pair.mask, ignore_value=ignore_value, max_pixels=max_pixels)
        row["mask"] = {"path": f"{pair.image_id}.png", "bytes": encode_png(change_map)}
    yield pair.image_id, row


def check_sizes(pair: ChangePair, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Common height and width of the files of a pair, from their headers.

    Raises:
        AnnotationError: a file is missing or no image, or sizes differ.
    """
    paths = [path for path in (pair.image, pair.image_post, pair.mask) if path is not None]
    if absent := next((path for path in paths if not os.path.isfile(path)), None):
        raise AnnotationError(
            f"image {pair.image_id!r}: {absent}: no such file with a suffix of"
            f" {', '.join(IMAGE_SUFFIXES)}; expected both pictures and the map of every pair"
        )
    size = _read_size(paths[0], max_pixels)
    for path in paths[1:]:
        _expect_size(path, _read_size(path, max_pixels), size)
    return size


def _read_size(path: str, max_pixels: int) -> tuple[int, int]:
    header = read_image_header(path, max_pixels)
    if header is not None:
        return header.height, header.width
    with Raster(path, max_pixels=max_pixels) as raster:  # bands that Pillow does not know
        return raster.height, raster.width


def _find_splits(root: Path, draw_splits: DrawSplits | None) -> dict[str, list[ChangePair]]:
    folder = find_set(
        root,
        _is_set,
        "folders A, B and label (or before, after and change_label, or others of the kind)",
    )
    parts = {split: _find_any(folder, names) for split, names in SPLITS.items()}
    split_folders = {split: part for split, part in parts.items() if part and _is_set(part)}
    if split_folders:
        if _is_flat_set(folder):
            raise AnnotationError(
                f"{folder}: found both {ROLES['image'][0]!r} and split folders with one; expected"
                " one of the two layouts"
            )
        return {
            split: _pairs_in(_role_folders(part, split)) for split, part in split_folders.items()
        }
    folders = _role_folders(folder)
    nested = {
        split: tuple(_find_any(role, names) if role else None for role in folders)
        for split, names in SPLITS.items()
    }
    if any(any(parts) for parts in nested.values()):
        return {
            split: _pairs_in(_complete(folder, split, parts))
            for split, parts in nested.items()
            if any(parts)
        }
    pairs = {pair.image_id: pair for pair in _pairs_in(folders)}
    ids = _read_lists(folder, pairs) or _split_by_name(folder, list(pairs), draw_splits)
    return {
        split: [pairs.get(i) or _pair_of(i, folders, ({}, {}, {})) for i in image_ids]
        for split, image_ids in ids.items()
    }


def _expect_size(path: str, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    if found != expected:
        raise AnnotationError(
            f"{path}: {found[0]} x {found[1]} pixels; expected {expected[0]} x {expected[1]}"
            " (height x width), the size of the earlier picture"
        )


def _find_any(folder: Path, names: tuple[str, ...]) -> Path | None:
    found = (find_folder(folder, name) for name in names)
    return next((path for path in found if path), None)


def _is_flat_set(folder: Path) -> bool:
    return _find_any(folder, ROLES["image"]) is not None


def _is_set(folder: Path) -> bool:
    if _is_flat_set(folder):
        return True
    parts = (_find_any(folder, names) for names in SPLITS.values())
    return any(part is not None and _is_flat_set(part) for part in parts)


def _role_folders(folder: Path, split: str = "") -> Folders:
    return _complete(folder, split, tuple(_find_any(folder, names) for names in ROLES.values()))


def _complete(folder: Path, split: str, parts: tuple[Path | None, ...]) -> Folders:
    """The three folders; a split `test` may have none of maps."""
    for (role, names), part in zip(ROLES.items(), parts, strict=True):
        if part is None and (role, split) != ("mask", "test"):
            inside = f", split {split!r}" if split else ""
            raise FileNotFoundError(
                f"{folder}{inside}: no folder {names[0]!r}; expected it, or one of {names[1:]},"
                " beside the others"
            )
    image, image_post, mask = parts
    assert image is not None and image_post is not None
    return image, image_post, mask


def _pairs_in(folders: Folders) -> list[ChangePair]:
    files = [index_files((str(folder),), IMAGE_SUFFIXES) if folder else {} for folder in folders]
    return [_pair_of(stem, folders, files) for stem in sorted(set().union(*files))]


def _pair_of(image_id: str, folders: Folders, files: Sequence[dict[str, str]]) -> ChangePair:
    image, image_post, mask = (
        index.get(image_id, os.path.join(folder or "", image_id))
        for index, folder in zip(files, folders, strict=True)
    )
    return ChangePair(image_id, image, image_post, mask if folders[2] else None)


def _read_lists(folder: Path, pairs: dict[str, ChangePair]) -> dict[str, list[str]]:
    """Sorted ids by split from list files; nothing if there are none."""
    places = [folder if name == "." else find_folder(folder, name) for name in LISTS]
    files = {
        split: [place / f"{name}.txt" for place in places if place for name in names]
        for split, names in SPLITS.items()
    }
    found = {split: next(filter(Path.is_file, paths), None) for split, paths in files.items()}
    ids = {split: sorted(read_image_list(file)) for split, file in found.items() if file}
    listed = [image_id for image_ids in ids.values() for image_id in image_ids]
    if twice := len(listed) - len(set(listed)):
        logger.warning(f"{folder}: {twice} images are in the lists of more than one split")
    if ids and (left := len(set(pairs) - set(listed))):
        logger.warning(f"{folder}: {left} of {len(pairs)} images are in no list and left out")
    return ids


def _split_by_name(
    folder: Path, image_ids: list[str], draw_splits: DrawSplits | None
) -> dict[str, list[str]]:
    """Splits from names such as `train_1`, or drawn if no name has such a start."""
    split_of = {alias: split for split, names in SPLITS.items() for alias in names}
    starts = {i: split_of.get(i.lower().partition("_")[0]) for i in image_ids}
    unknown = [i for i, split in starts.items() if split is None]
    if draw_splits is not None and len(unknown) == len(image_ids):
        return draw_splits(image_ids)
    if unknown:
        raise AnnotationError(
            f"{folder}: {len(unknown)} of {len(image_ids)} images belong to no split, first"
            f" {unknown[0]!r}; expected folders train, val and test, files list/train.txt ..., or"
            " names that start with the split and an underscore"
        )
    return {
        split: [i for i in image_ids if starts[i] == split]
        for split in SPLITS
        if split in starts.values()
    }
