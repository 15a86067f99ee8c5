"""Instance masks in transit: run-length codes plus the index maps of the geometry applied so far.

Flips, nearest-neighbour resizing and crops of a mask only choose source rows and source columns.
So masks stay coded while the geometry is collected as two index vectors, and only the pixels that
are still visible at the end are ever decoded. A tile with 300 vehicles costs what its crop shows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor


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
        for mask, code in zip(masks, self.codes, strict=True):
            mask[:] = coco_mask.decode(code)[self.rows[:, None], self.cols]
        return torch.from_numpy(masks)


def take_pixels(maps: Tensor, rows: np.ndarray, cols: np.ndarray) -> Tensor:
    """Choose rows (H',) and columns (W',) of maps (..., H, W) -> (..., H', W')."""
    # numpy: several times faster here than torch.index_select on one core.
    return torch.from_numpy(maps.numpy().take(rows, axis=-2).take(cols, axis=-1))


def take_mask_pixels(
    masks: Tensor | RleMasks, rows: np.ndarray, cols: np.ndarray
) -> Tensor | RleMasks:
    """Choose rows (H',) and columns (W',) of instance masks, coded or not."""
    if isinstance(masks, RleMasks):
        return masks.take(rows, cols)
    return take_pixels(masks, rows, cols)


def select_masks(masks: Tensor | RleMasks, keep: Tensor) -> Tensor | RleMasks:
    """Keep the masks where the bool vector `keep` (N,) is true."""
    return masks.select(keep.numpy()) if isinstance(masks, RleMasks) else masks[keep]


def decode_masks(masks: Tensor | RleMasks) -> Tensor:
    """Return masks as a bool tensor (N, H, W)."""
    return masks.decode() if isinstance(masks, RleMasks) else masks


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
