"""Builder of FAIR1M-2.0: rotated objects of 37 fine-grained classes in satellite images.

    rows = load_dataset("fair1m", data_dir="FAIR1M2.0", split="train+validation")
    tiles = load_dataset("fair1m", "v2.0_tiles", data_dir="FAIR1M2.0", split="train+validation")

Reads `train/part1/{images,labelXml}`, `train/part2/...`, `validation/{images,labelXml}` and
`test/images`, with images and xml files anywhere below the folder of their split (`labelXmls`,
`images-1` and the like). Train and validation use the same numbers, so ids say the
split as the tiles of SAMRS do: `train_12`, `valid_12`, `test_12`.

The fifth corner of a polygon repeats the first and is dropped. Class names are those of MTP, with
hyphens where the files have blanks; `class_orders` has the spelling of the files.

MTP does not say how it cut its tiles of 800 pixels; an overlap of 200 and one scale are assumed.

Source: Sun et al. 2022; counts and layout of its second release.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._annotations_xml import read_fair1m_xml
from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import (
    ClassNumbers,
    DetectionRecord,
    describe_folder,
    pair_files,
    polygon_columns,
)
from mtp_hf.dataset_scripts._files import (
    IMAGE_SUFFIXES,
    find_folder,
    find_root,
    index_files,
    walk_folders,
)
from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import OrientedFile
from mtp_hf.dataset_scripts._tiled import SlidingTilesConfig, read_sliding_tiles
from mtp_hf.dataset_scripts.class_names import FAST_CLASSES
from mtp_hf.dataset_scripts.features import oriented_detection_features

# Folders of each split, and what its ids begin with.
SPLITS = {
    "train": (("train",), "train"),
    "validation": (("validation", "valid", "val"), "valid"),
    "test": (("test",), "test"),
}


class Fair1m(FilesBuilder):
    """Read FAIR1M-2.0 as unpacked; splits are those whose folders are there."""

    VERSION = datasets.Version("2.0.0")
    BUILDER_CONFIG_CLASS = PicturesConfig
    BUILDER_CONFIGS: ClassVar[list[PicturesConfig]] = [
        PicturesConfig(name="v2.0", version=VERSION, description="37 classes, whole images"),
        SlidingTilesConfig(
            name="v2.0_tiles", version=VERSION, description="37 classes, tiles", tile_size=800
        ),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="FAIR1M-2.0: rotated objects of 37 fine-grained classes.",
            features=oriented_detection_features(
                FAST_CLASSES, tiled=isinstance(self.config, SlidingTilesConfig)
            ),
        )

    def find_records(self, root: Path) -> dict[str, Sequence[DetectionRecord]]:
        """Images of each split whose folder is there, with their xml files."""
        names = tuple(name for folders, _ in SPLITS.values() for name in folders)
        top = find_root(root, names)
        if top is None:
            raise FileNotFoundError(
                f"{root}: {describe_folder(root)}; expected a folder 'train', 'validation' or "
                "'test' of FAIR1M"
            )
        splits: dict[str, Sequence[DetectionRecord]] = {}
        for split, (folders, prefix) in SPLITS.items():
            found = [folder for name in folders if (folder := find_folder(top, name))]
            if found:
                records = self._records(found[0], split != "test")
                splits[split] = [r._replace(image_id=f"{prefix}_{r.image_id}") for r in records]
        return splits

    def read_annotations(self, record: DetectionRecord) -> dict[str, Any]:
        """Objects and satellite of one image, without opening the image.

        Raises:
            AnnotationError: something in the xml file cannot be right.
        """
        path = record.annotation
        labels = OrientedFile([]) if path is None else read_fair1m_xml(path)
        return {
            "objects": polygon_columns(labels.records, self._classes),
            "image_source": labels.image_source,
            "gsd": None,
        }

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image, or the rows of its tiles."""
        if isinstance(self.config, SlidingTilesConfig):
            yield from read_sliding_tiles(record, self.read_annotations(record), self.config)
            return
        config = self.config
        picture = picture_columns(
            record.image_id, record.image, bands=config.bands, max_pixels=config.max_pixels
        )
        yield record.image_id, picture | self.read_annotations(record)

    @functools.cached_property
    def _classes(self) -> ClassNumbers:
        return ClassNumbers(FAST_CLASSES)

    def _records(self, folder: Path, is_labelled: bool) -> list[DetectionRecord]:
        folders = walk_folders(folder)
        images = index_files(folders, IMAGE_SUFFIXES)
        annotations = index_files(folders, (".xml",))
        if not annotations and not is_labelled:
            return [DetectionRecord(stem, path, None) for stem, path in images.items()]
        records = pair_files(images, annotations, str(folder), self.config.on_error)
        return [record._replace(is_test=not is_labelled) for record in records]
