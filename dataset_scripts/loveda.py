"""Builder of LoveDA: land cover of 1024 x 1024 pixels in towns and in the country.

    rows = load_dataset("loveda", "all", data_dir="LoveDA", split="train+validation")

Read are `{Train,Val,Test}/{Rural,Urban}/{images_png,masks_png}/<n>.png`, anywhere below the folder,
the archives `Train.zip`, `Val.zip` and `Test.zip`, or those of the splits that are there. The
numbers are unique over both scenes. Masks count from 1 and mark what has no data with 0; rows have
the labels of `LOVEDA_CLASSES` from 0 and 255 there. The masks of the test are not public: theirs is
None. MTP trains on `train+validation` together.

Source: LoveDA (Wang et al. 2021).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets
import numpy as np

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_maps import encode_png
from mtp_hf.dataset_scripts._files import IMAGE_SUFFIXES, find_folder, index_files, walk_folders
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import AnnotationError, read_image_size
from mtp_hf.dataset_scripts.class_names import LOVEDA_CLASSES
from mtp_hf.dataset_scripts.features import segmentation_features

logger = datasets.utils.logging.get_logger(__name__)

SPLIT_FOLDERS = {"train": "Train", "validation": "Val", "test": "Test"}
SCENES = {"all": ("Rural", "Urban"), "rural": ("Rural",), "urban": ("Urban",)}
IMAGE_FOLDERS = ("images_png", "images")
MASK_FOLDERS = ("masks_png", "masks", "labels")


class LovedaImage(NamedTuple):
    """An image and its mask; None where there are no masks at all."""

    image: str
    mask: str | None
    scene: str


class Loveda(FilesBuilder):
    """Read LoveDA; splits `train`, `validation` and `test`, as far as they are there."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[FilesConfig]] = [
        FilesConfig(name="all", version=VERSION, description="both scenes"),
        FilesConfig(name="urban", version=VERSION, description="towns"),
        FilesConfig(name="rural", version=VERSION, description="country"),
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=segmentation_features())

    def find_records(self, root: Path) -> dict[str, Sequence[LovedaImage]]:
        """Images of each split, in the order of their numbers."""
        folders = _find_splits(root)
        if not folders:
            raise FileNotFoundError(
                f"{root}: no folder {', '.join(SPLIT_FOLDERS.values())}; expected those of LoveDA,"
                f" with {' and '.join(SCENES['all'])} in them"
            )
        if absent := [SPLIT_FOLDERS[split] for split in SPLIT_FOLDERS if split not in folders]:
            logger.warning(f"{root}: no folder {', '.join(absent)}; there is no such split")
        scenes = SCENES[self.config.name]
        images = {
            split: _find_images(folder, scenes, needs_masks=split != "test")
            for split, folder in folders.items()
        }
        return {split: found for split, found in images.items() if found}

    def read_record(self, record: LovedaImage) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one image."""
        height, width = read_image_size(record.image, self.config.max_pixels)
        image_id = Path(record.image).stem
        mask = None
        if record.mask is not None:
            labels = read_loveda_mask(record.mask, self.config.max_pixels)
            if labels.shape != (height, width):
                raise AnnotationError(
                    f"{record.mask}: {labels.shape[1]} x {labels.shape[0]} pixels; expected "
                    f"{width} x {height}, the size of {record.image}"
                )
            mask = {"path": f"{image_id}.png", "bytes": encode_png(labels)}
        row = {
            "image_id": image_id,
            "image": record.image,
            "mask": mask,
            "width": width,
            "height": height,
            "scene": record.scene,
        }
        yield image_id, row


def read_loveda_mask(path: str | Path, max_pixels: int) -> np.ndarray:
    """Labels (H, W) of uint8: classes from 0, 255 = no data.

    Raises:
        AnnotationError: the file is missing, damaged, or not an 8-bit map of values 0 to 7.
    """
    try:
        with Raster(path, max_pixels=max_pixels) as raster:
            values = raster.read()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such mask; expected one for every image") from None
    if values.shape[2] != 1 or values.dtype != np.uint8:
        raise AnnotationError(
            f"{path}: {values.shape[2]} bands of {values.dtype}; expected one of uint8"
        )
    if (largest := int(values.max())) > len(LOVEDA_CLASSES):
        raise AnnotationError(
            f"{path}: value {largest}; expected 0 (no data) to {len(LOVEDA_CLASSES)}"
        )
    return values[..., 0] - np.uint8(1)  # 0 becomes 255


def _find_splits(root: Path) -> dict[str, Path]:
    """Folder of each split, the one of its name that holds scenes.

    Raises:
        AnnotationError: a split is there twice.
    """
    names = {name.lower(): split for split, name in SPLIT_FOLDERS.items()}
    found: dict[str, Path] = {}
    for folder in map(Path, walk_folders(root)):
        split = names.get(folder.name.lower())
        if split is None or _find_any(folder, SCENES["all"]) is None:
            continue
        if split in found:
            raise AnnotationError(
                f"{root}: both {found[split]} and {folder} are split {split!r}; expected one, name"
                " the folder of one copy"
            )
        found[split] = folder
    return {split: found[split] for split in SPLIT_FOLDERS if split in found}


def _find_images(folder: Path, scenes: Sequence[str], *, needs_masks: bool) -> list[LovedaImage]:
    """Images of one split.

    Raises:
        FileNotFoundError: images or masks are missing altogether.
        AnnotationError: two images share a number.
    """
    found: dict[str, LovedaImage] = {}
    for scene in scenes:
        place = find_folder(folder, scene)
        images = place and _find_any(place, IMAGE_FOLDERS)
        if place is None or images is None:
            logger.warning(f"{folder}: no folder {scene}/{IMAGE_FOLDERS[0]}; none of its images")
            continue
        masks = _find_any(place, MASK_FOLDERS)
        if masks is None and needs_masks:
            raise FileNotFoundError(f"{place}: no folder {MASK_FOLDERS[0]}; expected the masks")
        mask_files = index_files((str(masks),), IMAGE_SUFFIXES) if masks else {}
        image_files = index_files((str(images),), IMAGE_SUFFIXES)
        if unused := sorted(set(mask_files) - set(image_files)):
            logger.warning(f"{masks}: {len(unused)} masks without an image, first {unused[0]!r}")
        for stem, image in image_files.items():
            if stem in found:
                raise AnnotationError(
                    f"{image}: image id {stem!r} is also that of {found[stem].image}; expected "
                    "one image a number"
                )
            expected = None if masks is None else mask_files.get(stem, str(masks / f"{stem}.png"))
            found[stem] = LovedaImage(image, expected, scene.lower())
    return [found[stem] for stem in sorted(found, key=lambda stem: (len(stem), stem))]


def _find_any(folder: Path, names: Sequence[str]) -> Path | None:
    return next((found for name in names if (found := find_folder(folder, name))), None)
