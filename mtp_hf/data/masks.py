"""Label maps in transit: the stored map plus the index vectors of the geometry applied so far.

Flips, nearest-neighbour resizing and crops of a map only choose source rows and source columns.
So maps stay as stored while the geometry is collected as two index vectors, and only the pixels
that are still visible at the end are ever read. A tile with 300 vehicles costs what its crop shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor


class MapView:
    """A map seen through a choice of rows and columns.

    Args:
        source: Map (h, w).
        rows: Source row of each visible row, monotonic, (H,).
        cols: Source column of each visible column, monotonic, (W,).
    """

    def __init__(self, source: Tensor, rows: np.ndarray, cols: np.ndarray) -> None:
        self.source = source
        self.rows = rows
        self.cols = cols

    def take(self, rows: np.ndarray, cols: np.ndarray) -> "MapView":
        """Choose rows (H',) and columns (W',) of the visible ones."""
        return MapView(self.source, self.rows[rows], self.cols[cols])

    def decode(self) -> Tensor:
        """Return the visible pixels, (H, W)."""
        return take_pixels(self.source, self.rows, self.cols)


class RleMasks:
    """N coded masks of one image, seen through a choice of rows and columns.

    Args:
        codes: N COCO run-length codes, `{"size": [h, w], "counts": str}`, all of one size.
        rows: Source row of each visible row, monotonic, (H,); default all rows.
        cols: Source column of each visible column, monotonic, (W,); default all columns.
        size: Source (height, width).
    """

    def __init__(
        self,
        codes: Sequence[Mapping[str, Any]],
        size: tuple[int, int],
        rows: np.ndarray | None = None,
        cols: np.ndarray | None = None,
    ) -> None:
        self.codes = list(codes)
        self.size = size
        self.rows = np.arange(size[0]) if rows is None else rows
        self.cols = np.arange(size[1]) if cols is None else cols

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (N, H, W) of the decoded masks."""
        return len(self.codes), len(self.rows), len(self.cols)

    def take(self, rows: np.ndarray, cols: np.ndarray) -> "RleMasks":
        """Choose rows (H',) and columns (W',) of the visible ones."""
        return RleMasks(self.codes, self.size, self.rows[rows], self.cols[cols])

    def select(self, keep: np.ndarray) -> "RleMasks":
        """Keep the masks where the bool vector `keep` (N,) is true."""
        codes = [code for code, kept in zip(self.codes, keep, strict=True) if kept]
        return RleMasks(codes, self.size, self.rows, self.cols)

    def decode(self) -> Tensor:
        """Return the visible pixels, bool (N, H, W)."""
        masks = np.zeros(self.shape, dtype=bool)
        boxes = coco_mask.toBbox(self.codes) if self.codes else np.zeros((0, 4))
        for mask, code, (x, y, w, h) in zip(masks, self.codes, boxes.astype(int), strict=True):
            row_span, col_span = _span(self.rows, y, y + h), _span(self.cols, x, x + w)
            if row_span.start < row_span.stop and col_span.start < col_span.stop:
                strip = decode_columns(code, x, x + w)
                strip = strip.take(self.cols[col_span] - x, axis=0).take(
                    self.rows[row_span], axis=1
                )
                mask[row_span, col_span] = strip.T
        return torch.from_numpy(masks)


def decode_columns(code: Mapping[str, Any], first: int, last: int) -> np.ndarray:
    """Decode the columns first <= x < last of one run-length code.

    pycocotools can only decode the whole image, byte by byte; this is ten times faster.

    Args:
        code: COCO compressed run-length code of size (h, w).
        first: First column.
        last: Column after the last, at most w.

    Returns:
        bool (last - first, h): columns first, as they are coded.
    """
    height = code["size"][0]
    runs = run_lengths(code["counts"])  # zeros, ones, zeros, ... down the columns
    ends = runs.cumsum()
    if ends[-1] != height * code["size"][1]:
        raise ValueError(f"a mask of size {code['size']} is coded with {ends[-1]} pixels")
    ends = ends.clip(first * height, last * height)
    is_one = np.arange(len(runs)) % 2 == 1
    pixels = np.repeat(is_one, np.diff(ends, prepend=first * height))
    return pixels.reshape(last - first, height)


def run_lengths(counts: str | bytes) -> np.ndarray:
    """Unpack the `counts` of a COCO compressed run-length code, int64 (R,).

    Each number is written in groups of five bits, lowest first, one character (offset 48) a
    group; bit 6 says that more follows, the highest bit of the last group is the sign. From the
    fourth number on, the difference to the number two places before is written.
    """
    groups = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8) - 48
    last = np.flatnonzero(groups < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    num_groups = last - first + 1
    place = np.arange(len(groups)) - np.repeat(first, num_groups)
    numbers = np.add.reduceat((groups & 31).astype(np.int64) << (5 * place), first)
    numbers -= (groups[last] >= 16).astype(np.int64) << (5 * num_groups)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def take_pixels(maps: Tensor, rows: np.ndarray, cols: np.ndarray) -> Tensor:
    """Choose rows (H',) and columns (W',) of maps (..., H, W) -> (..., H', W')."""
    # numpy: several times faster here than torch.index_select on one core.
    return torch.from_numpy(maps.numpy().take(rows, axis=-2).take(cols, axis=-1))


def view_map(labels: Tensor | MapView, rows: np.ndarray, cols: np.ndarray) -> MapView:
    """Choose rows and columns of a label map (H, W) without reading it."""
    return labels.take(rows, cols) if isinstance(labels, MapView) else MapView(labels, rows, cols)


def view_masks(masks: Tensor | RleMasks, rows: np.ndarray, cols: np.ndarray) -> Tensor | RleMasks:
    """Choose rows and columns of masks (N, H, W), without reading them where they are coded."""
    if isinstance(masks, RleMasks):
        return masks.take(rows, cols)
    return take_pixels(masks, rows, cols)


def select_masks(masks: Tensor | RleMasks, keep: Tensor) -> Tensor | RleMasks:
    """Keep the masks where the bool vector `keep` (N,) is true."""
    return masks.select(keep.numpy()) if isinstance(masks, RleMasks) else masks[keep]


def decode_maps(maps: Tensor | MapView | RleMasks) -> Tensor:
    """Return the visible pixels, whatever the form."""
    return maps if isinstance(maps, Tensor) else maps.decode()


def mask_areas(masks: Tensor) -> Tensor:
    """Number of pixels of each mask, bool (N, H, W) -> int64 (N,)."""
    areas = [int(np.count_nonzero(mask)) for mask in masks.numpy()]
    return torch.tensor(areas, dtype=torch.int64)


def boxes_from_masks(masks: Tensor) -> Tensor:
    """Bounding box of each mask.

    Args:
        masks: bool (N, H, W).

    Returns:
        float32 (N, 4), x1 y1 x2 y2 with x2, y2 one past the last pixel; zeros for an empty mask.
    """
    boxes = torch.zeros(len(masks), 4)
    for box, mask in zip(boxes, masks.numpy(), strict=True):
        ys = np.flatnonzero(mask.any(axis=1))
        if len(ys):
            xs = np.flatnonzero(mask[ys[0] : ys[-1] + 1].any(axis=0))
            box[:] = torch.tensor([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])
    return boxes


def _span(indices: np.ndarray, first: int, last: int) -> slice:
    """Where the monotonic `indices` lie in first <= index < last."""
    found = np.flatnonzero((indices >= first) & (indices < last))
    return slice(found[0], found[-1] + 1) if len(found) else slice(0, 0)
