"""Pictures and maps as rows hold them before a data set is prepared: paths, bytes or arrays."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

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
        value: path, `{"path", "bytes"}`, or an array (C, H, W).
        decode: read all pixels, which finds damage in the middle of a file.

    Raises:
        PictureError: it cannot be read.
    """
    if not isinstance(value, (str, Path, dict)):
        pixels = np.ascontiguousarray(value)
        height, width = pixels.shape[-2:]
        digest = hashlib.blake2b(pixels, digest_size=HASH_BYTES).hexdigest()
        return Header(width, height, pixels.nbytes, None, digest)
    path, content = _path_and_bytes(value)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            width, height = image.size
            if decode:
                image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        kind = "no picture" if isinstance(error, UnidentifiedImageError) else "damaged"
        raise PictureError(f"{path or 'a picture'}: {kind} ({error})") from None
    if content is None:
        return Header(width, height, os.path.getsize(path), path, None)
    digest = hashlib.blake2b(content, digest_size=HASH_BYTES).hexdigest()
    return Header(width, height, len(content), path, digest)


def open_picture(value: Any) -> Image.Image:
    """Decode a picture or a map.

    Raises:
        PictureError: it cannot be read.
    """
    path, content = _path_and_bytes(value)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path or 'a picture'}: damaged ({error})") from None


def hash_file(path: str) -> str:
    """Hash of a file's content."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _path_and_bytes(value: Any) -> tuple[str, bytes | None]:
    if isinstance(value, dict):
        return str(value.get("path") or ""), value.get("bytes")
    return str(value), None
