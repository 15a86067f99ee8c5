"""Absolute and relative position tables of a vision transformer: reading and resizing.

Letters: B batch, C channels, D head size, H W token grid, S side of the grid a table was made for.

Source: decomposed relative positions, Li et al. 2022 (MViTv2, https://arxiv.org/abs/2112.01526),
section 4.1; resizing as in `init_weights` of the original `vit_rvsa_mtp.py`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def resize_position_embedding(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate an absolute position table bicubically, without antialiasing.

    Args:
        table: (1, S S, C), of a square grid, without class token.
        grid: rows and columns wanted.

    Returns:
        (1, H W, C); the table itself where the grid is the same.
    """
    side = math.isqrt(table.shape[1])
    if tuple(grid) == (side, side):
        return table
    image = table.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, SS, C) -> (1, C, S, S)
    image = F.interpolate(image.float(), size=grid, mode="bicubic", align_corners=False)
    return image.flatten(2).transpose(1, 2).to(table.dtype)  # (1, C, H, W) -> (1, HW, C)


def resize_rel_pos(table: Tensor, length: int) -> Tensor:
    """Interpolate a table of relative positions (2S - 1, D) to (length, D), as a bicubic image."""
    if table.shape[0] == length:
        return table
    image = table[None, None].float()  # (2S-1, D) -> (1, 1, 2S-1, D)
    size = (length, table.shape[1])
    image = F.interpolate(image, size=size, mode="bicubic", align_corners=False)
    return image[0, 0].to(table.dtype)


def distance_index(length: int, device: torch.device) -> Tensor:
    """Return the table row of every pair, (length, length): query minus key plus length - 1."""
    places = torch.arange(length, device=device)
    return places[:, None] - places + length - 1


def relative_position_terms(
    query: Tensor, table_h: Tensor, table_w: Tensor
) -> tuple[Tensor, Tensor]:
    """Multiply each query with the table rows of its distance to every key row and key column.

    Args:
        query: (B, H, W, D).
        table_h: (2H - 1, D), see `distance_index` for the order.
        table_w: (2W - 1, D).

    Returns:
        (B, H, W, H) over key rows and (B, H, W, W) over key columns.
    """
    by_row = table_h[distance_index(query.shape[1], query.device)]  # (H, H, D)
    by_column = table_w[distance_index(query.shape[2], query.device)]  # (W, W, D)
    return (
        torch.einsum("bhwd,hkd->bhwk", query, by_row),
        torch.einsum("bhwd,wkd->bhwk", query, by_column),
    )


def window_position_bias(
    query: Tensor, table_h: Tensor, table_w: Tensor, bias_table: Tensor, side: int
) -> Tensor:
    """Add the decomposed and the learned relative positions of square windows.

    Args:
        query: (B, M, side side, D), M heads.
        table_h: (2 side - 1, D), multiplied with the query.
        table_w: (2 side - 1, D).
        bias_table: ((2 side - 1)^2, M), added as it is; rows by vertical, then horizontal distance.
        side: tokens on a side of the window.

    Returns:
        (B, M, side side, side side), query by key.
    """
    index = distance_index(side, query.device)
    # Both decomposed terms in one product: q Rh + q Rw = q (Rh + Rw).
    rows = table_h[index][:, None, :, None]  # (side, side, D) -> (side, 1, side, 1, D)
    positions = rows + table_w[index][None, :, None, :]  # query row, query column, key row, column
    positions = positions.flatten(2, 3).flatten(0, 1)  # -> (side side, side side, D)
    pair = index[:, None, :, None] * (2 * side - 1) + index[None, :, None, :]
    learned = bias_table[pair.flatten(2, 3).flatten(0, 1)].permute(2, 0, 1)  # -> (M, ss, ss)
    return torch.einsum("bmqd,qkd->bmqk", query, positions) + learned
