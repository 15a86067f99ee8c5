"""The sampling core of deformable convolution v3 in two Triton kernels, for a GPU.

A program takes some sums, one for each pixel of output and group, and walks through their taps:
forward adds up weighted rows of channels; backward multiplies the same rows with the gradient and
adds it, weighted, to the gradient of the map. Nothing but arguments and results lies in memory.

Letters: B batch, C channels, G groups, D = C / G channels of a group, H W input map, P taps, O rows
of output, U columns of output, S sums of a program.

Unusual: needs `triton`, so `ops_dcnv3` imports this file where it can and decides when to use it.
The gradient of the map is added up by atomic operations, in no fixed order: equal runs differ in
its last digits.

Source: InternImage (https://arxiv.org/abs/2211.05778), equation 2; same results as the twin in
`ops_dcnv3`.
"""

import contextlib
import functools
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

try:  # who loads this code from the Hub without triton is asked for what stands outside of `try`
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError("the Triton kernels of ops_dcnv3 need the package triton") from error

from .ops_dcnv3 import TapGrid

# Elements of a program's sums: a few for each of 128 threads.
MAX_BLOCK = 1024


def sample_taps_by_triton(value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
    """Do what `sample_taps` does, arguments already checked; they may differ in type."""
    return _SampleTaps.apply(value, offset, mask, grid)


@functools.cache
def works_on(device: torch.device) -> bool:
    """Try both kernels on one tap: they need a C compiler and a GPU that is not too old.

    A failure is told once, as a warning.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad():
            value, offset, mask = (torch.zeros(1, 1, 1, last, device=device) for last in (1, 2, 1))
            value = value.bfloat16().requires_grad_()
            sums = sample_taps_by_triton(value, offset, mask, TapGrid(kernel_size=1, padding=0))
            sums.sum().backward()
    except Exception as error:  # of triton, the C compiler or the driver
        warnings.warn(f"InternImage does without its Triton kernels: {error}", stacklevel=2)
        return False
    return True


class _SampleTaps(torch.autograd.Function):
    """`sample_taps` and its gradients; keeps nothing but its arguments."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
        """Sum up; see `sample_taps`."""
        value, offset, mask = value.contiguous(), offset.contiguous(), mask.contiguous()
        ctx.save_for_backward(value, offset, mask)
        ctx.grid = grid
        sums = value.new_empty(*mask.shape[:3], value.shape[-1])  # (B, O, U, C)
        _launch(_sum_kernel, (value, offset, mask, sums), grid)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor | None, ...]:
        """Map the gradient (B, O, U, C) to those of value, offset and mask."""
        value, offset, mask = ctx.saved_tensors
        kind = torch.promote_types(value.dtype, torch.float32)
        grad_value = torch.zeros_like(value, dtype=kind)
        grad_offset, grad_mask = torch.empty_like(offset), torch.empty_like(mask)
        gradients = (grad_sums.contiguous(), grad_value, grad_offset, grad_mask)
        _launch(_gradient_kernel, (value, offset, mask, *gradients), ctx.grid)
        return grad_value.to(value.dtype), grad_offset, grad_mask, None


