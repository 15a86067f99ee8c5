"""Operators on a GPU: deformable convolution by Triton against its twin, rotated regions.

Pooling of rotated regions has no kernel of its own; its unit is torchvision's kernel for as many
upright regions of the same sides.
"""

from statistics import geometric_mean

import torch
from torchvision.ops import roi_align

from benchmarks.dcnv3 import PASSES, Core, Shape, pass_over, random_arguments, shapes_of_stages
from benchmarks.gpu import peak_memory, take_turns_on_gpu
from benchmarks.report import NotHereError, Row
from benchmarks.rotated_nms import random_rotated_boxes
from benchmarks.timing import Side, format_seconds, use_threads
from mtp_hf.modeling.ops_dcnv3 import sample_taps_by_torch
from mtp_hf.modeling.ops_roi_align import rotated_roi_align

THREADS = 2
IMAGES = 8
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
STRIDE, BINS = 4, 7


def run(quick: bool) -> list[Row]:
    """Measure the sampling core at the shapes of InternImage-XL, and 4,096 regions."""
    if not torch.cuda.is_available():
        raise NotHereError("no GPU")
    cores = sampling_cores()
    shapes = [(8, 32), (4, 64)] if quick else shapes_of_stages(224) + shapes_of_stages(512)
    with use_threads(THREADS):
        rows = _pooling_rows(quick)
        for name in PASSES:
            rows += [_core_row(cores, name, kind, shapes, quick=quick) for kind in KINDS]
    return rows


def sampling_cores() -> dict[str, Core]:
    """Return the kernels, whether the network would take them or not, and their twin."""
    try:
        from mtp_hf.modeling.ops_dcnv3_triton import sample_taps_by_triton
    except ImportError:
        raise NotHereError("no triton") from None
    return {"Triton": sample_taps_by_triton, "PyTorch": sample_taps_by_torch}


def _core_row(
    cores: dict[str, Core], name: str, kind: str, shapes: list[Shape], *, quick: bool
) -> Row:
    """Time both cores at every shape, and compare their memory."""
    ratios, notes, memory = [], [], []
    for shape in shapes:
        arguments = random_arguments(shape)
        value, offset, mask = (t.repeat(IMAGES, 1, 1, 1).cuda() for t in arguments)
        # The weights of the taps are float32 in the network, whatever the rest is.
        inputs = (value.to(KINDS[kind]), offset.to(KINDS[kind]), mask)
        sides = {core: pass_over(how, inputs, name) for core, how in cores.items()}
        seconds = take_turns_on_gpu(sides, quick)
        ratios.append(seconds.ratio("PyTorch", "Triton"))
        memory.append(peak_memory(sides["Triton"]) / max(peak_memory(sides["PyTorch"]), 1e-3))
        ours, other = (format_seconds(seconds.median(core)) for core in cores)
        notes.append(f"{shape[0]}² x {shape[1]} {ours} against {other}")
    return Row(
        case=f"core, {name}, {kind}, {IMAGES} images, geometric mean of {len(shapes)} shapes",
        value=geometric_mean(ratios),
        unit="x faster",
        note=f"{'; '.join(notes)}; at most {max(memory):.2f} x the memory",
    )


def _pooling_rows(quick: bool) -> list[Row]:
    """Time rotated regions against upright ones."""
    count, side, channels = (8, 16, 4) if quick else (4096, 256, 256)
    sides = pooling_sides(count, side, channels, "cuda")
    seconds = take_turns_on_gpu(sides, quick)
    return [
        Row(
            case=f"{name}, {count} RoIs, {channels} x {side} x {side} map, {BINS} x {BINS}",
            value=seconds.ratio(f"rotated, {name}", f"upright, {name}"),
            unit="x upright",
            note=f"{seconds.note(f'rotated, {name}', f'upright, {name}')}, "
            f"{peak_memory(sides[f'rotated, {name}']):,.0f} MiB",
        )
        for name in PASSES
    ]


def pooling_sides(count: int, side: int, channels: int, device: str) -> dict[str, Side]:
    """Return passes over regions of one map, rotated by ours and upright by torchvision."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, channels, side, side, generator=generator).to(device).requires_grad_()
    boxes = random_rotated_boxes(count, side * STRIDE, generator).to(device)
    index = boxes.new_zeros(count, 1)
    halves = boxes[:, 2:4] / 2
    rotated = torch.cat((index, boxes), 1)
    upright = torch.cat((index, boxes[:, :2] - halves, boxes[:, :2] + halves), 1)
    pools = {
        "rotated": lambda: rotated_roi_align(maps, rotated, BINS, 1 / STRIDE),
        "upright": lambda: roi_align(maps, upright, BINS, 1 / STRIDE, 2, aligned=True),
    }
    passes: dict[str, Side] = {}
    for kind, pool in pools.items():

        def run_forward(pool: Side = pool) -> None:
            with torch.no_grad():
                pool()

        def run_both(pool: Side = pool) -> None:
            pooled = pool()
            assert isinstance(pooled, torch.Tensor)
            torch.autograd.grad(pooled, maps, torch.ones_like(pooled))

        passes |= {f"{kind}, {PASSES[0]}": run_forward, f"{kind}, {PASSES[1]}": run_both}
    return passes
