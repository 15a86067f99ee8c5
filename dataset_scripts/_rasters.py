"""Read the pixels of an image file, whole or by window, without holding more than needed.

A PNG is decoded row by row and a TIFF by its blocks, so a window of a picture of 20,000 x 20,000
pixels costs the rows it lies in, not the picture. Other files (JPEG, PNGs with a palette, with
less than 8 bits, interlaced or turned by EXIF) are decoded whole by Pillow. A file is what its
first bytes say, whatever its name; GDAL sees no other format and looks at no file beside it.
"""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.windows
from PIL import Image, ImageOps, UnidentifiedImageError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from mtp_hf.dataset_scripts._errors import AnnotationError, naming_absent
from mtp_hf.dataset_scripts._readers import (
    IMAGE_ENDS,
    MAX_PIXELS,
    ORIENTATION,
    TAIL_BYTES,
    UPRIGHT,
    no_limit_of_pillow,
    read_orientation,
)

GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_CACHEMAX": 16 * 2**20,  # bytes; GDAL would take a share of the machine's memory
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no side files
}
BYTES_AT_ONCE = GDAL_OPTIONS["GDAL_CACHEMAX"] // 4  # decoded in one call
PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEAD_BYTES = 2**16  # that are searched for EXIF, which lies before the pixels
PNG_DEPTHS = (8, 16)
PNG_COLORS = (0, 2, 4, 6)  # gray, RGB and both with alpha; 3 is a palette
PLAIN_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "F", "I;16", "I;16B")  # values as stored
BLACK_AND_WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)  # of pixels of one bit
PICTURE_BANDS = {1: (1,), 2: (1,), 3: (1, 2, 3), 4: (1, 2, 3)}  # the last of 2 or 4 is no color
PERCENTILES = (2, 98)  # of an image of more than 8 bits: become 0 and 255
SAMPLE_SIDE = 1024  # rows and columns that are looked at for them


class Window(NamedTuple):
    """Part of an image in pixels; a tile may reach beyond the right and lower border."""

    x: int
    y: int
    width: int
    height: int


