"""Builder of xView: horizontal boxes of 60 classes in satellite images of 0.3 metres a pixel.

    rows = load_dataset("xview", data_dir="xView", split="train")
    tiles = load_dataset("xview", "all_tiles", data_dir="xView", split="train")

Reads `train_images/<n>.tif` and `xView_train.geojson`, which may lie in a folder of its own. The
labels of the published validation images were never given out, so `train` and `test` are drawn
from the labelled ones, as MTP did without saying which: 700 for training, the rest, 146, for
testing. `num_train` and `split_seed` change that; a smaller copy is divided in the same ratio.

Left out and counted: features of the numbers 75 and 82, which stand for no class, features
without a box, and the image 1395, whose labels were published without it. Boxes of zero size and
boxes that leave the image are kept.

Tiles are those of the finetuning: 416 pixels, evenly spread, an object in each that has its centre,
clipped to it, and none without an object.

Source: Lam et al. 2018; preparation of the published finetuning code.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import (
    ClassNumbers,
    DetectionRecord,
    box_columns,
    describe_folder,
    report_missing,
)
from mtp_hf.dataset_scripts._files import (
    IMAGE_SUFFIXES,
    find_folder,
    find_root,
    index_files,
    walk_folders,
)
from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw
from mtp_hf.dataset_scripts._tiled import ObjectTilesConfig, read_even_tiles
from mtp_hf.dataset_scripts._xview_labels import XviewLabels, read_xview_geojson, xview_boxes
from mtp_hf.dataset_scripts.class_names import XVIEW_CLASSES
from mtp_hf.dataset_scripts.features import detection_features

logger = datasets.utils.logging.get_logger(__name__)

IMAGE_FOLDER = "train_images"
LABEL_FILE = "xview_train.geojson"  # in any case
MISSING_IMAGES = {"1395"}  # labelled, but in no download
NUM_LABELLED = 846


@dataclass
class XviewConfig(PicturesConfig):
    """Options of xView.

    Attributes:
        num_train: images of the training split of a whole copy; the rest is the test split.
    """

    num_train: int = 700

    def check_options(self) -> None:
        """Refuse a split without images."""
        super().check_options()
        if not 0 < self.num_train < NUM_LABELLED:
            raise ValueError(
                f"num_train={self.num_train}; expected 1 to {NUM_LABELLED - 1} of the "
                f"{NUM_LABELLED} labelled images"
            )


@dataclass
class XviewTilesConfig(XviewConfig, ObjectTilesConfig):
    """Options of tiles of xView."""

    tile_size: int = 416


class Xview(FilesBuilder):
    """Read the labelled part of xView; splits `train` and `test` are drawn from a seed."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = XviewConfig
    BUILDER_CONFIGS: ClassVar[list[XviewConfig]] = [
        XviewConfig(name="all", version=VERSION, description="60 classes, whole images"),
        XviewTilesConfig(name="all_tiles", version=VERSION, description="60 classes, tiles"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="xView: horizontal boxes of 60 classes in satellite images.",
            features=detection_features(
                XVIEW_CLASSES, tiled=isinstance(self.config, XviewTilesConfig)
            ),
        )

    def find_records(self, root: Path) -> dict[str, Sequence[DetectionRecord]]:
        """Labelled images of the two drawn splits, with their features."""
        top = find_root(root, (IMAGE_FOLDER,))
        image_folder = find_folder(top, IMAGE_FOLDER) if top else None
        folders = map(Path, walk_folders(root))
        files = [p for folder in folders for p in sorted(folder.iterdir()) if _is_label_file(p)]
        if image_folder is None or not files:
            raise FileNotFoundError(
                f"{root}: {describe_folder(root)}; expected a folder '{IMAGE_FOLDER}' and the file "
                "'xView_train.geojson' of xView"
            )
        images = index_files(walk_folders(image_folder), IMAGE_SUFFIXES)
        labels = read_xview_geojson(files[0])
        stems = self._labelled(files[0], labels, images)
        splits = self._draw(root, stems)
        return {
            split: [
                DetectionRecord(stem, images[stem], (str(files[0]), labels.features[stem]))
                for stem in drawn
            ]
            for split, drawn in splits.items()
        }

    def read_annotations(self, record: DetectionRecord) -> dict[str, Any]:
        """Objects of one image, without opening the image.

        Raises:
            AnnotationError: a feature cannot be right.
        """
        path, features = record.annotation
        return {"objects": box_columns(xview_boxes(features, path), self._classes)}

    def read_record(self, record: DetectionRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image, or the rows of its tiles."""
        if isinstance(self.config, XviewTilesConfig):
            yield from read_even_tiles(record, self.read_annotations(record), self.config)
            return
        config = self.config
        picture = picture_columns(
            record.image_id, record.image, bands=config.bands, max_pixels=config.max_pixels
        )
        yield record.image_id, picture | self.read_annotations(record)

    @functools.cached_property
    def _classes(self) -> ClassNumbers:
        return ClassNumbers(XVIEW_CLASSES)

    def _labelled(self, file: Path, labels: XviewLabels, images: dict[str, str]) -> list[str]:
        """Stems that have an image and a label; says what is left out and why."""
        for reason, count in labels.left_out.items():
            logger.warning(f"{file}: {count} features left out: {reason}")
        absent = labels.features.keys() - images.keys()
        if known := sorted(absent & MISSING_IMAGES):
            count = sum(len(labels.features[stem]) for stem in known)
            logger.warning(f"{file}: images {known}, {count} features, left out: published nowhere")
        if missing := sorted(absent - MISSING_IMAGES):
            report_missing(
                f"{file}: {len(missing)} of {len(labels.features)} images are not in "
                f"{IMAGE_FOLDER!r}",
                missing,
                self.config.on_error,
            )
        if unlabelled := sorted(images.keys() - labels.features.keys()):
            logger.warning(
                f"{file}: {len(unlabelled)} images have no label, first {unlabelled[0]!r}; left out"
            )
        return sorted(images.keys() & labels.features.keys())

    def _draw(self, root: Path, stems: list[str]) -> dict[str, list[str]]:
        total, num_train = len(stems), self.config.num_train
        if total < NUM_LABELLED:  # both splits shrink, but none below one image
            num_train = max(1, min(total - 1, round(total * num_train / NUM_LABELLED)))
        if total < 2:
            raise AnnotationError(f"{root}: {total} labelled images; expected two or more")
        sizes = {"train": num_train, "test": total - num_train}
        splits = draw_split(stems, sizes, seed=self.config.split_seed)
        warn_of_draw(root, splits, self.config.split_seed, "labels of one split are published")
        return splits


def _is_label_file(path: Path) -> bool:
    return path.name.lower() == LABEL_FILE and path.is_file()
