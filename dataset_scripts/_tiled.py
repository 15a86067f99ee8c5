"""Rows of tiles: what the configs `<name>_tiles` share.

A tile is a row like any other, with `tile` saying where it was cut: `source_id` is the image, `x`
and `y` the corner in its pixels, `size` the side. Boxes and polygons are in pixels of the tile.
Its pixels are stored as PNG, so nothing is lost, with little compression: a photograph hardly
shrinks further, and writing takes half the time.

Rows come one by one while the image is read, from top to bottom.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._builder import FilesConfig
from mtp_hf.dataset_scripts._change_maps import read_change_map
from mtp_hf.dataset_scripts._change_pairs import ChangePair, check_sizes
from mtp_hf.dataset_scripts._detection_rows import DetectionRecord
from mtp_hf.dataset_scripts._pictures import PicturesConfig
from mtp_hf.dataset_scripts._rasters import Raster, Window
from mtp_hf.dataset_scripts._tiling import (
    DETECTION_BORDER,
    EVEN_BORDER,
    GRID_BORDER,
    clip_window,
    even_windows,
    grid_windows,
    objects_by_center,
    objects_by_share,
    pad_tile,
    sliding_windows,
    tile_name,
)

CUT = 2  # difficulty of an object that the border of a tile cuts
IGNORE = 255  # of a change map, where a tile reaches beyond the image
MIN_TILE_SIZE = 16
COMPRESS_LEVEL = 1


@dataclass
class TilesConfig(FilesConfig):
    """Options of every config of tiles.

    Attributes:
        tile_size: side in pixels.
    """

    tile_size: int = 256
    rows_at_once: ClassVar[int | None] = 2  # rows hold their pictures, of megabytes

    def check_options(self) -> None:
        """Refuse tiles that cannot be cut."""
        super().check_options()
        if self.tile_size < MIN_TILE_SIZE:
            raise ValueError(f"tile_size={self.tile_size}; expected {MIN_TILE_SIZE} or more")


@dataclass
class ObjectTilesConfig(TilesConfig, PicturesConfig):
    """Options of tiles with objects.

    Attributes:
        keep_empty: keep tiles of labelled images that hold no object. Training leaves them out;
            what is measured on a split without them counts no false alarm there. Test images
            and images without labels always give all their tiles.
    """

    keep_empty: bool = False


@dataclass
class SlidingTilesConfig(ObjectTilesConfig):
    """Options of tiles that overlap and whose objects count by their share of area.

    Attributes:
        overlap: pixels that neighbours share, at scale 1.
        scales: a window at scale r has the side tile_size / r and is not resized.
        min_kept: smallest share of an object's area inside a tile that has it.
        min_image: tiles with no more than this share of image are left out.
    """

    tile_size: int = 1024
    overlap: int = 200
    scales: tuple[float, ...] | list[float] = (1.0,)
    min_kept: float = 0.7
    min_image: float = 0.6

    def check_options(self) -> None:
        """Refuse tiles that cannot be cut."""
        super().check_options()
        if not 0 <= self.overlap < self.tile_size:
            raise ValueError(
                f"overlap={self.overlap}; expected 0 to {self.tile_size - 1}, less than tile_size"
            )
        if not self.scales or not all(0 < r <= self.tile_size / MIN_TILE_SIZE for r in self.scales):
            raise ValueError(
                f"scales={self.scales}; expected some numbers above 0, such that"
                f" tile_size / scale is {MIN_TILE_SIZE} or more"
            )
        for name in ("min_kept", "min_image"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}; expected a share of 0 to 1")


def read_sliding_tiles(
    record: DetectionRecord, annotations: dict[str, Any], config: SlidingTilesConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and rows of the tiles of one image of rotated objects.

    An object that the border cuts keeps its corners and gets the difficulty 2; one without area is
    in no tile.

    Args:
        record: image.
        annotations: columns of the image except those of the picture; `objects` has `polygon`.
        config: rule.
    """
    objects = annotations["objects"]
    polygons = np.asarray(objects["polygon"], np.float64).reshape(-1, 8)
    boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
    difficult = np.asarray(objects["difficult"], np.int64)
    keep_empty = config.keep_empty or record.annotation is None or record.is_test
    with Raster(record.image, max_pixels=config.max_pixels) as raster:
        windows = sliding_windows(
            raster.height,
            raster.width,
            tile_size=config.tile_size,
            overlap=config.overlap,
            scales=config.scales,
            min_image=config.min_image,
        )
        found = objects_by_share(polygons, windows, config.min_kept)
        for window, (kept, is_cut) in zip(windows, found, strict=True):
            if not len(kept) and not keep_empty:
                continue
            moved = {
                "bbox": (boxes[kept] - (window.x, window.y, 0, 0)).tolist(),
                "polygon": (polygons[kept] - (window.x, window.y) * 4).tolist(),
                "difficult": np.where(is_cut, CUT, difficult[kept]).tolist(),
            }
            pixels = raster.read_rgb(_inside(window, raster), bands=config.bands)
            picture = _tile_columns(pixels, window, record.image_id, DETECTION_BORDER)
            columns = annotations | {"objects": _choose(objects, kept) | moved}
            yield picture["image_id"], picture | columns


