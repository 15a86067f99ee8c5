"""Builder of the SAMRS pretraining sets: SOTA, SOTA-RBB, SIOR and FAST.

    rows = load_dataset("samrs", "sior", data_dir="samrs", split="train")
    builder = Samrs(config_name="sior", data_dir="samrs"); builder.download_and_prepare()

A row holds one image with three kinds of annotation: `semantic_mask` (gray map as published,
255 = background), `objects` (instances with masks) and `rotated_objects` (polygons), the last two
being independent lists. A kind that was not asked for is None; an image without objects has empty
lists and an all-background map.

`data_dir` is the folder of the set or the SAMRS root around it. The files themselves decide
whether a prepared copy is still fresh: their names, sizes and times are part of its cache key.

Source: SAMRS (Wang et al. 2023) and MTP (Wang et al. 2024); file formats in `_samrs_rows.py`,
folders in `_samrs_layout.py`.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._detection_rows import report_missing
from mtp_hf.dataset_scripts._files import IMAGE_SUFFIXES, index_files
from mtp_hf.dataset_scripts._readers import AnnotationError, read_coco_json, read_image_list
from mtp_hf.dataset_scripts._samrs_layout import (
    TEST_IMAGE_FOLDER,
    SamrsLayout,
    find_layout,
)
from mtp_hf.dataset_scripts._samrs_rows import SamrsRowReader
from mtp_hf.dataset_scripts.class_names import FAST_CLASSES, SIOR_CLASSES, SOTA_CLASSES

logger = datasets.utils.logging.get_logger(__name__)

SAMRS_CLASSES: dict[str, list[str]] = {
    "sota": SOTA_CLASSES,
    "sota_rbb": SOTA_CLASSES,
    "sior": SIOR_CLASSES,
    "fast": FAST_CLASSES,
}
# ss semantic segmentation, is instance segmentation, rd rotated detection.
# The masks of `sota` come from horizontal boxes; it has no rotated ones.
SAMRS_TASKS: dict[str, tuple[str, ...]] = {
    "sota": ("ss", "is"),
    "sota_rbb": ("ss", "is", "rd"),
    "sior": ("ss", "is", "rd"),
    "fast": ("ss", "is", "rd"),
}
TASK_FOLDERS = {
    "ss": "a folder of gray maps ('hbox_segs_init/gray', 'rhbox_segs_init/gray', 'gray')",
    "is": "a folder 'ins' of pickles, or *_ins_segmentation.json",
    "rd": "a folder 'rbbtxts', or 'Annotations/Oriented Bounding Boxes' of DIOR-R",
}


@dataclass
class SamrsConfig(FilesConfig):
    """Options of one set.

    Attributes:
        tasks: annotation kinds to read, of `SAMRS_TASKS`; None for all the set has.
        include_test: also read `JPEGImages-test` of SIOR, which are test images of DIOR.
        validation_fraction: share of images for validation where there are no list files.
        check_maps: decode every gray map once to check its values.
    """

    tasks: tuple[str, ...] | list[str] | None = None
    include_test: bool = False
    validation_fraction: float = 0.05  # SAMRS: 95 % / 5 %
    check_maps: bool = True

    def layout(self) -> SamrsLayout:
        """Find the files on disk."""
        return find_layout(self.name, self.root(), self.include_test)

    def resolved_tasks(self) -> tuple[str, ...]:
        """Tasks to read, in the order of `SAMRS_TASKS`.

        Raises:
            ValueError: the set has no annotations for a task.
        """
        offered = SAMRS_TASKS[self.name]
        asked = offered if self.tasks is None else tuple(self.tasks)
        if not asked or set(asked) - set(offered):
            raise ValueError(
                f"config {self.name!r}: tasks {list(asked)} were asked for; expected some of "
                f"{list(offered)}"
            )
        return tuple(task for task in offered if task in asked)

    def fingerprint(self) -> str:
        """Hash of the set's own files; the root may hold other sets."""
        return self.layout().fingerprint()

    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None
    ) -> str:
        """Name of the cache folder, with the tasks spelled one way."""
        options = {**config_kwargs, "tasks": ",".join(self.resolved_tasks())}
        return super().create_config_id(options, custom_features)


