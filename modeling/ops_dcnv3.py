"""The sampling core of deformable convolution v3: nine moved taps for each pixel and group.

Every output is a sum of 4 x 9 rows of a channels-last table, so it is four `embedding_bag`s, one
for each corner of the cells that the taps fall into: taps and weights are listed once, and the
table is shifted by a pixel. The gradient of the table is the same sum with taps sorted by cell.

Letters: B batch, C channels, G groups, D = C / G channels of a group, H W input map, P taps, O rows
of output, U columns of output, E = B O U G P taps in all.

Unusual: the table has a margin of two pixels of zeros, and places further out are moved into it.
There all four corners read zeros, so that neither the sum nor a gradient needs a mask.

On a GPU the kernels of `ops_dcnv3_triton` take over; the environment variable `MTP_HF_TRITON=0`
keeps them off.

Source: InternImage (https://arxiv.org/abs/2211.05778), equation 2; matches the PyTorch core and the
CUDA kernel of `ops_dcnv3` of the original.
"""

import os
import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops_weighted_positions import Terms, sort_by_position, sum_rows

MARGIN = 2
# Taps that are worked on at a time, so that what is known of them stays near the cache.
MAX_TAPS = 1 << 16
USE_TRITON = os.environ.get("MTP_HF_TRITON", "1") != "0"