def _launch(kernel: Any, tensors: tuple[Tensor, ...], grid: TapGrid) -> None:
    """Run a kernel over all sums; the tensors begin with value, offset and mask."""
    value, _, mask = tensors[:3]
    _, height, width, channels = value.shape
    groups = mask.shape[-1] // grid.num_taps
    # int32 counts the sums of more than 100 GB of arguments.
    num_sums = mask.shape[0] * mask.shape[1] * mask.shape[2] * groups
    if num_sums == 0:
        return
    block_channels = triton.next_power_of_2(max(channels // groups, 1))
    block = max(MAX_BLOCK // block_channels, 1)
    places = grid.kernel_size**2
    with _current_device(value):
        kernel[(triton.cdiv(num_sums, block),)](
            *tensors,
            num_sums,
            mask.shape[1],
            mask.shape[2],
            height,
            width,
            groups,
            channels // groups,
            TAPS=grid.num_taps,
            KERNEL=grid.kernel_size,
            LEFT_OUT=places // 2 if grid.remove_center else places,
            STRIDE=grid.stride,
            FIRST=grid.reach - grid.padding,
            DILATION=grid.dilation,
            REACH=grid.reach,
            SCALE=float(grid.offset_scale),
            IN_DOUBLE=value.dtype == torch.float64,
            BLOCK=block,
            BLOCK_CHANNELS=block_channels,
        )


def _current_device(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Launch where the tensor is; compiled graphs see to it themselves."""
    if torch.compiler.is_compiling() or not tensor.is_cuda:
        return contextlib.nullcontext()
    return torch.cuda.device(tensor.device)


@triton.jit
def _sum_kernel(
    value, offset, mask, sums,
    num_sums, out_height, out_width, height, width, groups, group_channels,
    TAPS: tl.constexpr, KERNEL: tl.constexpr, LEFT_OUT: tl.constexpr, STRIDE: tl.constexpr,
    FIRST: tl.constexpr, DILATION: tl.constexpr, REACH: tl.constexpr, SCALE: tl.constexpr,
    IN_DOUBLE: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write S sums; the arguments are those of `_launch`."""
    KIND: tl.constexpr = tl.float64 if IN_DOUBLE else tl.float32
    number, is_sum, group, column, row, first_row = _sums_of_program(
        num_sums, groups, out_height, out_width, height, STRIDE, FIRST, BLOCK
    )
    channel = tl.arange(0, BLOCK_CHANNELS)
    is_element = is_sum[:, None] & (channel < group_channels)[None, :]  # (S, D)
    total = tl.zeros((BLOCK, BLOCK_CHANNELS), KIND)
    for tap in range(TAPS):
        at = number * TAPS + tap
        weight = tl.load(mask + at, is_sum, 0).to(KIND)
        left, top, right, down = _place_of_tap(
            offset + 2 * at, is_sum, column, row, width, height,
            tap, KERNEL, LEFT_OUT, DILATION, REACH, SCALE, KIND,
        )  # fmt: skip
        for corner in tl.static_range(4):
            start, is_inside = _row_of_corner(
                left + corner % 2, top + corner // 2, first_row, group, width, height, groups
            )
            across = right if corner % 2 else 1 - right
            along = down if corner // 2 else 1 - down
            rows = start[:, None] * group_channels + channel[None, :]
            sample = tl.load(value + rows, is_element & is_inside[:, None], 0).to(KIND)
            total += (weight * across * along)[:, None] * sample
    written = number[:, None] * group_channels + channel[None, :]
    tl.store(sums + written, total.to(sums.dtype.element_ty), is_element)


@triton.jit
def _gradient_kernel(
    value, offset, mask, grad_sums, grad_value, grad_offset, grad_mask,
    num_sums, out_height, out_width, height, width, groups, group_channels,
    TAPS: tl.constexpr, KERNEL: tl.constexpr, LEFT_OUT: tl.constexpr, STRIDE: tl.constexpr,
    FIRST: tl.constexpr, DILATION: tl.constexpr, REACH: tl.constexpr, SCALE: tl.constexpr,
    IN_DOUBLE: tl.constexpr, BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write the gradients of the taps of S sums and add theirs to the gradient of the map."""
    KIND: tl.constexpr = tl.float64 if IN_DOUBLE else tl.float32
    number, is_sum, group, column, row, first_row = _sums_of_program(
        num_sums, groups, out_height, out_width, height, STRIDE, FIRST, BLOCK
    )
    channel = tl.arange(0, BLOCK_CHANNELS)
    is_element = is_sum[:, None] & (channel < group_channels)[None, :]  # (S, D)
    read = number[:, None] * group_channels + channel[None, :]
    gradient = tl.load(grad_sums + read, is_element, 0).to(KIND)
    for tap in range(TAPS):
        at = number * TAPS + tap
        weight = tl.load(mask + at, is_sum, 0).to(KIND)
        left, top, right, down = _place_of_tap(
            offset + 2 * at, is_sum, column, row, width, height,
            tap, KERNEL, LEFT_OUT, DILATION, REACH, SCALE, KIND,
        )  # fmt: skip
        of_mask, of_x, of_y = right * 0, right * 0, right * 0
        for corner in tl.static_range(4):
            start, is_inside = _row_of_corner(
                left + corner % 2, top + corner // 2, first_row, group, width, height, groups
            )
            across = right if corner % 2 else 1 - right
            along = down if corner // 2 else 1 - down
            rows = start[:, None] * group_channels + channel[None, :]
            is_read = is_element & is_inside[:, None]
            product = tl.sum(tl.load(value + rows, is_read, 0).to(KIND) * gradient, 1)
            of_mask += product * across * along
            of_x += product * along * (2 * (corner % 2) - 1)
            of_y += product * across * (2 * (corner // 2) - 1)
            added = (weight * across * along)[:, None] * gradient
            tl.atomic_add(grad_value + rows, added, is_read, sem="relaxed")
        tl.store(grad_mask + at, of_mask.to(grad_mask.dtype.element_ty), is_sum)
        scaled = weight * SCALE
        kind = grad_offset.dtype.element_ty
        tl.store(grad_offset + 2 * at, (of_x * scaled).to(kind), is_sum)
        tl.store(grad_offset + 2 * at + 1, (of_y * scaled).to(kind), is_sum)


@triton.jit
def _sums_of_program(
    num_sums, groups, out_height, out_width, height,
    STRIDE: tl.constexpr, FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return number, existence and group of S sums, the centre of their taps, and their map."""
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    pixel = number // groups
    column = pixel % out_width * STRIDE + FIRST
    row = pixel // out_width % out_height * STRIDE + FIRST
    first_row = pixel // out_width // out_height * height  # of the map, among those of all
    # From here on whatever is multiplied may be larger than int32.
    return number.to(tl.int64), number < num_sums, number % groups, column, row, first_row


@triton.jit
def _place_of_tap(
    moves, is_sum, column, row, width, height,
    tap, KERNEL: tl.constexpr, LEFT_OUT: tl.constexpr, DILATION: tl.constexpr,
    REACH: tl.constexpr, SCALE: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """Find the corner at the top left of a tap's cell and the tap's place in the cell, 0 to 1."""
    place = tap + (tap >= LEFT_OUT)
    move_x = tl.load(moves, is_sum, 0).to(KIND)
    move_y = tl.load(moves + 1, is_sum, 0).to(KIND)
    x = column + (place // KERNEL * DILATION - REACH) * SCALE + move_x * SCALE
    y = row + (place % KERNEL * DILATION - REACH) * SCALE + move_y * SCALE
    # Further out all corners are outside as well. NaN stays: it makes the weights NaN, and whatever
    # whole number it becomes is compared with the sides of the map.
    least = tl.full(x.shape, -2, KIND)
    x = tl.clamp(x, least, tl.full(x.shape, width, KIND), propagate_nan=tl.PropagateNan.ALL)
    y = tl.clamp(y, least, tl.full(x.shape, height, KIND), propagate_nan=tl.PropagateNan.ALL)
    left, top = tl.floor(x), tl.floor(y)
    return left.to(tl.int32), top.to(tl.int32), x - left, y - top


@triton.jit
def _row_of_corner(x, y, first_row, group, width, height, groups):
    """Count the row of channels at a pixel and group, and tell whether the map has it."""
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return ((first_row + y).to(tl.int64) * width + x) * groups + group, is_inside
