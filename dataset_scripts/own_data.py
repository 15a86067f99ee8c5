"""Load folders of one's own with the columns of the published sets, so that their recipes fit.

    rows = load_detection_folder("mine")["train"]                      # COCO json
    rows = load_oriented_detection_folder("mine", "yolo_obb", split="train")

What each format may look like on disk is in the builders' files. Options are those of
`load_dataset` (`split`, `streaming`, `num_proc`, `on_error`) and of the builder (`class_names`,
`bands`, `missing_labels`, `mask_values`).
"""

from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts.loading import AnyDataset, load_dataset

DETECTION_FORMATS = ("coco", "voc", "yolo")
ORIENTED_FORMATS = ("dota", "yolo_obb")


def load_detection_folder(path: str | Path, format: str = "coco", **options: Any) -> AnyDataset:
    """Horizontal boxes: `coco` (json), `voc` (xml) or `yolo` (text).

    Raises:
        ValueError: there is no such format or option, or a file cannot be right.
        FileNotFoundError: the folder is not there, or is not laid out as expected.
    """
    return load_dataset(_builder_of(format, DETECTION_FORMATS), data_dir=path, **options)


def load_oriented_detection_folder(
    path: str | Path, format: str = "dota", **options: Any
) -> AnyDataset:
    """Rotated boxes: `dota` (text, pixels) or `yolo_obb` (text, shares of the picture).

    Raises:
        ValueError: there is no such format or option, or a file cannot be right.
        FileNotFoundError: the folder is not there, or is not laid out as expected.
    """
    return load_dataset(_builder_of(format, ORIENTED_FORMATS), data_dir=path, **options)


def load_segmentation_folder(path: str | Path, **options: Any) -> AnyDataset:
    """Maps of classes beside pictures (`images`, `masks`)."""
    return load_dataset("mask_folder", data_dir=path, **options)


def load_change_folder(path: str | Path, **options: Any) -> AnyDataset:
    """Pairs of pictures with maps of change (`A`, `B`, `label`)."""
    return load_dataset("pair_folder", data_dir=path, **options)


def load_classification_folder(path: str | Path, **options: Any) -> AnyDataset:
    """A folder of pictures for each class."""
    return load_dataset("image_folder", data_dir=path, **options)


def _builder_of(format: str, known: tuple[str, ...]) -> str:
    if format not in known:
        raise ValueError(f"format={format!r}; expected one of {known}")
    return f"{format}_folder"
