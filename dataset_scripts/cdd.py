"""Builder of SVCD, also called CDD: changes between seasons, 16,000 pairs of 256 pixels.

    rows = load_dataset("cdd", data_dir="ChangeDetectionDataset", split="train")

10,000 pairs train, 3,000 validation, 3,000 test: `Real/subset/{train,val,test}/{A,B,OUT}`, from
any folder on that way or above it, or with `OUT` called `label`. The originals (`Real/original`)
and the synthetic pairs (`Model`) of the download are not read. The maps are JPEGs
(`_change_maps.py`).

Source: Lebedev et al. 2018, Change Detection in Remote Sensing Images Using Conditional
Adversarial Networks; terms: not stated, pictures of Google Earth.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_pairs import ChangePair, find_pairs, read_pair
from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features

SUBSET = "subset"


class Cdd(FilesBuilder):
    """Pairs of real pictures of different seasons."""

    BUILDER_CONFIGS: ClassVar = [
        FilesConfig(name="all", description="the subset of real pictures, 256 pixels"),
    ]
    DEFAULT_CONFIG_NAME = "all"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=change_features())

    def find_records(self, root: Path) -> dict[str, Sequence[ChangePair]]:
        """Pairs of each split of the subset."""
        folders = [Path(path) for path in walk_folders(root)]
        subsets = [folder for folder in folders if folder.name.lower() == SUBSET]
        if len(subsets) > 1:
            raise AnnotationError(
                f"{root}: several folders of pairs, {subsets[0]} and {subsets[1]}; expected one,"
                " name it"
            )
        return find_pairs(subsets[0] if subsets else root)

    def read_record(self, record: ChangePair) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one pair."""
        return read_pair(record, self.config.max_pixels)
