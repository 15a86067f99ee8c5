"""Builder of one's own pairs of pictures of one place with maps of change.

    rows = load_dataset("pair_folder", data_dir="mine", split="train")

Folders are those of `_change_pairs.py`: A, B and label, with train, val and test above or below
them or in lists; without any of these all pairs are train. A map has two values of any kind, the
larger one for what changed, and 255 for what has no label if it also has 1 (`_change_maps.py`);
`ignore_value` says that another value, or 255 beside 0 alone, is no label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._change_pairs import ChangePair, find_pairs, read_pair
from mtp_hf.dataset_scripts._pictures import PicturesConfig
from mtp_hf.dataset_scripts.features import change_features


@dataclass
class PairConfig(PicturesConfig):
    """Options of pairs.

    Attributes:
        ignore_value: of the pixels of a map without label; None to tell from the other values.
    """

    ignore_value: int | None = None

    def check_options(self) -> None:
        """Refuse a value that no map has."""
        super().check_options()
        if self.ignore_value is not None and not 0 <= self.ignore_value <= 255:
            raise ValueError(f"ignore_value={self.ignore_value}; expected 0 to 255")


class PairFolder(FilesBuilder):
    """Pairs as the files are."""

    BUILDER_CONFIG_CLASS = PairConfig
    BUILDER_CONFIGS: ClassVar = [PairConfig(name="all", description="folders A, B and label")]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=change_features())

    def find_records(self, root: Path) -> dict[str, Sequence[ChangePair]]:
        """Pairs of each split."""
        return find_pairs(root, lambda image_ids: {"train": image_ids})

    def read_record(self, record: ChangePair) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one pair."""
        config = self.config
        return read_pair(
            record, config.max_pixels, bands=config.bands, ignore_value=config.ignore_value
        )
