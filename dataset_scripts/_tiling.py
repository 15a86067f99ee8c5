"""Where tiles of an image lie and which objects are in them; numbers only, no files.

Three rules are in use. Sliding windows of one or more sizes with an overlap, an object counting
where most of it lies (DOTA, FAIR1M); evenly spread windows, an object counting where its centre
lies (xView); and a plain grid (change detection). A tile that reaches beyond the right or lower
border is padded, so all tiles of a rule have their full size.

Letters: N objects, M of them in a tile.

Source: rules of BboxToolkit and of the DOTA splits of OpenMMLab's rotated detection, of MTP's
preparation of xView, and of the patches of the change-detection sets.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mtp_hf.dataset_scripts._rasters import Window

DETECTION_BORDER = (124, 116, 104)  # about the mean colour of photographs, RGB
EVEN_BORDER = (128, 128, 128)
GRID_BORDER = (0, 0, 0)
SCALE_TIE = 0.01  # windows this close to the best share of image count as equally good
ROUNDING = 1e-9  # of a share of an area


def sliding_windows(
    height: int,
    width: int,
    *,
    tile_size: int,
    overlap: int,
    scales: Sequence[float] = (1.0,),
    min_image: float = 0.6,
) -> list[Window]:
    """Windows every `tile_size - overlap` pixels, the last moved back to the border.

    Args:
        height: of the image.
        width: of the image.
        tile_size: side of a window at scale 1.
        overlap: pixels that neighbours share at scale 1.
        scales: a window at scale r has the side `tile_size / r`; its pixels are not resized.
        min_image: windows with no more than this share of image are left out, except where none
            has more; then the best of them are kept.

    Returns:
        Windows by scale, then from top to bottom.
    """
    windows = []
    for scale in scales:
        size, shared = int(tile_size / scale), int(overlap / scale)
        windows += [
            Window(x, y, size, size)
            for y in _sliding_starts(height, size, size - shared)
            for x in _sliding_starts(width, size, size - shared)
        ]
    shares = [_share_of_image(window, height, width) for window in windows]
    best = max(shares)
    limit = min_image if best > min_image else best - SCALE_TIE
    return [window for window, share in zip(windows, shares, strict=True) if share > limit]


def even_windows(height: int, width: int, *, tile_size: int) -> list[Window]:
    """As few windows as cover the image, spread evenly; they overlap by what is left over."""
    return [
        Window(x, y, tile_size, tile_size)
        for y in _even_starts(height, tile_size)
        for x in _even_starts(width, tile_size)
    ]


def grid_windows(height: int, width: int, *, tile_size: int) -> list[Window]:
    """Windows side by side; those of the last column and row reach beyond the image."""
    return [
        Window(x, y, tile_size, tile_size)
        for y in range(0, height, tile_size)
        for x in range(0, width, tile_size)
    ]


def share_inside(polygons: np.ndarray, window: Window) -> np.ndarray:
    """Share of each polygon's area that lies in a window, exact for all that do not cross.

    The area is the integral of the height of the outline, clamped to the window, along x; an edge
    is linear, so its part is two to four trapezoids.

    Args:
        polygons: (N, 8) four corners in pixels of the image, in either direction.
        window: part of the image.

    Returns:
        (N,), 0 for a polygon without area.
    """
    corners = np.asarray(polygons, np.float64).reshape(-1, 4, 2) - (window.x, window.y)
    ends = np.roll(corners, -1, axis=1)
    step_x, step_y = np.moveaxis(ends - corners, 2, 0)  # (N, 4, 2) -> 2 x (N, 4)
    x, y = np.moveaxis(corners, 2, 0)
    whole = (step_x * (y + step_y / 2)).sum(1)
    # The part of an edge between the left and the right side of the window.
    first, last = _crossings(x, step_x, window.width)
    y, step_y, step_x = y + first * step_y, (last - first) * step_y, (last - first) * step_x
    lower, upper = _crossings(y, step_y, window.height)
    knots = np.stack([np.zeros_like(lower), lower, upper, np.ones_like(upper)])  # (4, N, 4)
    heights = (y + knots * step_y).clip(0, window.height)
    means = (np.diff(knots, axis=0) * (heights[1:] + heights[:-1]) / 2).sum(0)
    inside = (step_x * means).sum(1)
    has_area = np.abs(whole) > 0
    return np.divide(inside, whole, out=np.zeros_like(whole), where=has_area).clip(0, 1)


def objects_by_share(
    polygons: np.ndarray, windows: Sequence[Window], min_kept: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Objects of each window by the share of their area in it; one without area is in none.

    Args:
        polygons: (N, 8) four corners in pixels of the image.
        windows: parts of the image.
        min_kept: smallest share of an object that is in a tile.

    Yields:
        Indices of the objects in a window, (M,), and whether its border cuts them, (M,).
    """
    corners = np.asarray(polygons, np.float64).reshape(-1, 4, 2)
    low, high = corners.min(1), corners.max(1)  # (N, 4, 2) -> (N, 2)
    for window in windows:
        start = np.array([window.x, window.y])
        near = np.flatnonzero(
            ((high > start) & (low < start + (window.width, window.height))).all(1)
        )
        shares = share_inside(corners[near], window)
        kept = shares >= max(min_kept, ROUNDING) - ROUNDING
        kept &= shares > 0
        yield near[kept], shares[kept] < 1 - ROUNDING


