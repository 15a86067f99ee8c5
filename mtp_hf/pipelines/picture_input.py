"""Pictures as users give them: files, addresses, PIL images, arrays and tensors become 8-bit RGB.

Files are read as data sets are: values of more than 8 bits are stretched between percentiles.
Pictures are turned as their EXIF orientation says.
"""

import os
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from mtp_hf.dataset_scripts._rasters import Raster

ADDRESSES = ("http://", "https://", "data:")
TIMEOUT_S = 60
WIDE_MODES = ("I", "F")  # first letter of the modes of Pillow with more than 8 bits
NUM_CHANNELS = (1, 3, 4)


def read_picture(picture: Any) -> Image.Image:
    """Read a picture.

    Args:
        picture: PIL image; path or address of a file; uint8 array (H, W) or (H, W, C) or tensor
            (H, W) or (C, H, W), gray or RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: values of more than 8 bits whose meaning is not known, or other shapes.
        TypeError: none of these.
    """
    if isinstance(picture, str) and picture.startswith(ADDRESSES):
        return _read_address(picture)
    if isinstance(picture, str | os.PathLike):
        if not Path(picture).is_file():
            raise FileNotFoundError(f"{str(picture)[:200]!r}: no such file")
        return _read_file(picture)
    if isinstance(picture, torch.Tensor):
        picture = picture.cpu().numpy()
        if picture.ndim == 3:
            picture = np.moveaxis(picture, 0, -1)  # (C, H, W) -> (H, W, C)
    if isinstance(picture, np.ndarray):
        picture = _from_array(picture)
    if not isinstance(picture, Image.Image):
        raise TypeError(
            f"expected a PIL image, a path, an address, an array or a tensor, got {type(picture)}"
        )
    if picture.mode.startswith(WIDE_MODES):
        raise ValueError(
            f"image mode {picture.mode!r} has no agreed 8-bit RGB form: give the path of its file,"
            " whose values are stretched, or convert it first"
        )
    return ImageOps.exif_transpose(picture).convert("RGB")


def _read_file(path: str | os.PathLike[str]) -> Image.Image:
    with Raster(os.fspath(path)) as raster:
        return Image.fromarray(np.ascontiguousarray(raster.read_rgb()))


def _read_address(address: str) -> Image.Image:
    """Read a copy of the file; transformers would cut 16 bits off at 255."""
    with (
        urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "picture"
        path.write_bytes(answer.read())
        return _read_file(path)


def _from_array(pixels: np.ndarray) -> Image.Image:
    is_gray = pixels.ndim == 2
    if not is_gray and (pixels.ndim != 3 or pixels.shape[2] not in NUM_CHANNELS):
        raise ValueError(
            f"expected an array (H, W) or (H, W, 3) or a tensor (3, H, W), got {pixels.shape} in"
            " the order of an array"
        )
    if pixels.dtype != np.uint8:
        raise ValueError(f"expected values 0 to 255 of uint8, got {pixels.dtype}")
    if not is_gray and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))