def read_even_tiles(
    record: DetectionRecord, annotations: dict[str, Any], config: ObjectTilesConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and rows of the tiles of one image of horizontal boxes, which are clipped.

    Boxes are clipped to the image first, so that one whose centre lies outside still counts.

    Args:
        record: image.
        annotations: columns of the image except those of the picture.
        config: rule.
    """
    objects = annotations["objects"]
    boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
    with Raster(record.image, max_pixels=config.max_pixels) as raster:
        limits = (raster.width, raster.height) * 2
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        corners = corners.clip(0, limits)
        windows = even_windows(raster.height, raster.width, tile_size=config.tile_size)
        found = objects_by_center(corners, windows)
        for window, (kept, clipped) in zip(windows, found, strict=True):
            if not len(kept) and not config.keep_empty:
                continue
            sizes = clipped[:, 2:] - clipped[:, :2]
            moved = {
                "bbox": np.concatenate([clipped[:, :2], sizes], axis=1).tolist(),
                "area": sizes.prod(axis=1).tolist(),
            }
            pixels = raster.read_rgb(_inside(window, raster), bands=config.bands)
            picture = _tile_columns(pixels, window, record.image_id, EVEN_BORDER)
            columns = annotations | {"objects": _choose(objects, kept) | moved}
            yield picture["image_id"], picture | columns


def read_pair_tiles(
    pair: ChangePair, tile_size: int, max_pixels: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and rows of the tiles of a pair of files, side by side.

    Args:
        pair: where its files are.
        tile_size: side in pixels.
        max_pixels: larger pictures are refused before anything is decoded.

    Raises:
        AnnotationError: a file is missing or damaged, sizes differ, or the map is none.
    """
    size = check_sizes(pair, max_pixels)
    pictures = {}
    for column, path in (("image", pair.image), ("image_post", pair.image_post)):
        with Raster(path, max_pixels=max_pixels) as raster:
            pictures[column] = raster.read_rgb()
    change_map = read_change_map(pair.mask, max_pixels=max_pixels) if pair.mask else None
    windows = grid_windows(*size, tile_size=tile_size)
    yield from cut_pair(pair.image_id, pictures, change_map, windows)


def cut_pair(
    image_id: str,
    pictures: dict[str, np.ndarray],
    change_map: np.ndarray | None,
    windows: Sequence[Window],
    *,
    first_row: int = 0,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and rows of the tiles of a change pair.

    Differs: where a tile reaches beyond the image, its map says 255 = ignore. The published
    patches say "unchanged" there, of two black pictures.

    Args:
        image_id: of the pair.
        pictures: `image` and `image_post`, (H, W, 3).
        change_map: (H, W), or None.
        windows: of the tiles.
        first_row: of the image, that the pictures and the map begin with.
    """
    for window in windows:
        name = tile_name(image_id, window)
        row: dict[str, Any] = {"image_id": name, "mask": None, "tile": _origin(image_id, window)}
        row |= {"width": window.width, "height": window.height}
        for column, pixels in pictures.items():
            tile = pad_tile(_cut(pixels, window, first_row), window, GRID_BORDER)
            row[column] = {"path": f"{name}_{column}.png", "bytes": encode_tile(tile)}
        if change_map is not None:
            tile = pad_tile(_cut(change_map, window, first_row), window, IGNORE)
            row["mask"] = {"path": f"{name}_mask.png", "bytes": encode_tile(tile)}
        yield name, row


def encode_tile(pixels: np.ndarray) -> bytes:
    """PNG file of 8-bit pixels, (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()


def _inside(window: Window, raster: Raster) -> Window:
    return clip_window(window, raster.height, raster.width)


def _tile_columns(
    pixels: np.ndarray, window: Window, image_id: str, border: Sequence[int]
) -> dict[str, Any]:
    """Columns of a tile, whose pixels may lack what lies beyond the picture."""
    name = tile_name(image_id, window)
    return {
        "image_id": name,
        "image": {"path": f"{name}.png", "bytes": encode_tile(pad_tile(pixels, window, border))},
        "width": window.width,
        "height": window.height,
        "tile": _origin(image_id, window),
    }


def _cut(pixels: np.ndarray, window: Window, first_row: int) -> np.ndarray:
    part = clip_window(window._replace(y=window.y - first_row), *pixels.shape[:2])
    return pixels[part.y : part.y + part.height, part.x : part.x + part.width]


def _origin(image_id: str, window: Window) -> dict[str, Any]:
    return {"source_id": image_id, "x": window.x, "y": window.y, "size": window.width}


def _choose(objects: dict[str, list], kept: np.ndarray) -> dict[str, list]:
    return {name: [values[i] for i in kept] for name, values in objects.items()}
