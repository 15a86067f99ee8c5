"""Tiny copies of the sets of scenes in their official layouts, written at test time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from mtp_hf.dataset_scripts.class_names import EUROSAT_CLASSES, RESISC45_CLASSES

EUROSAT_FOLDERS = {
    "rgb": "2750",
    "all_bands": "ds/images/remote_sensing/otherDatasets/sentinel_2/tif",
}
LISTED = ("train", "val", "test")


def write_picture(path: Path, size: int, seed: int = 0) -> Path:
    """A picture of noise; the suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def bands(seed: int) -> np.ndarray:
    """(13, 64, 64) of uint16, above 8 bits."""
    return np.random.default_rng(seed).integers(0, 10_000, (13, 64, 64), np.uint16)


def write_bands(path: Path, pixels: np.ndarray) -> Path:
    """A TIFF of several bands (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    size = {"count": count, "height": height, "width": width, "dtype": pixels.dtype.name}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with rasterio.open(path, "w", "GTiff", transform=transform, **size) as file:
        file.write(pixels)
    return path


def write_eurosat(
    root: Path,
    config: str = "rgb",
    *,
    per_class: int = 5,
    classes: Sequence[str] = EUROSAT_CLASSES,
    folder: str | None = None,
) -> Path:
    """`<class>/<class>_<n>` without lists, n from 1."""
    for number, name in enumerate(classes):
        for n in range(1, per_class + 1):
            path = root / (folder or EUROSAT_FOLDERS[config]) / name / f"{name}_{n}"
            if config == "rgb":
                write_picture(path.with_suffix(".jpg"), 64, n)
            else:
                write_bands(path.with_suffix(".tif"), bands(100 * number + n))
    return root


def write_lists(root: Path, prefix: str, names: dict[str, list[str]]) -> None:
    """`<prefix>-{train,val,test}.txt` with a file name a line."""
    for split in LISTED:
        (root / f"{prefix}-{split}.txt").write_text("".join(f"{n}.jpg\n" for n in names[split]))


def write_resisc45(root: Path, per_class: int = 5, *, flat: bool = False) -> Path:
    """`<class>/<class>_<nnn>.jpg`, or all images in `all_img`, without lists."""
    for name in RESISC45_CLASSES:
        for n in range(1, per_class + 1):
            folder = root / ("all_img" if flat else f"NWPU-RESISC45/{name}")
            write_picture(folder / f"{name}_{n:03d}.jpg", 16, n)
    return root
