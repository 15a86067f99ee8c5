"""Prediction of large images window by window, the logits of overlapping windows averaged.

B batch, K classes, H W image size.

Source: slide inference of mmsegmentation 1.0 (original spec 3.4).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin on one axis.

    The last window is moved inwards to end with the image; an image smaller than a window has one
    window, which is as small as the image.

    Args:
        length: Of the image, in pixels.
        window: Of a window.
        stride: From one window to the next.
    """
    count = max(length - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - window), 0) for i in range(count)]


def slide_windows(
    compute: Callable[..., Tensor],
    images: tuple[Tensor, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
) -> Tensor:
    """Average the logits of all windows that see a pixel.

    Args:
        compute: Maps a window of each image, (B, C, h, w), to logits (B, K, h, w).
        images: Images of the same size (B, C, H, W), such as a pair of dates.
        window: (height, width) of a window in pixels.
        stride: (vertical, horizontal) from one window to the next, at most a window.

    Returns:
        (B, K, H, W) float32.

    Raises:
        ValueError: a stride under 1, or one that would leave pixels out.
    """
    for side, step in zip(window, stride, strict=True):
        if not 1 <= step <= side:
            raise ValueError(f"a window stride of {stride} does not fit windows of {window} pixels")
    height, width = images[0].shape[-2:]
    logits: Tensor | None = None
    count = images[0].new_zeros((1, 1, height, width), dtype=torch.float32)
    for top in window_starts(height, window[0], stride[0]):
        for left in window_starts(width, window[1], stride[1]):
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            part = compute(*(image[place] for image in images)).float()
            if logits is None:
                logits = part.new_zeros((*part.shape[:2], height, width))
            logits[place] += part
            count[place] += 1
    assert logits is not None  # there is always a first window
    return logits / count