class Samrs(FilesBuilder):
    """Read one SAMRS set from the files as published; splits `train` and `validation`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = SamrsConfig
    BUILDER_CONFIGS: ClassVar[list[SamrsConfig]] = [
        SamrsConfig(name="sota", version=VERSION, description="DOTA-2.0 tiles, horizontal prompts"),
        SamrsConfig(
            name="sota_rbb", version=VERSION, description="DOTA-2.0 tiles, rotated prompts"
        ),
        SamrsConfig(name="sior", version=VERSION, description="DIOR images, horizontal prompts"),
        SamrsConfig(name="fast", version=VERSION, description="FAIR1M tiles, rotated prompts"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="SAMRS: remote-sensing images with masks made by Segment Anything.",
            features=samrs_features(SAMRS_CLASSES[self.config.name]),
        )

    def find_records(self, root: Path) -> dict[str, Sequence[str]]:
        """Picture files of each split."""
        layout = self.config.layout()
        _check_annotations(self.config, layout)
        images = index_files(layout.images, IMAGE_SUFFIXES)
        splits = _split_ids(self.config, layout, images)
        return {split: [images[i] for i in image_ids] for split, image_ids in splits.items()}

    def read_record(self, record: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one picture."""
        yield Path(record).stem, self._reader.read(record)

    def _generate_examples(self, records: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        before = self._reader.num_background
        yield from super()._generate_examples(records)
        logger.info(
            f"{self._reader.layout.folder}: {self._reader.num_background - before} of "
            f"{len(records)} images have no object and no gray map; theirs is all background"
        )

    @functools.cached_property
    def _reader(self) -> SamrsRowReader:
        config, layout = self.config, self.config.layout()
        reader = SamrsRowReader(
            layout,
            SAMRS_CLASSES[config.name],
            config.resolved_tasks(),
            check_maps=config.check_maps,
            max_pixels=config.max_pixels,
        )
        if layout.instances is None and layout.instance_json:
            files = [read_coco_json(path) for path in layout.instance_json]
            reader.json_instances = {stem: rows for file in files for stem, rows in file.items()}
        return reader


def samrs_features(class_names: list[str]) -> datasets.Features:
    """Columns of a row; boxes are xywh in pixels, polygons x1 y1 ... x4 y4 as annotated."""
    label = datasets.ClassLabel(names=class_names)
    many, value = datasets.List, datasets.Value
    box = many(value("float32"), length=4)
    rle = {"size": many(value("int32"), length=2), "counts": value("string")}
    return datasets.Features(
        {
            "image_id": value("string"),
            "image": datasets.Image(),
            "width": value("int32"),
            "height": value("int32"),
            "semantic_mask": datasets.Image(),
            "objects": {
                "id": many(value("int64")),
                "category": many(label),
                "bbox": many(box),  # of the mask
                "prompt_bbox": many(box),  # what Segment Anything was asked with
                "area": many(value("float32")),
                "iscrowd": many(value("bool")),
                "segmentation": many(rle),
            },
            "rotated_objects": {
                "id": many(value("int64")),
                "category": many(label),
                "polygon": many(many(value("float32"), length=8)),
                "difficult": many(value("int8")),
            },
        }
    )


def _check_annotations(config: SamrsConfig, layout: SamrsLayout) -> None:
    has = {
        "ss": layout.gray is not None,
        "is": layout.instances is not None or bool(layout.instance_json),
        "rd": layout.boxes is not None,
    }
    for task in config.resolved_tasks():
        if not has[task]:
            left = tuple(name for name in config.resolved_tasks() if has[name])
            raise FileNotFoundError(
                f"{layout.folder}: no annotations for task {task!r} of config {config.name!r}; "
                f"expected {TASK_FOLDERS[task]}. To read the rest only, pass tasks={left}"
            )


def _split_ids(
    config: SamrsConfig, layout: SamrsLayout, images: dict[str, str]
) -> dict[str, list[str]]:
    """Image ids of each split, from the list files or by a seeded draw."""
    if not images:
        raise AnnotationError(f"{layout.images[0]}: no image files; expected {IMAGE_SUFFIXES}")
    if not layout.lists:
        return _draw_split(config, layout, list(images))
    if len(layout.lists) == 1:
        raise FileNotFoundError(
            f"{layout.folder}: found {Path(*layout.lists.values()).name} only; expected both "
            "train.txt and valid.txt, or neither for a random split"
        )
    splits = {split: read_image_list(path) for split, path in sorted(layout.lists.items())}
    left_out = set() if config.include_test else _test_ids(layout)
    for split, image_ids in splits.items():
        kept = [i for i in image_ids if i in images or i not in left_out]
        if len(kept) < len(image_ids):
            logger.warning(
                f"{layout.lists[split]}: {len(image_ids) - len(kept)} test images left out; "
                "include_test=True reads them"
            )
        if missing := [i for i in kept if i not in images]:
            what = f"{layout.lists[split]}: {len(missing)} of {len(kept)} images are missing in"
            report_missing(f"{what} {' or '.join(layout.images)}", missing, config.on_error)
        splits[split] = sorted(i for i in kept if i in images)
        if not splits[split]:
            raise AnnotationError(f"{layout.lists[split]}: no image is left in this split")
    if both := set(splits["train"]) & set(splits["validation"]):
        logger.warning(f"{layout.folder}: {len(both)} images are in both train and valid lists")
    return splits


def _test_ids(layout: SamrsLayout) -> set[str]:
    folders = [p for p in Path(layout.folder).iterdir() if p.name.lower() == TEST_IMAGE_FOLDER]
    return {image.stem for folder in folders for image in folder.iterdir()}


def _draw_split(
    config: SamrsConfig, layout: SamrsLayout, image_ids: list[str]
) -> dict[str, list[str]]:
    if len(image_ids) < 2:
        raise AnnotationError(f"{layout.folder}: one image cannot be split; expected two or more")
    order = np.random.default_rng(config.split_seed).permutation(len(image_ids))
    num_validation = max(1, round(config.validation_fraction * len(image_ids)))
    validation = {image_ids[i] for i in order[:num_validation]}
    logger.warning(
        f"{layout.folder}: no train.txt and valid.txt; {len(image_ids) - num_validation} images "
        f"train and {num_validation} validation images drawn with seed {config.split_seed}"
    )
    return {
        "train": [i for i in image_ids if i not in validation],
        "validation": [i for i in image_ids if i in validation],
    }
