"""Cut the whole pair of WHU-CD, 32,507 x 15,354 pixels, into tiles, a strip of them at a time.

A strip is one row of the grid, so no more than its rows of the three files is held, and several
processes share the strips. What the values of the map mean is found once in every process,
from the whole file, because a strip may hold one value only.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mtp_hf.dataset_scripts._change_maps import find_change_classes, read_gray_window
from mtp_hf.dataset_scripts._change_pairs import ChangePair, check_sizes
from mtp_hf.dataset_scripts._rasters import Raster, Window
from mtp_hf.dataset_scripts._tiled import cut_pair
from mtp_hf.dataset_scripts._tiling import clip_window, grid_windows, tile_name

ROWS_AT_ONCE = 256  # of a map whose values are counted


class Strip(NamedTuple):
    """Tiles of one split in one row of the grid of a mosaic."""

    mosaic: ChangePair
    windows: tuple[Window, ...]


def list_strips(
    mosaics: list[ChangePair],
    draw_splits: Callable[[list[str]], dict[str, list[str]]],
    tile_size: int,
    max_pixels: int,
) -> dict[str, list[Strip]]:
    """Divide the grid of all mosaics among splits; only headers are read.

    Args:
        mosaics: pairs and their maps.
        draw_splits: makes splits from ids of tiles.
        tile_size: side in pixels.
        max_pixels: larger pictures are refused.

    Raises:
        AnnotationError: the files of a mosaic differ in size, or are no images.
    """
    places = {}
    for mosaic in mosaics:
        height, width = check_sizes(mosaic, max_pixels)
        for window in grid_windows(height, width, tile_size=tile_size):
            places[tile_name(mosaic.image_id, window)] = mosaic, window
    strips: dict[str, list[Strip]] = {}
    for split, names in draw_splits(list(places)).items():
        chosen = set(names)
        rows: dict[tuple[ChangePair, int], list[Window]] = {}
        for name, (mosaic, window) in places.items():  # in the order of the grid
            if name in chosen:
                rows.setdefault((mosaic, window.y), []).append(window)
        strips[split] = [Strip(mosaic, tuple(windows)) for (mosaic, _), windows in rows.items()]
    return strips


def read_strip(strip: Strip, max_pixels: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and rows of the tiles of a strip.

    Raises:
        AnnotationError: a file is damaged, or the map is none.
    """
    mosaic, windows = strip
    classes = _find_classes(mosaic.mask, max_pixels)
    top = windows[0].y
    pictures = {}
    for column, path in (("image", mosaic.image), ("image_post", mosaic.image_post)):
        with Raster(path, max_pixels=max_pixels) as raster:
            rows = clip_window(
                Window(0, top, raster.width, windows[0].height), raster.height, raster.width
            )
            pictures[column] = raster.read_rgb(rows)
    with Raster(mosaic.mask, max_pixels=max_pixels) as raster:
        change_map = classes[read_gray_window(raster, rows)]
    yield from cut_pair(mosaic.image_id, pictures, change_map, windows, first_row=top)


@functools.lru_cache(maxsize=4)
def _find_classes(path: str, max_pixels: int) -> np.ndarray:
    """What each value of a map means."""
    counts = np.zeros(256, np.int64)
    with Raster(path, max_pixels=max_pixels) as raster:
        for top in range(0, raster.height, ROWS_AT_ONCE):
            rows = Window(0, top, raster.width, min(ROWS_AT_ONCE, raster.height - top))
            counts += np.bincount(read_gray_window(raster, rows).ravel(), minlength=256)
    return find_change_classes(counts, path)