def objects_by_center(
    boxes: np.ndarray, windows: Sequence[Window]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Objects of each window that has their centre, clipped to its pixels.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels of the image.
        windows: parts of the image.

    Yields:
        Indices of the objects, (M,), and their boxes, (M, 4), in pixels of the window, between 0
        and its size - 1. A box without an extent after that is left out.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    for window in windows:
        start = np.array([window.x, window.y])
        size = np.array([window.width, window.height])
        inside = ((centers >= start) & (centers < start + size)).all(1)
        clipped = (boxes - np.tile(start, 2)).clip(0, np.tile(size - 1, 2))
        inside &= (clipped[:, 2:] > clipped[:, :2]).all(1)
        yield np.flatnonzero(inside), clipped[inside]


def clip_window(window: Window, height: int, width: int) -> Window:
    """The part of a window that is image."""
    x, y = window.x, window.y
    return Window(x, y, min(window.width, width - x), min(window.height, height - y))


def pad_tile(pixels: np.ndarray, window: Window, border: Sequence[int] | int) -> np.ndarray:
    """Fill the right and lower part of a tile that its image lacks.

    Args:
        pixels: (H, W) or (H, W, C), the part of the window that is image.
        window: the whole of it.
        border: value, or color.

    Returns:
        (window.height, window.width) or with C.
    """
    if pixels.shape[:2] == (window.height, window.width):
        return pixels
    padded = np.empty((window.height, window.width, *pixels.shape[2:]), pixels.dtype)
    padded[...] = border
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded


def tile_name(source_id: str, window: Window) -> str:
    """Name of a tile that tools which merge predictions read: `P0706__1024__824___0`."""
    return f"{source_id}__{window.width}__{window.x}___{window.y}"


def _sliding_starts(length: int, size: int, step: int) -> list[int]:
    if length <= size:
        return [0]
    count = math.ceil((length - size) / step + 1)
    return [*(step * i for i in range(count - 1)), length - size]


def _even_starts(length: int, size: int) -> list[int]:
    left = max(length, size) - size
    return np.linspace(0, left, math.ceil(left / size) + 1).astype(int).tolist()


def _share_of_image(window: Window, height: int, width: int) -> float:
    part = clip_window(window, height, width)
    return part.width * part.height / (window.width * window.height)


def _crossings(start: np.ndarray, step: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Between which parts of an edge, 0...1, its coordinate is in 0...limit."""
    safe = np.where(step == 0, 1.0, step)
    zero, full = ((value - start) / safe for value in (0, limit))
    constant = step == 0  # the whole edge; clamping or a width of zero does the rest
    low = np.where(constant, 0.0, np.minimum(zero, full)).clip(0, 1)
    high = np.where(constant, 1.0, np.maximum(zero, full)).clip(0, 1)
    return low, high
