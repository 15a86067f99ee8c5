"""Logits of a label map brought from the network input back to the pixels of the images.

B images, K classes, H W resolution of the head.

Source: resizing of mmsegmentation 1.0 at test time (original spec 3.4).
"""

from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def resize_bilinear(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, H, W) to (B, C, *size), corners not aligned."""
    return F.interpolate(maps, size=list(size), mode="bilinear", align_corners=False)


def resize_logits(
    logits: Tensor,
    padded_size: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
    target_sizes: Sequence[tuple[int, int]],
) -> Iterator[Tensor]:
    """Bring logits to the pixels of the original images.

    Args:
        logits: (B, K, H, W).
        padded_size: (height, width) of the network input.
        sizes: Content (height, width) of each image in the padded input.
        target_sizes: (height, width) of each map to return.

    Yields:
        For each image (K, height, width) float32.
    """
    logits = resize_bilinear(logits.float(), padded_size)
    for image, (height, width), target in zip(logits, sizes, target_sizes, strict=True):
        content = image[None, :, :height, :width]
        if tuple(target) != (height, width):
            content = resize_bilinear(content, target)
        yield content[0]
