"""A 1,024-pixel forward pass against attention whose logits and biases are written out.

The other side makes the logits of all tokens and adds both decomposed position terms to them by
broadcasting, as the formulas read: (heads, 4096, 4096) several times over. Peak memory is that of
a fresh process each, weights included, so that the ratio is what a user sees.
"""

import multiprocessing
import types
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.backbone import forward, make_backbone
from benchmarks.report import NotHereError, Row
from benchmarks.timing import take_turns, use_threads
from mtp_hf.modeling.modeling_vit_rvsa import FullAttention, ViTRVSABackbone
from mtp_hf.modeling.ops_position_tables import relative_position_terms, resize_rel_pos

THREADS = 2
PEAK_TARGET = 0.7
TIME_TARGET = 1.0
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
MEBIBYTE = 2**20


def run(quick: bool) -> list[Row]:
    """Measure peak memory in processes of their own, then time both sides in turn."""
    size = 128 if quick else 1024
    if not CLEAR_REFS.exists():
        raise NotHereError("peak memory is read from /proc, which this system lacks")
    peaks = {side: _peak_of_process(size, side == "written out", quick) for side in SIDES}
    with use_threads(THREADS):
        image = torch.randn(1, 3, size, size)
        sides = {
            side: forward(make_side(size, side == "written out", quick=quick), image)
            for side in SIDES
        }
        seconds = take_turns(sides, 1 if quick else 5)
    gained = {side: f"{(peak - before) / MEBIBYTE:,.0f}" for side, (before, peak) in peaks.items()}
    whole = {side: f"{peak / MEBIBYTE:,.0f}" for side, (_, peak) in peaks.items()}
    return [
        Row(
            case=f"peak memory, {size} px",
            value=peaks["ours"][1] / peaks["written out"][1],
            unit="x",
            at_most=PEAK_TARGET,
            note=f"process {whole['ours']} and {whole['written out']} MiB; "
            f"of it the forward pass {gained['ours']} and {gained['written out']} MiB",
        ),
        Row(
            case=f"time, {size} px",
            value=seconds.ratio("ours", "written out"),
            unit="x",
            at_most=TIME_TARGET,
            note=seconds.note("ours", "written out"),
        ),
    ]


SIDES = ("ours", "written out")


def make_side(size: int, is_written_out: bool, *, quick: bool) -> ViTRVSABackbone:
    """Make the backbone, or the one that differs in how its global blocks attend."""
    backbone = make_backbone(size, quick=quick).eval()
    if is_written_out:
        backbone.set_attn_implementation("eager")
        for module in backbone.modules():
            if isinstance(module, FullAttention):
                module.attend_by_strips = types.MethodType(attend_written_out, module)
    return backbone


def attend_written_out(
    attention: FullAttention, query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, None]:
    """Do what `FullAttention.attend_by_strips` does, all tokens at once."""
    height, width = grid
    query = query * attention.scaling
    by_row, by_column = relative_position_terms(
        query.reshape(-1, height, width, attention.head_size),
        resize_rel_pos(attention.rel_pos_h, 2 * height - 1),
        resize_rel_pos(attention.rel_pos_w, 2 * width - 1),
    )
    logits = query @ key.transpose(-2, -1)  # (B, M, N, N)
    biased = logits.view(-1, height, width, height, width)
    biased = biased + by_row[..., :, None]
    biased = biased + by_column[..., None, :]
    weights = biased.view_as(logits).softmax(dim=-1)
    return (weights @ value).transpose(1, 2), None


def _peak_of_process(size: int, is_written_out: bool, quick: bool) -> tuple[int, int]:
    """Run one forward pass in a fresh process: its memory before, and the peak, in bytes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_peak, (size, is_written_out, quick))


def _measure_peak(size: int, is_written_out: bool, quick: bool) -> tuple[int, int]:
    torch.set_num_threads(THREADS)
    backbone = make_side(size, is_written_out, quick=quick)
    image = torch.randn(1, 3, size, size)
    CLEAR_REFS.write_text("5")  # the peak starts again from here
    before = read_memory("VmRSS")
    forward(backbone, image)()
    return before, read_memory("VmHWM")


def read_memory(field: str) -> int:
    """Return a field of this process's status, such as `VmHWM`, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
