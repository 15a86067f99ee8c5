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

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (H, W) of the visible pixels."""
        return len(self.rows), len(self.cols)

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

    def decode(self) -> tuple[Tensor, Tensor]:
        """Read the visible pixels.

        Returns:
            masks, bool (N, H, W), and their `boxes_from_masks`, float32 (N, 4).
        """
        masks = np.zeros(self.shape, dtype=bool)
        visible = np.zeros((len(self), 4), dtype=np.float32)
        if not len(self):
            return torch.from_numpy(masks), torch.from_numpy(visible)
        x, y, w, h = coco_mask.toBbox(self.codes).astype(int).T
        col_spans, row_spans = _spans(self.cols, x, x + w), _spans(self.rows, y, y + h)
        is_seen = (col_spans[:, 0] < col_spans[:, 1]) & (row_spans[:, 0] < row_spans[:, 1])
        seen = np.flatnonzero(is_seen)
        for i, runs in zip(seen, run_lengths([self.codes[i]["counts"] for i in seen]), strict=True):
            rows, cols = slice(*row_spans[i]), slice(*col_spans[i])
            strip = decode_columns(runs, self.size, x[i], x[i] + w[i])
            block = strip.take(self.cols[cols] - x[i], axis=0).take(self.rows[rows], axis=1).T
            masks[i, rows, cols] = block
            visible[i] = _box(block, cols.start, rows.start)
        return torch.from_numpy(masks), torch.from_numpy(visible)


def run_lengths(counts: Sequence[str | bytes]) -> list[np.ndarray]:
    """Unpack the `counts` of COCO compressed run-length codes: zeros, ones, zeros, ...

    Each number is written in groups of five bits, lowest first, one character (offset 48) a
    group; bit 6 says that more follows, the highest bit of the last group is the sign. From the
    fourth number of a code on, the difference to the number two places before is written.

    Args:
        counts: N codes, unpacked together.

    Returns:
        N vectors int64.
    """
    texts = [text.encode() if isinstance(text, str) else text for text in counts]
    groups = np.frombuffer(b"".join(texts), np.uint8) - 48
    if not len(groups):
        return []
    last = np.flatnonzero(groups < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    num_groups = last - first + 1
    place = np.arange(len(groups)) - np.repeat(first, num_groups)
    numbers = np.add.reduceat((groups & 31).astype(np.int64) << (5 * place), first)
    numbers -= (groups[last] >= 16).astype(np.int64) << (5 * num_groups)
    text_ends = np.cumsum([len(text) for text in texts])
    runs = np.split(numbers, np.searchsorted(last, text_ends[:-1]))
    for run in runs:
        run[1::2] = run[1::2].cumsum()
        run[2::2] = run[2::2].cumsum()
    return runs


def decode_columns(runs: np.ndarray, size: tuple[int, int], first: int, last: int) -> np.ndarray:
    """Decode the columns first <= x < last of one mask.

    pycocotools can only decode the whole image, byte by byte; this is ten times faster.

    Args:
        runs: Run lengths down the columns, zeros first.
        size: (height, width) of the mask.
        first: First column.
        last: Column after the last, at most width.

    Returns:
        bool (last - first, height): columns first, as they are coded.
    """
    height, width = size
    ends = np.concatenate([[0], runs.cumsum()])
    if ends[-1] != height * width:
        raise ValueError(f"a mask of size {size} is coded with {ends[-1]} pixels")
    ends = ends.clip(first * height, last * height)
    is_one = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_one, ends[1:] - ends[:-1]).reshape(last - first, height)


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
    if isinstance(masks, RleMasks):
        return masks.select(keep.numpy())
    return masks if keep.all() else masks[keep]  # a copy of tens of megabytes is worth avoiding


def decode_map(labels: Tensor | MapView) -> Tensor:
    """Return the visible pixels of a label map, (H, W)."""
    return labels.decode() if isinstance(labels, MapView) else labels


def decode_masks(masks: Tensor | RleMasks) -> Tensor:
    """Return the visible pixels of masks, bool (N, H, W)."""
    return masks.decode()[0] if isinstance(masks, RleMasks) else masks


def decode_with_boxes(masks: Tensor | RleMasks) -> tuple[Tensor, Tensor]:
    """Return the visible pixels of masks, bool (N, H, W), and their boxes, float32 (N, 4)."""
    return masks.decode() if isinstance(masks, RleMasks) else (masks, boxes_from_masks(masks))


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
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks.numpy(), strict=True):
        box[:] = _box(mask, 0, 0)
    return torch.from_numpy(boxes)


def _box(mask: np.ndarray, left: int, top: int) -> tuple[int, int, int, int]:
    """Box of a mask (h, w) whose corner lies at (left, top); zeros if it is empty."""
    ys = np.flatnonzero(mask.any(axis=1))
    if not len(ys):
        return 0, 0, 0, 0
    xs = np.flatnonzero(mask[ys[0] : ys[-1] + 1].any(axis=0))
    return left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1


def _spans(indices: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Where the monotonic `indices` (L,) lie in first <= index < last: slices (N, 2)."""
    if len(indices) and indices[0] > indices[-1]:
        return len(indices) - _spans(indices[::-1], first, last)[:, ::-1]
    return np.stack([np.searchsorted(indices, first), np.searchsorted(indices, last)], axis=1)
