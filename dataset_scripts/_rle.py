"""COCO run-length masks in numpy: write them, and measure them without trusting them.

A compressed RLE is a string of run lengths, column after column, background first; each length is
written in base 32 with a continuation bit, and from the fourth on as the difference to the length
two before. pycocotools decodes it in C and writes past its buffer when the lengths do not fit the
size, so files from elsewhere are measured here, where every length is checked first.

Source: the COCO mask format (maskApi of the COCO API).
"""

import numpy as np

MAX_GROUPS = 7  # 5 bits each: 35 bits hold every run of an image below 2**34 pixels


def encode_mask(mask: np.ndarray) -> dict[str, list[int] | str]:
    """Write a mask as compressed RLE.

    Args:
        mask: `(H, W)` of bool.

    Returns:
        `{"size": [H, W], "counts": ascii string}`, equal to what pycocotools writes.
    """
    height, width = mask.shape
    pixels = np.asarray(mask, bool).reshape(height, width).T.ravel()  # (H, W) -> (W * H,)
    borders = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    start = [0] if pixels.size and pixels[0] else []
    runs = np.diff(np.concatenate([start, [0], borders, [pixels.size]]).astype(np.int64))
    return {"size": [height, width], "counts": write_counts(runs.tolist())}


def rle_runs(counts: str | list[int], size: tuple[int, int]) -> np.ndarray:
    """Run lengths of a compressed or plain RLE, background first.

    Raises:
        ValueError: the string is no RLE, or its runs do not add up to height * width.
    """
    runs = _read_counts(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    pixels = size[0] * size[1]
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != pixels:
        raise ValueError(f"runs of {int(runs.sum())} pixels in a mask of {pixels} pixels")
    return runs


def measure_runs(runs: np.ndarray, height: int) -> tuple[int, list[float]]:
    """Area and bounding box (x, y, width, height) of a mask, in pixels; zeros when it is empty."""
    ends = np.cumsum(runs)[1::2]
    lengths = runs[1::2]
    starts, ends = (ends - lengths)[lengths > 0], ends[lengths > 0] - 1  # both inclusive
    if not len(starts):
        return 0, [0.0, 0.0, 0.0, 0.0]
    left, right = int(starts.min()) // height, int(ends.max()) // height
    top, bottom = int((starts % height).min()), int((ends % height).max())
    if (starts // height != ends // height).any():  # a run that wraps touches both borders
        top, bottom = 0, height - 1
    box = [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
    return int(lengths.sum()), box


def write_counts(runs: list[int]) -> str:
    """Run lengths, background first, as a compressed string."""
    text = []
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(group + 48 + (32 if more else 0)))
    return "".join(text)


def _read_counts(counts: str) -> np.ndarray:
    if not counts.isascii():
        raise ValueError("a run-length string with characters outside ASCII")
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("a run-length string that is empty, cut short or not in base 32")
    first = np.flatnonzero(np.concatenate([[True], codes[:-1] & 32 == 0]))
    groups = np.diff(np.concatenate([first, [len(codes)]]))
    if groups.max() > MAX_GROUPS:
        raise ValueError("a run-length string with a run longer than any image")
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, groups))
    values = np.add.reduceat((codes & 31) << shift, first)
    values -= np.where(codes[first + groups - 1] & 16 != 0, 1 << (5 * groups), 0)  # sign
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs
