"""Builder of WHU-CD: buildings before and after an earthquake, one aerial pair at 0.2 m.

    rows = load_dataset("whu_cd", "split_7_1_2", data_dir="WHU-CD-256", split="train")
    tiles = load_dataset("whu_cd", "split_7_1_2_tiles", data_dir="WHU-CD", split="train")

Copies cut to patches of 256 pixels (7,620 of the whole grid) are read by the plain configs; their
own split folders or list files decide, and where there are none the split is drawn with
`split_seed`: 5,334 / 762 / 1,524 as MTP's, whose lists are not published, or 6,096 / 762 / 762.

The download itself is not a set of patches but the whole pair, 32,507 x 15,354 pixels, in one of

    {before,after}/image/*.tif   or {before,after}/*.tif, beside buildings' maps called *label*
    change_label/change_label.tif
    {2012,2016}/whole_image/{train,test}/image/*.tif    the newer packing, in two areas
    change_label/{train,test}/change_label.tif

which `find_mosaics` finds and the configs `_tiles` cut into a grid of 256 pixels, the last column
and row padded; their split is drawn. The crops of the newer packing have maps of buildings, none of
change.

Source: Ji, Wei & Lu 2019, Fully Convolutional Networks for Multisource Building Extraction From an
Open Aerial and Satellite Imagery Data Set; terms: research use.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_pairs import ChangePair, find_pairs, read_pair
from mtp_hf.dataset_scripts._files import (
    IMAGE_SUFFIXES,
    find_folder,
    index_files,
    walk_folders,
)
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw
from mtp_hf.dataset_scripts._tiled import TilesConfig
from mtp_hf.dataset_scripts._whu_mosaics import Strip, list_strips, read_strip
from mtp_hf.dataset_scripts.features import change_features

logger = datasets.utils.logging.get_logger(__name__)

# Patches of the grid in each split; for other numbers of patches only the ratio matters.
WHU_SPLITS: dict[str, dict[str, int]] = {
    "split_7_1_2": {"train": 5334, "validation": 762, "test": 1524},
    "split_8_1_1": {"train": 6096, "validation": 762, "test": 762},
}
DATES = (("before", "after"), ("2012", "2016"))
AREAS = ("train", "test")
MAP_FOLDERS = ("change_label", "change label")
OTHER_SHARE = 0.02  # of all patches, by which a split may differ before the log says so


def find_mosaics(root: Path) -> list[ChangePair]:
    """The whole pair, id `whole`, or its two areas, ids `train` and `test`; nothing if not there.

    Raises:
        FileNotFoundError: a picture or map of a mosaic is missing.
        ValueError: several files could be it.
    """
    for folder in map(Path, walk_folders(root)):
        maps = next((path for name in MAP_FOLDERS if (path := find_folder(folder, name))), None)
        for names in DATES:
            dates = [find_folder(folder, name) for name in names]
            if maps is None or None in dates:
                continue
            areas = [area for area in AREAS if find_folder(maps, area)]
            if areas:
                return [_mosaic_of_area(area, dates, maps) for area in areas]
            if _find_map(maps):
                pictures = [_one_picture(find_folder(date, "image") or date) for date in dates]
                return [ChangePair("whole", *pictures, _one_picture(maps))]
    return []


def _mosaic_of_area(area: str, dates: list[Path], maps: Path) -> ChangePair:
    folders = [date / "whole_image" / area / "image" for date in dates]
    return ChangePair(area, *map(_one_picture, [*folders, maps / area]))


def _find_map(folder: Path) -> bool:
    """Whether the folder holds one map of everything; those of patches have names of patches."""
    stems = index_files((str(folder),), IMAGE_SUFFIXES)
    return any("label" in stem.lower() for stem in stems)


def _one_picture(folder: Path) -> str:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a picture of the whole area")
    files = index_files((str(folder),), IMAGE_SUFFIXES)
    if len(files) > 1:  # maps of buildings lie beside the pictures
        files = {stem: path for stem, path in files.items() if "label" not in stem.lower()}
    if len(files) != 1:
        raise AnnotationError(
            f"{folder}: {len(files)} images; expected one, the picture or map of the whole area"
        )
    return next(iter(files.values()))


class WhuCd(FilesBuilder):
    """Patches of the pair, as they were cut by whoever made the copy, or cut here."""

    BUILDER_CONFIGS: ClassVar = [
        FilesConfig(name="split_7_1_2", description="patches, split 7:1:2 as MTP's"),
        FilesConfig(name="split_8_1_1", description="patches, split 8:1:1"),
        TilesConfig(name="split_7_1_2_tiles", description="tiles of the whole pair, split 7:1:2"),
        TilesConfig(name="split_8_1_1_tiles", description="tiles of the whole pair, split 8:1:1"),
    ]
    DEFAULT_CONFIG_NAME = "split_7_1_2"

    def _info(self) -> datasets.DatasetInfo:
        is_tiled = isinstance(self.config, TilesConfig)
        return datasets.DatasetInfo(features=change_features(tiled=is_tiled))

    def find_records(self, root: Path) -> dict[str, Sequence[ChangePair | Strip]]:
        """Patches of each split, by folders, list files or names, or drawn; or strips of tiles."""
        mosaics = find_mosaics(root)
        if isinstance(self.config, TilesConfig):
            if not mosaics:
                raise FileNotFoundError(
                    f"{root}: no whole pictures; expected 'before', 'after' and 'change_label', or"
                    " '2012', '2016' and 'change_label'. Patches are read by config"
                    f" {self._split!r}"
                )
            size, limit = self.config.tile_size, self.config.max_pixels
            return {**list_strips(mosaics, self._draw_splits, size, limit)}
        if mosaics:
            raise AnnotationError(
                f"{root}: found the whole picture {mosaics[0].image}; expected patches for config"
                f" {self.config.name!r}. Config '{self.config.name}_tiles' cuts it; patches beside"
                " it are read if their folder is named"
            )
        splits = find_pairs(root, self._draw_splits)
        self._compare_with_config(root, {split: len(pairs) for split, pairs in splits.items()})
        return splits

    def read_record(self, record: ChangePair | Strip) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one patch, or rows of a strip of tiles."""
        if isinstance(record, Strip):
            return read_strip(record, self.config.max_pixels)
        return read_pair(record, self.config.max_pixels)

    @property
    def _split(self) -> str:
        return self.config.name.removesuffix("_tiles")

    def _draw_splits(self, image_ids: list[str]) -> dict[str, list[str]]:
        seed = self.config.split_seed
        splits = draw_split(image_ids, WHU_SPLITS[self._split], seed=seed)
        warn_of_draw(self.config.data_dir, splits, seed, "no split folders and no list files")
        return splits

    def _compare_with_config(self, root: Path, counts: dict[str, int]) -> None:
        total, wanted = sum(counts.values()), WHU_SPLITS[self.config.name]
        expected = {split: total * n / sum(wanted.values()) for split, n in wanted.items()}
        tolerance = max(1.0, OTHER_SHARE * total)
        if any(abs(counts.get(split, 0) - n) > tolerance for split, n in expected.items()):
            found = ", ".join(f"{n} {split}" for split, n in counts.items())
            logger.warning(
                f"{root}: the files tell the split, {found} patches; that is not the one of config"
                f" {self.config.name!r}"
            )
