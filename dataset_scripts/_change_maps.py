"""Read the change map of a pair, however a copy of the set writes its two values.

The same map circulates as 0 / 255 (PNG, TIFF; made smaller with values between), as 0 / 1 with or
without 255 = ignore (rows of our own), as JPEG with noise around 0 and 255, as two colours with or
without alpha, and as 1 / 2 (the TIFFs of OSCD). What a value means is found from the histogram of
the whole file; a part of a file alone may hold one value only. So may a whole file: 0 is unchanged
then, 1 or 2 or white changed, and a map of 0 and 255 without any 1 is taken for unchanged and
changed.

Source: loaders of the published sets; OSCD's readme for 1 = unchanged, 2 = changed.
"""

import io

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._rasters import Raster, Window
from mtp_hf.dataset_scripts._readers import MAX_PIXELS, AnnotationError

HALF = 128  # 0 / 255 maps; JPEG noise stays far from it
IGNORED = 255  # of rows
LARGEST_CODE = 8  # a map whose values end here counts classes instead of using the full range
LEAST_SHARE_OF_ONES = 0.01  # of 1 and 255 together, else the ones are noise of a 0 / 255 map
# A map has two values. JPEG noise in real maps puts under 1 % of the pixels between these, a
# photograph nearly all.
DARKEST, BRIGHTEST = 16, 240
MAX_SHARE_BETWEEN = 0.2
JPEG_START = b"\xff\xd8"


def find_change_classes(counts: np.ndarray, where: str, *, is_jpeg: bool = False) -> np.ndarray:
    """What each value means in a map of unknown coding.

    Args:
        counts: number of pixels of each of the 256 values, over the whole map.
        where: file, for messages.
        is_jpeg: whether values are blurred. A JPEG of one small value is an empty map whose black
            was rounded, while in other files 1 everywhere means changed everywhere.

    Returns:
        (256,) of uint8: 0 = unchanged, 1 = changed, 255 = ignore.

    Raises:
        AnnotationError: the values are not those of a map of two classes.
    """
    values = np.flatnonzero(counts).tolist()
    if not values:
        raise AnnotationError(f"{where}: the change map has no pixels")
    classes = np.zeros(256, np.uint8)
    if is_jpeg:
        classes[_find_threshold_of_blurred(counts, values, where) :] = 1
    elif set(values) <= {0, 1, IGNORED} and _has_ones(counts):
        classes[[1, IGNORED]] = 1, IGNORED
    else:
        classes[_find_threshold(counts, values, where) :] = 1
    return classes


def _has_ones(counts: np.ndarray) -> bool:
    return counts[1] > LEAST_SHARE_OF_ONES * (counts[1] + counts[IGNORED])


def _find_threshold(counts: np.ndarray, values: list[int], where: str) -> int:
    """Smallest value that means "changed" in a file that keeps values, some noise besides."""
    if values[0] >= BRIGHTEST or values == [2]:  # changed everywhere
        return values[0]
    if values == [0]:
        return 1
    if len(values) == 2:
        return values[1]
    if values[-1] > LARGEST_CODE:
        return _find_threshold_of_blurred(counts, values, where)
    raise AnnotationError(
        f"{where}: values {values}; expected a change map of two values, or of 0 (unchanged), 1"
        " (changed) and 255 (ignore)"
    )


def _find_threshold_of_blurred(counts: np.ndarray, values: list[int], where: str) -> int:
    """Smallest value that means "changed" where values lie around the exact ones."""
    if values[-1] <= LARGEST_CODE:
        if len(values) == 1:
            return HALF
        return 2 if values == [1, 2] else 1
    between = counts[DARKEST:BRIGHTEST].sum() / counts.sum()
    if between > MAX_SHARE_BETWEEN:
        raise AnnotationError(
            f"{where}: {len(values)} gray values, {between:.0%} of the pixels neither dark nor"
            " bright; expected a change map of two values"
        )
    return HALF


def check_one_and_two(counts: np.ndarray, where: str) -> np.ndarray:
    """What each value means in a map of 1 = unchanged and 2 = changed, as `find_change_classes`.

    Raises:
        AnnotationError: there is another value.
    """
    values = np.flatnonzero(counts).tolist()
    if not values or not set(values) <= {1, 2}:
        raise AnnotationError(f"{where}: values {values[:8]}; expected 1 (unchanged), 2 (changed)")
    return (np.arange(256) == 2).astype(np.uint8)


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
    path: str,
    *,
    is_one_unchanged: bool = False,
    ignore_value: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Map (H, W) of 0 = unchanged, 1 = changed and 255 = ignore.

    Args:
        path: image file.
        is_one_unchanged: the file says 1 = unchanged, 2 = changed, whatever it contains.
        ignore_value: of pixels without label, whatever the others say; None to find out.
        max_pixels: larger maps are refused before anything is decoded.

    Raises:
        AnnotationError: the file is no change map, or is damaged.
    """
    values, is_jpeg = read_gray_values(path, max_pixels)
    counts = np.bincount(values.ravel(), minlength=256)
    is_told = np.arange(256) == ignore_value
    if counts[is_told].sum() == values.size:
        return np.full_like(values, IGNORED)
    counts[is_told] = 0
    if is_one_unchanged:
        classes = check_one_and_two(counts, path)
    else:
        classes = find_change_classes(counts, path, is_jpeg=is_jpeg)
    return np.where(is_told, IGNORED, classes).astype(np.uint8)[values]


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG file of 8-bit pixels, (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
