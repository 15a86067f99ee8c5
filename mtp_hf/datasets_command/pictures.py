"""Pictures and maps as rows hold them before a data set is prepared: paths, bytes or arrays."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtp_hf.dataset_scripts._readers import MAX_PIXELS, no_limit_of_pillow

HASH_BYTES = 16
CHUNK_BYTES = 1 << 20


class Header(NamedTuple):
    """What a picture tells without being decoded.

    Attributes:
        digest: hash of the content; None for a file, which is hashed when its size recurs.
    """

    width: int
    height: int
    num_bytes: int
    path: str | None
    digest: str | None


class PictureError(ValueError):
    """A picture that cannot be read."""


def read_header(value: Any, *, decode: bool = False) -> Header:
    """Size of a picture, and what tells it from others.

    Args:
        value: path, `{"path", "bytes"}`, a list of these for the bands, or an array (C, H, W).
        decode: read all pixels, which finds damage in the middle of a file.

    Raises:
        PictureError: it cannot be read.
    """
    if is_band_list(value):
        bands = [read_header(band, decode=decode) for band in value]
        digests = "".join(band.digest or hash_file(str(band.path)) for band in bands)
        num_bytes = sum(band.num_bytes for band in bands)
        return Header(bands[0].width, bands[0].height, num_bytes, None, digests)
    if not isinstance(value, (str, Path, dict)):
        pixels = np.ascontiguousarray(value)
        height, width = pixels.shape[-2:]
        digest = hashlib.blake2b(pixels.data, digest_size=HASH_BYTES).hexdigest()
        return Header(width, height, pixels.nbytes, None, digest)
    path, content = _path_and_bytes(value)
    with _opened(path, content) as image:
        width, height = image.size
        if decode:
            image.load()
    if content is None:
        return Header(width, height, os.path.getsize(path), path, None)
    digest = hashlib.blake2b(content, digest_size=HASH_BYTES).hexdigest()
    return Header(width, height, len(content), path, digest)


def open_picture(value: Any) -> Image.Image:
    """Decode a picture or a map.

    Raises:
        PictureError: it cannot be read.
    """
    with _opened(*_path_and_bytes(value)) as image:
        image.load()
        return image


def is_band_list(value: Any) -> bool:
    """Whether a picture is a list of pictures, one a band."""
    return isinstance(value, list) and isinstance(value[0], (str, Path, dict))


def hash_file(path: str) -> str:
    """Hash of a file's content."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(path: str, content: bytes | None) -> Iterator[Image.Image]:
    try:
        with (
            no_limit_of_pillow(),
            Image.open(path if content is None else io.BytesIO(content)) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, over {MAX_PIXELS:,}")
            yield image
    except (OSError, SyntaxError, ValueError) as error:
        kind = "no picture" if isinstance(error, UnidentifiedImageError) else "damaged"
        raise PictureError(f"{path or 'a picture'}: {kind} ({error})") from None


def _path_and_bytes(value: Any) -> tuple[str, bytes | None]:
    if isinstance(value, dict):
        return str(value.get("path") or ""), value.get("bytes")
    return str(value), None
