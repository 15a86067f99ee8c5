"""Sizes of images as callers give them: pairs, or a tensor of a processor."""

from collections.abc import Sequence

from torch import Tensor

Size = tuple[int, int]  # height, width
Sizes = Tensor | Sequence[Tensor | Sequence[int]]


def read_size(size: Tensor | Sequence[int]) -> Size:
    """Read height and width."""
    height, width = (int(side) for side in size)
    return height, width


def read_sizes(sizes: Sizes | None, default: list[Size], name: str = "sizes") -> list[Size]:
    """Read one size for each image, from a tensor (B, 2) or a list.

    Args:
        sizes: see above; None takes the default.
        default: of B images.
        name: of the argument, for the message.

    Raises:
        ValueError: another number of sizes.
    """
    if sizes is None:
        return default
    if len(sizes) != len(default):
        raise ValueError(f"{len(default)} images but {len(sizes)} {name}")
    return [read_size(size) for size in sizes]
