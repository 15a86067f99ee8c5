"""Square windows of a token map: cutting, joining, and reading at places that differ by head.

`sample_tokens` equals `grid_sample` with zero padding, but it reads whole rows of channels: several
times faster on a CPU, no copy into channel-first maps, no atomic additions in the backward pass.

Letters: B batch, M heads, C channels, E channels of a head, H W token grid, H' W' the grid padded
to whole windows, s side of a window, P windows of an image, n places in a window.

Source: RVSA (https://arxiv.org/abs/2208.03987), section III-C.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def window_padding(length: int, side: int) -> tuple[int, int]:
    """Return how many empty tokens to add before and after a row for whole windows."""
    missing = -length % side
    return missing // 2, missing - missing // 2


def cut_windows(x_map: Tensor, side: int) -> Tensor:
    """Pad (B, H, W, C) with zeros to whole windows, (B, H'/s, s, W'/s, s, C)."""
    pad = (0, 0, *window_padding(x_map.shape[2], side), *window_padding(x_map.shape[1], side))
    if any(pad):
        x_map = F.pad(x_map, pad)
    return x_map.unflatten(2, (-1, side)).unflatten(1, (-1, side))


def join_windows(x: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Undo `cut_windows`: from (BP, ss, C) to tokens (B, HW, C) without the padding."""
    (top, bottom), (left, right) = (window_padding(length, side) for length in grid)
    rows, columns = (top + grid[0] + bottom) // side, (left + grid[1] + right) // side
    x = x.reshape(-1, rows, columns, side, side, x.shape[-1]).transpose(2, 3)
    x = x.flatten(3, 4).flatten(1, 2)  # (B, rows, s, columns, s, C) -> (B, H', W', C)
    return x[:, top : top + grid[0], left : left + grid[1]].flatten(1, 2)


def sample_tokens(tokens: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Read a token map bilinearly; everything outside the map is zero.

    Args:
        tokens: (B, H, W, M, E).
        x: columns to read, (B, P, M, n) float32; 0 is the centre of the first token.
        y: rows to read, likewise.

    Returns:
        (B, P, M, n, E) in the dtype of the tokens, interpolated in float32.
    """
    batch, height, width, heads, channels = tokens.shape
    # One token beyond the border is as empty as any place further out.
    x, y = x.clamp(-1, width), y.clamp(-1, height)
    left, top = x.detach().floor(), y.detach().floor()
    right_part, bottom_part = x - left, y - top
    corners_x = torch.stack((left, left + 1, left, left + 1), -1).long()  # (B, P, M, n, 4)
    corners_y = torch.stack((top, top, top + 1, top + 1), -1).long()
    horizontal = torch.stack((1 - right_part, right_part), -1)
    vertical = torch.stack((1 - bottom_part, bottom_part), -1)
    weights = (vertical[..., :, None] * horizontal[..., None, :]).flatten(-2)
    inside_x = (corners_x >= 0) & (corners_x < width)
    inside_y = (corners_y >= 0) & (corners_y < height)
    weights = weights * (inside_x & inside_y)

    image = torch.arange(batch, device=tokens.device).view(-1, 1, 1, 1, 1)
    head = torch.arange(heads, device=tokens.device).view(-1, 1, 1)
    rows = image * height + corners_y.clamp(0, height - 1)
    rows = (rows * width + corners_x.clamp(0, width - 1)) * heads + head
    read = F.embedding_bag(
        rows.reshape(-1, 4),
        tokens.reshape(-1, channels).float(),
        per_sample_weights=weights.reshape(-1, 4),
        mode="sum",
    )
    return read.view(*x.shape, channels).to(tokens.dtype)
