"""Builder of one's own pairs of pictures of one place with maps of change.

    rows = load_dataset("pair_folder", data_dir="mine", split="train")

Folders are those of `_change_pairs.py`: A, B and label, with train, val and test above or below
them or in lists; without any of these all pairs are train. A map has two values of any kind.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_pairs import ChangePair, find_pairs, read_pair
from mtp_hf.dataset_scripts.features import change_features


class PairFolder(FilesBuilder):
    """Pairs as the files are."""

    BUILDER_CONFIGS: ClassVar = [FilesConfig(name="all", description="folders A, B and label")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=change_features())

    def find_records(self, root: Path) -> dict[str, Sequence[ChangePair]]:
        """Pairs of each split."""
        return find_pairs(root, lambda image_ids: {"train": image_ids})

    def read_record(self, record: ChangePair) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one pair."""
        return read_pair(record, self.config.max_pixels)