class TapGrid(NamedTuple):
    """Where the taps lie before they are moved.

    Attributes:
        kernel_size: taps along an axis.
        stride: input pixels between two outputs.
        padding: how far the first output's window begins outside the map, pixels.
        dilation: pixels between neighbouring taps.
        offset_scale: factor on the distance of a tap from its centre, the moved part and the
            regular part alike.
        remove_center: leave out the tap in the middle.
    """

    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    offset_scale: float = 1.0
    remove_center: bool = False

    @property
    def num_taps(self) -> int:
        """Taps P of a window."""
        return self.kernel_size**2 - int(self.remove_center)

    @property
    def reach(self) -> int:
        """Pixels between the first tap and the centre."""
        return self.dilation * (self.kernel_size - 1) // 2

    def output_length(self, length: int) -> int:
        """Outputs along an axis of `length` pixels."""
        span = self.dilation * (self.kernel_size - 1) + 1
        return max((length + 2 * self.padding - span) // self.stride + 1, 0)


def sample_taps(value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
    """Sum up bilinear samples of each group around each pixel; zeros outside the map.

    Taps are counted column by column. Computes in float32 at least, whatever the arguments are.

    Args:
        value: (B, H, W, C).
        offset: (B, O, U, G P 2), x and y of each tap's move, in units of `offset_scale` pixels.
        mask: (B, O, U, G P), weight of each tap.
        grid: the places of the taps.

    Returns:
        (B, O, U, C) in the type of `value`.

    Raises:
        ValueError: shapes that do not fit together.
    """
    _check(value, offset, mask, grid)
    if _takes_triton(value):
        from .ops_dcnv3_triton import sample_taps_by_triton

        return sample_taps_by_triton(value, offset, mask, grid)
    return sample_taps_by_torch(value, offset, mask, grid)


def sample_taps_by_torch(value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
    """Do what `sample_taps` does on any device, arguments already checked."""
    kind = torch.promote_types(value.dtype, torch.float32)
    sums = _SampleTaps.apply(value.to(kind), offset.to(kind), mask.to(kind), grid)
    return sums.to(value.dtype)


def _check(value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> None:
    """Compare the shapes."""
    batch, height, width, channels = value.shape
    size = (grid.output_length(height), grid.output_length(width))
    groups, rest = divmod(mask.shape[-1], grid.num_taps)
    if rest or groups == 0 or channels % groups:
        raise ValueError(
            f"mask has {mask.shape[-1]} values for each pixel; {grid.num_taps} taps and {channels} "
            "channels need a multiple of the taps, and groups that divide the channels"
        )
    for name, tensor, last in (("mask", mask, 1), ("offset", offset, 2)):
        expected = (batch, *size, groups * grid.num_taps * last)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{name} is {tuple(tensor.shape)}, but a value {tuple(value.shape)} and a mask of "
                f"{groups} groups need {expected}"
            )


def _takes_triton(value: Tensor) -> bool:
    """Tell whether the kernels work where the tensor is, and may be used.

    They add the gradient of the map in no fixed order, and a graph for export is for any machine.
    """
    return (
        USE_TRITON
        and value.is_cuda
        and not torch.are_deterministic_algorithms_enabled()
        and not torch.compiler.is_exporting()
        and _triton_works(value.device)
    )


@torch.compiler.assume_constant_result
def _triton_works(device: torch.device) -> bool:
    """Ask the kernels, if there is triton; graphs are traced around the answer."""
    try:
        from .ops_dcnv3_triton import works_on
    except ImportError:
        return False
    return works_on(device)


class _SampleTaps(torch.autograd.Function):
    """`sample_taps` and its gradients; keeps nothing but its arguments."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
        """Sum up; see `sample_taps`."""
        ctx.save_for_backward(value, offset, mask)
        ctx.grid = grid
        layout = _Layout.of(value, mask, grid)
        table = layout.table(value)
        offset, mask = layout.by_row(offset), layout.by_row(mask)
        sums = value.new_zeros(*mask.shape[:2], value.shape[-1])  # (BO, U, C)
        for rows in layout.runs():
            taps = layout.taps(offset[rows], rows)
            total = sums[rows].view(-1, layout.group_channels)
            for shift, weights in zip(layout.shifts, taps.weights(mask[rows]), strict=True):
                total += sum_rows(table[shift:], Terms(taps.cells, weights.flatten(), taps.starts))
        return sums.view(*layout.output_size, value.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        """Map the gradient (B, O, U, C) to those of value, offset and mask."""
        value, offset, mask = ctx.saved_tensors
        layout = _Layout.of(value, mask, ctx.grid)
        table = layout.table(value)
        grad_offset, grad_mask = torch.empty_like(offset), torch.empty_like(mask)
        cells = value.new_empty(mask.numel(), dtype=torch.int32)
        corners = value.new_empty(4, mask.numel())
        by_row = [layout.by_row(t) for t in (offset, mask, grad_offset, grad_mask, grad_sums)]
        taps_of_row = mask.shape[2] * mask.shape[3]
        for rows in layout.runs():
            taps = layout.taps(by_row[0][rows], rows)
            run = slice(rows.start * taps_of_row, rows.stop * taps_of_row)
            cells[run] = taps.cells
            for corner, weights in zip(corners, taps.weights(by_row[1][rows]), strict=True):
                corner[run] = weights.flatten()
            along_xy, by_row[3][rows] = layout.tap_gradients(by_row[4][rows], table, taps)
            scaled = by_row[1][rows] * ctx.grid.offset_scale
            by_row[2][rows] = (along_xy * scaled.unsqueeze(-1)).flatten(-2)
        grad_value = None
        if ctx.needs_input_grad[0]:
            grad_value = layout.sum_by_cell(grad_sums, cells, corners)
        return grad_value, grad_offset, grad_mask, None


class _Taps(NamedTuple):
    """Moved taps of some rows of output, (rows, U, GP) unless said otherwise."""

    cells: Tensor  # (E,) int32, table row of the corner at the top left
    starts: Tensor  # (outputs x G + 1,) int32, first tap of each sum
    right: Tensor  # place in the cell, 0 to 1
    down: Tensor

    def weights(self, mask: Tensor) -> tuple[Tensor, ...]:
        """Weights of the four corners: top left, top right, bottom left, bottom right."""
        right = mask * self.right
        left = mask - right
        lower_right, lower_left = right * self.down, left * self.down
        return left - lower_left, right - lower_right, lower_left, lower_right


class _Layout(NamedTuple):
    """Sizes of the table and of the output."""

    grid: TapGrid
    batch: int
    height: int  # of the map, without the margin
    width: int
    groups: int
    group_channels: int
    out_height: int
    out_width: int

    @classmethod
    def of(cls, value: Tensor, mask: Tensor, grid: TapGrid) -> "_Layout":
        """Read the sizes off the arguments of `sample_taps`."""
        batch, height, width, channels = value.shape
        groups = mask.shape[-1] // grid.num_taps
        return cls(
            grid, batch, height, width, groups, channels // groups, mask.shape[1], mask.shape[2]
        )

    @property
    def output_size(self) -> tuple[int, int, int]:
        """Images, rows and columns of the output."""
        return self.batch, self.out_height, self.out_width

    @property
    def shifts(self) -> tuple[int, int, int, int]:
        """Table rows from the corner at the top left to each corner."""
        down = (self.width + 2 * MARGIN) * self.groups
        return 0, self.groups, down, down + self.groups

    def table(self, value: Tensor) -> Tensor:
        """Write the map with its margin, one row for each pixel and group."""
        padded = F.pad(value, (0, 0, MARGIN, MARGIN, MARGIN, MARGIN))
        return padded.reshape(-1, self.group_channels)

    def by_row(self, tensor: Tensor) -> Tensor:
        """See (B, O, U, .) as (BO, U, .)."""
        return tensor.reshape(self.batch * self.out_height, *tensor.shape[2:])

    def runs(self) -> list[slice]:
        """Cut the rows of output into runs of about `MAX_TAPS` taps; a traced graph is one run."""
        rows = self.batch * self.out_height
        if torch.compiler.is_compiling():
            return [slice(0, rows)]
        step = max(1, MAX_TAPS // max(1, self.out_width * self.groups * self.grid.num_taps))
        return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]

    def taps(self, offset: Tensor, rows: slice) -> _Taps:
        """Move the taps of some rows of output by their offset (rows, U, GP 2)."""
        grid, device = self.grid, offset.device
        move_x, move_y = offset.unflatten(-1, (-1, 2)).unbind(-1)
        width = self.width + 2 * MARGIN
        size = (self.height + 2 * MARGIN) * width  # of an image with its margin
        tap = torch.arange(grid.kernel_size**2, device=device)
        if grid.remove_center:
            tap = tap[tap != grid.kernel_size**2 // 2]
        tap = tap.repeat(self.groups)  # (GP,)
        first = MARGIN - grid.padding + grid.reach  # the centre of the first window
        column = torch.arange(self.out_width, device=device)[:, None] * grid.stride + first
        row = torch.arange(rows.start, rows.stop, device=device)[:, None, None]
        image = torch.div(row, max(self.out_height, 1), rounding_mode="floor")
        row = (row - image * self.out_height) * grid.stride + first
        tap_x = (tap // grid.kernel_size * grid.dilation - grid.reach) * grid.offset_scale
        tap_y = (tap % grid.kernel_size * grid.dilation - grid.reach) * grid.offset_scale
        x = torch.add(column + tap_x, move_x, alpha=grid.offset_scale)
        y = torch.add(row + tap_y, move_y, alpha=grid.offset_scale)
        x, y = x.clamp_(0, self.width + MARGIN), y.clamp_(0, self.height + MARGIN)
        group = torch.arange(self.groups, device=device, dtype=torch.int32)
        group = group.repeat_interleave(grid.num_taps)  # (GP,)
        cells = torch.add(x.int(), y.int(), alpha=width)
        # Whole numbers made of NaN can be any; the fractions stay NaN, and so does the sum.
        cells = cells.clamp_(0, (self.height + MARGIN) * width + self.width + MARGIN)
        cells = torch.add(image.int() * (size * self.groups) + group, cells, alpha=self.groups)
        sums = len(offset) * self.out_width * self.groups
        starts = torch.arange(sums + 1, device=device, dtype=torch.int32) * grid.num_taps
        return _Taps(cells.flatten(), starts, x.frac_(), y.frac_())

    def tap_gradients(self, grad_sums: Tensor, table: Tensor, taps: _Taps) -> tuple[Tensor, Tensor]:
        """Derive how the sums of some rows of output change with their taps.

        Args:
            grad_sums: (rows, U, C).
            table: see `table`.
            taps: of these rows.

        Returns:
            Products of the gradient with the samples' slopes in x and y, (rows, U, GP, 2), and with
            the samples themselves, (rows, U, GP).
        """
        grad_sums = grad_sums.reshape(-1, self.group_channels)
        products = [
            _row_products(grad_sums, table[shift:], taps).view_as(taps.right)
            for shift in self.shifts
        ]
        top = torch.lerp(products[0], products[1], taps.right)
        bottom = torch.lerp(products[2], products[3], taps.right)
        along_x = torch.lerp(products[1] - products[0], products[3] - products[2], taps.down)
        return torch.stack((along_x, bottom - top), -1), torch.lerp(top, bottom, taps.down)

    def sum_by_cell(self, grad_sums: Tensor, tap_cells: Tensor, corners: Tensor) -> Tensor:
        """Add up for each pixel and group the gradients of the sums that read it.

        Args:
            grad_sums: (B, O, U, C).
            tap_cells: (E,), see `_Taps.cells`.
            corners: (4, E), see `_Taps.weights`.

        Returns:
            (B, H, W, C).
        """
        height, width = self.height + 2 * MARGIN, self.width + 2 * MARGIN
        cells = self.batch * height * width * self.groups
        rows = grad_sums.reshape(-1, self.group_channels)
        order, starts = sort_by_position(tap_cells, cells)
        readers = torch.div(order.int(), self.grid.num_taps, rounding_mode="floor")
        total = rows.new_zeros(cells + self.shifts[-1], self.group_channels)
        for shift, weights in zip(self.shifts, corners, strict=True):
            terms = Terms(readers, weights.index_select(0, order), starts)
            total[shift : shift + cells] += sum_rows(rows, terms)
        total = total[:cells].view(self.batch, height, width, self.groups * self.group_channels)
        return total[:, MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()


def _row_products(sums: Tensor, table: Tensor, taps: _Taps) -> Tensor:
    """Multiply each sum's gradient (sums, D) with the table rows of its taps: (E,) products."""
    if sums.is_cpu and not torch.compiler.is_compiling():
        # Four times as fast here, but sparse tensors do not trace.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compressed sparse rows are called a beta feature
            pattern = torch.sparse_csr_tensor(
                taps.starts, taps.cells, table.new_zeros(len(taps.cells)), (len(sums), len(table))
            )
        return torch.sparse.sampled_addmm(pattern, sums, table.T, beta=0.0).values()
    bags = torch.arange(len(sums), device=sums.device, dtype=torch.int32)
    bags = bags.repeat_interleave(len(taps.cells) // max(len(sums), 1))
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        sums, table, taps.cells, taps.starts, bags, 0
    )
