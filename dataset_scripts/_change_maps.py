"""Read the change map of a pair, however a copy of the set writes its two values.

The same map circulates as 0 / 255 (PNG, TIFF), as 0 / 1, as JPEG with noise around 0 and 255, as
colours with or without alpha, and as 1 / 2 (the TIFFs of OSCD). All of them come down to one
threshold, which is found from the histogram of the whole file; a part of a file alone may hold
one value only.

Source: loaders of the published sets; OSCD's readme for 1 = unchanged, 2 = changed.
"""

import io

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._rasters import Raster, Window
from mtp_hf.dataset_scripts._readers import MAX_PIXELS, AnnotationError

HALF = 128  # 0 / 255 maps; JPEG noise stays far from it
LARGEST_CODE = 8  # a map whose values end here counts classes instead of using the full range
# A map has two values. JPEG noise in real maps puts under 1 % of the pixels between these, a
# photograph nearly all.
BETWEEN = slice(16, 240)
MAX_SHARE_BETWEEN = 0.2
JPEG_START = b"\xff\xd8"


def find_change_threshold(counts: np.ndarray, where: str, *, is_jpeg: bool = False) -> int:
    """Smallest value that means "changed" in a map of unknown coding.

    Args:
        counts: number of pixels of each of the 256 values, over the whole map.
        where: file, for messages.
        is_jpeg: whether values are blurred. A JPEG of one small value is an empty map whose black
            was rounded, while in other files 1 everywhere means changed everywhere.

    Returns:
        1, 2 or 128. A value above all of `counts` means that nothing changed.

    Raises:
        AnnotationError: the values are not those of a map of two classes.
    """
    values = np.flatnonzero(counts).tolist()
    if not values:
        raise AnnotationError(f"{where}: the change map has no pixels")
    largest = values[-1]
    if largest <= LARGEST_CODE:
        if is_jpeg and len(values) == 1:
            return HALF
        return 2 if values == [1, 2] else 1
    between = counts[BETWEEN].sum() / counts.sum()
    if between > MAX_SHARE_BETWEEN:
        raise AnnotationError(
            f"{where}: {len(values)} gray values, {between:.0%} of the pixels neither dark nor"
            " bright; expected a change map of two values"
        )
    if largest < HALF and len(values) <= 2:
        raise AnnotationError(
            f"{where}: values {values}; expected a change map of 0 and 255, 0 and 1, or 1 and 2"
        )
    return HALF


def find_threshold_of_classes(counts: np.ndarray, where: str) -> int:
    """Smallest value that means "changed" in a map of 1 = unchanged and 2 = changed.

    Raises:
        AnnotationError: there is another value.
    """
    values = np.flatnonzero(counts).tolist()
    if not values or not set(values) <= {1, 2}:
        raise AnnotationError(f"{where}: values {values[:8]}; expected 1 (unchanged), 2 (changed)")
    return 2


def read_gray_values(path: str, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, bool]:
    """Values (H, W) of a map file, the brightest colour of each pixel; and whether it is a JPEG.

    Raises:
        AnnotationError: the file is no 8-bit image, or is damaged.
        FileNotFoundError: it is not there.
    """
    with Raster(path, max_pixels=max_pixels) as raster:
        values = read_gray_window(raster)
    with open(path, "rb") as file:
        return values, file.read(2) == JPEG_START


def read_gray_window(raster: Raster, window: Window | None = None) -> np.ndarray:
    """Values (H, W) of a part of an open map file, the brightest colour of each pixel.

    Raises:
        AnnotationError: the file is no 8-bit image, or is damaged.
    """
    if raster.dtype != np.uint8:
        raise AnnotationError(
            f"{raster.path}: values of type {raster.dtype}; expected a change map of 8 bits"
        )
    red, green, blue = np.moveaxis(raster.read_rgb(window), 2, 0)  # (H, W, 3) -> 3 x (H, W)
    return np.maximum(np.maximum(red, green), blue)  # max(axis=2) takes ten times as long


def read_change_map(
    path: str, *, is_one_unchanged: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Map (H, W) of 0 = unchanged and 1 = changed.

    Args:
        path: image file.
        is_one_unchanged: the file says 1 = unchanged, 2 = changed, whatever it contains.
        max_pixels: larger maps are refused before anything is decoded.

    Raises:
        AnnotationError: the file is no change map, or is damaged.
    """
    values, is_jpeg = read_gray_values(path, max_pixels)
    counts = np.bincount(values.ravel(), minlength=256)
    if is_one_unchanged:
        threshold = find_threshold_of_classes(counts, path)
    else:
        threshold = find_change_threshold(counts, path, is_jpeg=is_jpeg)
    return (values >= threshold).astype(np.uint8)


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG file of 8-bit pixels, (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
