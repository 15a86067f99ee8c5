"""Builders that read the datasets of MTP from the files as downloaded."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import DatasetBuilder

# name -> module and class; imported when asked for, so that a listing costs nothing.
BUILDERS: dict[str, tuple[str, str]] = {
    "samrs": ("mtp_hf.dataset_scripts.samrs", "Samrs"),
    "dior": ("mtp_hf.dataset_scripts.dior", "Dior"),
    "eurosat": ("mtp_hf.dataset_scripts.eurosat", "Eurosat"),
    "resisc45": ("mtp_hf.dataset_scripts.resisc45", "Resisc45"),
    "loveda": ("mtp_hf.dataset_scripts.loveda", "Loveda"),
    "spacenet_v1": ("mtp_hf.dataset_scripts.spacenet_v1", "SpacenetV1"),
    "dota": ("mtp_hf.dataset_scripts.dota", "Dota"),
    "fair1m": ("mtp_hf.dataset_scripts.fair1m", "Fair1m"),
    "xview": ("mtp_hf.dataset_scripts.xview", "Xview"),
    "levir_cd": ("mtp_hf.dataset_scripts.levir_cd", "LevirCd"),
    "whu_cd": ("mtp_hf.dataset_scripts.whu_cd", "WhuCd"),
    "cdd": ("mtp_hf.dataset_scripts.cdd", "Cdd"),
    "oscd": ("mtp_hf.dataset_scripts.oscd", "Oscd"),
    "coco_folder": ("mtp_hf.dataset_scripts.coco_folder", "CocoFolder"),
    "voc_folder": ("mtp_hf.dataset_scripts.voc_folder", "VocFolder"),
    "yolo_folder": ("mtp_hf.dataset_scripts.yolo_folder", "YoloFolder"),
    "yolo_obb_folder": ("mtp_hf.dataset_scripts.yolo_obb_folder", "YoloObbFolder"),
    "dota_folder": ("mtp_hf.dataset_scripts.dota_folder", "DotaFolder"),
    "mask_folder": ("mtp_hf.dataset_scripts.mask_folder", "MaskFolder"),
    "pair_folder": ("mtp_hf.dataset_scripts.pair_folder", "PairFolder"),
    "image_folder": ("mtp_hf.dataset_scripts.image_folder", "ImageFolder"),
}


def get_builder(name: str) -> "type[DatasetBuilder]":
    """Import the builder class of a dataset.

    Raises:
        ValueError: there is no builder of this name.
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown dataset {name!r}; expected one of {sorted(BUILDERS)}")
    module, class_name = BUILDERS[name]
    return getattr(import_module(module), class_name)


__all__ = ["BUILDERS", "get_builder"]
