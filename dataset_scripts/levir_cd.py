"""Builder of LEVIR-CD: buildings that appeared or vanished, 637 pairs of 1024 pixels at 0.5 m.

    rows = load_dataset("levir_cd", data_dir="LEVIR-CD", split="train")
    tiles = load_dataset("levir_cd", "all_tiles", data_dir="LEVIR-CD", split="train")

445 pairs train, 64 validation, 128 test. Copies that are cut to patches of 256 pixels are read
from the same layouts (`_change_pairs.py`). The tiles are 16 of 256 pixels a pair.

Source: Chen & Shi 2020, A Spatial-Temporal Attention-Based Method and a New Dataset for Remote
Sensing Image Change Detection; terms: academic, non-commercial use.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_pairs import ChangePair, find_pairs, read_pair
from mtp_hf.dataset_scripts._tiled import TilesConfig, read_pair_tiles
from mtp_hf.dataset_scripts.features import change_features


class LevirCd(FilesBuilder):
    """Pairs of a set of building changes, whole or cut, as the files are."""

    BUILDER_CONFIGS: ClassVar = [
        FilesConfig(name="all", description="pictures as the files are, 1024 or 256 pixels"),
        TilesConfig(name="all_tiles", description="tiles of 256 pixels", tile_size=256),
    ]
    DEFAULT_CONFIG_NAME = "all"

    def _info(self) -> datasets.DatasetInfo:
        is_tiled = isinstance(self.config, TilesConfig)
        return datasets.DatasetInfo(features=change_features(tiled=is_tiled))

    def find_records(self, root: Path) -> dict[str, Sequence[ChangePair]]:
        """Pairs of each split, by folders, list files or names."""
        return find_pairs(root)

    def read_record(self, record: ChangePair) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one pair, or the rows of its tiles."""
        if isinstance(self.config, TilesConfig):
            return read_pair_tiles(record, self.config.tile_size, self.config.max_pixels)
        return read_pair(record, self.config.max_pixels)