def stretch_to_uint8(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low...high to 0...255, clipped and rounded; NaN becomes 0."""
    scaled = (pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return np.nan_to_num(scaled.clip(0, 255)).round().astype(np.uint8)


class Raster:
    """An open image file.

    Args:
        path: PNG, TIFF, or what else Pillow opens.
        max_pixels: larger pictures are refused before anything is decoded.

    Attributes:
        height: rows.
        width: columns.
        num_bands: values of a pixel as stored; a palette counts as one, and one bit is 0 or 1.
        dtype: type of a value.

    Raises:
        AnnotationError: on opening and reading: the file is no image, is damaged or cut short, or
            claims more than `max_pixels`.
        MissingFileError: it is not there.
    """

    def __init__(self, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.path = str(path)
        self.max_pixels = max_pixels
        self._file: DatasetReader | None = None
        self._pixels: np.ndarray | None = None  # (H, W, C), what Pillow decoded
        self._rows: np.ndarray | None = None  # (C, rows, W), the rows decoded last
        self._first_row = 0
        self._rows_bands: tuple[int, ...] = ()
        self._limits: dict[tuple[int, ...], tuple[float, float]] = {}

    def __enter__(self) -> "Raster":
        with self._name_file_in_errors():
            driver = _find_driver(self.path)
            if driver is None:
                with no_limit_of_pillow(), Image.open(self.path) as image:
                    self.width, self.height = image.size
                    self._refuse_bomb()
                    self._decode_whole(image)
                return self
            with _gdal(), warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                file = self._file = rasterio.open(self.path, driver=driver)
            self.height, self.width = file.shape
            self.num_bands, self.dtype = file.count, np.dtype(file.dtypes[0])
            self._is_by_rows = file.block_shapes[0][1] == self.width
            self._refuse_bomb()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._rows = self._pixels = None

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> np.ndarray:
        """Values as stored.

        Args:
            window: part within the image; None for all of it.
            bands: numbers from 1; None for all.

        Returns:
            (H, W, C).
        """
        window = Window(0, 0, self.width, self.height) if window is None else window
        chosen = tuple(range(1, self.num_bands + 1) if bands is None else bands)
        self._check(window, chosen)
        columns = slice(window.x, window.x + window.width)
        if self._pixels is not None:
            rows = slice(window.y, window.y + window.height)
            return self._pixels[rows, columns][..., [band - 1 for band in chosen]]
        if self._is_by_rows:
            found = self._read_rows(window.y, window.y + window.height, chosen)[:, :, columns]
        else:
            found = np.empty((len(chosen), window.height, window.width), self.dtype)
            self._read_file(window, chosen, found)
        return found.transpose(1, 2, 0).copy()  # (C, H, W) -> (H, W, C)

    def read_rgb(
        self,
        window: Window | None = None,
        *,
        bands: Sequence[int] | None = None,
        limits: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Picture of 8 bits: gray is repeated, alpha dropped, a palette looked up.

        Args:
            window: part within the image; None for all of it.
            bands: one or three, as red, green and blue; None for the first three of up to four.
            limits: values that become 0 and 255; None for 8-bit values as they are, and for
                others the percentiles of the whole image, so that all windows look alike.

        Returns:
            (H, W, 3).
        """
        if bands is None and self.num_bands not in PICTURE_BANDS:
            raise AnnotationError(
                f"{self.path}: {self.num_bands} bands of {self.dtype}; expected 1 to 4, or the"
                " numbers of three (option bands=[3, 2, 1])"
            )
        chosen = PICTURE_BANDS[self.num_bands] if bands is None else tuple(bands)
        pixels = self.read(window, chosen)
        if self._palette is not None:
            return self._palette[np.minimum(pixels[..., 0], len(self._palette) - 1)]
        if limits or self.dtype != np.uint8:
            pixels = stretch_to_uint8(pixels, *(limits or self._find_limits(chosen)))
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    def _read_rows(self, top: int, bottom: int, bands: tuple[int, ...]) -> np.ndarray:
        """Whole rows (C, H, W); those shared with the last call are not decoded again."""
        if self._rows is None or bands != self._rows_bands or top < self._first_row:
            self._rows, self._rows_bands = np.empty((len(bands), 0, self.width), self.dtype), bands
            self._first_row = top
        decoded_to = self._first_row + self._rows.shape[1]
        if bottom > decoded_to:
            num_kept = max(0, decoded_to - top)  # none where there is a gap
            if self._rows.shape[1] == bottom - top:
                _move_to_front(self._rows, num_kept)
            else:
                kept = self._rows[:, self._rows.shape[1] - num_kept :]
                self._rows = np.empty((len(bands), bottom - top, self.width), self.dtype)
                self._rows[:, :num_kept] = kept
            self._first_row = top
            missing = Window(0, top + num_kept, self.width, bottom - top - num_kept)
            self._read_file(missing, bands, self._rows[:, num_kept:])
        return self._rows[:, top - self._first_row : bottom - self._first_row]

    def _read_file(self, window: Window, bands: tuple[int, ...], out: np.ndarray) -> None:
        """Decode a window into `out` (C, H, W), some rows at a time.

        The bands of a pixel mostly lie together but are asked for one after the other, so the cache
        of GDAL has to hold what it decoded; it would have to decode a PNG from its start again.
        """
        assert self._file is not None
        step = max(1, BYTES_AT_ONCE // (window.width * self.num_bands * self.dtype.itemsize))
        with self._name_file_in_errors(), _gdal():
            for row in range(0, window.height, step):
                height = min(step, window.height - row)
                part = rasterio.windows.Window(window.x, window.y + row, window.width, height)
                out[:, row : row + height] = self._file.read(list(bands), window=part)

    def _read_sample(self, bands: tuple[int, ...], steps: tuple[int, int]) -> np.ndarray:
        """Every some rows and columns of the whole image, (C, H, W)."""
        assert self._file is not None
        shape = (len(bands), self.height // steps[0], self.width // steps[1])
        with self._name_file_in_errors(), _gdal():
            return self._file.read(list(bands), out_shape=shape)

    def _decode_whole(self, image: Image.Image) -> None:
        """Decode a file, turned as who opens it would see it."""
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        palette = image.getpalette("RGB") if image.mode == "P" else None
        if palette is not None:
            self._palette = np.array(palette, np.uint8).reshape(-1, 3)
        if image.mode not in PLAIN_MODES:
            image = image.convert("RGB")
        pixels = np.asarray(image)
        if image.mode == "1":
            pixels, self._palette = pixels.astype(np.uint8), BLACK_AND_WHITE
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        self._pixels, self.num_bands, self.dtype = pixels, pixels.shape[2], pixels.dtype
        self.height, self.width = pixels.shape[:2]

    @functools.cached_property
    def _palette(self) -> np.ndarray | None:
        """Colors (N, 3) of an image that stores their numbers."""
        if self._file is None or self.num_bands > 1:
            return None
        try:
            colors = self._file.colormap(1)
        except ValueError:  # there is none
            num_bits = self._file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
            return BLACK_AND_WHITE if num_bits == "1" else None
        return np.array([colors[i][:3] for i in sorted(colors)], np.uint8)

    def _find_limits(self, bands: tuple[int, ...]) -> tuple[float, float]:
        """Percentiles over the whole image and all its bands together."""
        if bands in self._limits:
            return self._limits[bands]
        steps = max(1, self.height // SAMPLE_SIDE), max(1, self.width // SAMPLE_SIDE)
        if self._pixels is not None:
            sample = self._pixels[:: steps[0], :: steps[1]][..., [band - 1 for band in bands]]
        else:
            sample = self._read_sample(bands, steps)
        low, high = np.nanpercentile(sample.astype(np.float32), PERCENTILES)
        self._limits[bands] = float(low), float(high)
        return self._limits[bands]

    def _check(self, window: Window, bands: tuple[int, ...]) -> None:
        x, y, width, height = window
        if (
            min(x, y) < 0
            or min(width, height) < 1
            or x + width > self.width
            or y + height > self.height
        ):
            raise ValueError(
                f"{self.path}: {window}; expected a part of {self.width} x {self.height} pixels"
            )
        if not bands or not all(1 <= band <= self.num_bands for band in bands):
            raise AnnotationError(
                f"{self.path}: bands {list(bands)} were asked for; the file has 1 to"
                f" {self.num_bands}"
            )

    def _refuse_bomb(self) -> None:
        if self.width * self.height > self.max_pixels:
            raise AnnotationError(
                f"{self.path}: the image claims {self.width} x {self.height} pixels; expected at"
                f" most {self.max_pixels}, which guards against decompression bombs"
            )

    @contextlib.contextmanager
    def _name_file_in_errors(self) -> Iterator[None]:
        try:
            yield
        except AnnotationError:
            raise
        except (OSError, SyntaxError, ValueError, TypeError, RasterioError) as error:
            kind = "no image" if isinstance(error, UnidentifiedImageError) else "damaged"
            cause = error.__cause__ or error
            raise AnnotationError(f"{self.path}: the image file is {kind} ({cause})") from None


def _move_to_front(rows: np.ndarray, num_kept: int) -> None:
    """Move the last rows of (C, rows, W) to the front; at once, numpy would copy them all."""
    step = rows.shape[1] - num_kept
    for row in range(0, num_kept, max(1, step)):
        end = min(row + step, num_kept)
        rows[:, row:end] = rows[:, row + step : end + step]


@contextlib.contextmanager
def _gdal() -> Iterator[None]:
    with rasterio.Env(**GDAL_OPTIONS):
        yield


def _find_driver(path: str) -> str | None:
    """Driver of GDAL for a file; None for those that Pillow decodes whole."""
    with naming_absent(path), open(path, "rb") as file:
        start = file.read(29)
        has_exif = b"eXIf" in file.read(HEAD_BYTES)
        file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
        is_cut = IMAGE_ENDS["PNG"] not in file.read()
    if start.startswith(TIFF_STARTS):
        return None if _is_turned_tiff(path) else "GTiff"
    if start.startswith(PNG_START) and len(start) == 29:
        depth, color, interlaced = start[24], start[25], start[28]
        # GDAL fills what a cut file lacks; Pillow says so.
        plain = depth in PNG_DEPTHS and color in PNG_COLORS and not interlaced and not is_cut
        return "PNG" if plain and not (has_exif and _is_turned(path)) else None
    return None


def _is_turned(path: str) -> bool:
    with no_limit_of_pillow(), Image.open(path) as image:
        return read_orientation(image) != UPRIGHT


def _is_turned_tiff(path: str) -> bool:
    """Whether a tag turns the picture: Pillow obeys it, GDAL does not."""
    try:
        with no_limit_of_pillow(), Image.open(path) as image:
            tags = getattr(image, "tag_v2", {})
            return tags.get(ORIENTATION, UPRIGHT) in range(2, 9)
    except (OSError, SyntaxError, ValueError, TypeError):  # GDAL reads more kinds of TIFF
        return False
