"""The backbone on a GPU: eager, compiled, bf16, memory, and the share of the GPU's peak.

Peak is not the data sheet's but what a product of two large matrices reaches in the same run and
number format.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.backbone import forward, forward_backward, make_backbone, sum_of_maps
from benchmarks.report import NotHereError, Row
from benchmarks.timing import Seconds, Side, plain_vit, take_turns, use_threads

THREADS = 2
BATCHES = {224: 64, 448: 16, 1024: 4}  # images at once, by image size
MATRIX_SIDE = 8192
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run(quick: bool) -> list[Row]:
    """Measure each size eager and compiled in both formats, and training in bf16."""
    if not torch.cuda.is_available():
        raise NotHereError("no GPU")
    rows = []
    with use_threads(THREADS):
        peaks = {name: _peak(kind, 512 if quick else MATRIX_SIDE) for name, kind in FORMATS.items()}
        for size, batch in ({112: 2} if quick else BATCHES).items():
            for name, peak in peaks.items():
                rows += _forward_rows(size, batch, name, peak, quick=quick)
                torch.cuda.empty_cache()
            rows.append(_training_row(size, max(batch // 4, 1), peaks["bf16"], quick=quick))
            torch.cuda.empty_cache()
    return rows


def _forward_rows(size: int, batch: int, kind: str, peak: float, *, quick: bool) -> list[Row]:
    """Compare eager, compiled and the plain ViT in one number format."""
    image = torch.randn(batch, 3, size, size, device="cuda", dtype=FORMATS[kind])
    models: dict[str, nn.Module] = {
        "eager": make_backbone(size, quick=quick),
        "plain": plain_vit(size, quick=quick),
    }
    models = {name: model.eval().to(image) for name, model in models.items()}
    flops = {name: _flops(forward(model, image)) for name, model in models.items()}
    models["compiled"] = torch.compile(models["eager"])
    flops["compiled"] = flops["eager"]
    seconds = take_turns_on_gpu(
        {name: forward(model, image) for name, model in models.items()}, quick
    )
    rows = []
    for name, model in models.items():
        memory = peak_memory(forward(model, image))
        share = flops[name] / seconds.median(name) / peak
        rows.append(
            Row(
                case=f"forward, {name}, {kind}, {batch} x {size} px",
                value=batch / seconds.median(name),
                unit="images/s",
                note=f"{seconds.note(name)}, {memory:,.0f} MiB beside weights and images, "
                f"{100 * share:.0f} % of {peak / 1e12:,.0f} TFLOP/s; "
                f"{seconds.ratio(name, 'plain'):.2f} x plain",
            )
        )
    return rows


def _training_row(size: int, batch: int, peak: float, *, quick: bool) -> Row:
    """Forward + backward under bf16 autocast."""
    backbone = make_backbone(size, quick=quick).cuda()
    image = torch.randn(batch, 3, size, size, device="cuda")

    def loss() -> torch.Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return sum_of_maps(backbone, image)

    side = forward_backward(loss, backbone)
    flops = _flops(side)
    torch.cuda.reset_peak_memory_stats()
    seconds = take_turns_on_gpu({"step": side}, quick)
    memory = torch.cuda.max_memory_allocated() / 2**20
    share = flops / seconds.median("step") / peak
    return Row(
        case=f"forward + backward, eager, bf16 autocast, {batch} x {size} px",
        value=batch / seconds.median("step"),
        unit="images/s",
        note=f"{seconds.note('step')}, {memory:,.0f} MiB in all, "
        f"{100 * share:.0f} % of {peak / 1e12:,.0f} TFLOP/s",
    )


def take_turns_on_gpu(sides: Mapping[str, Side], quick: bool) -> Seconds:
    """Time every side ten times, once if quick."""
    return take_turns(sides, 1 if quick else 10, synchronize=torch.cuda.synchronize)


def peak_memory(side: Side) -> float:
    """Return what a side allocates at most beside what is there, in MiB."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    side()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _peak(kind: torch.dtype, side: int) -> float:
    """Operations a second of a large matrix product."""
    matrix = torch.randn(side, side, device="cuda", dtype=kind)
    seconds = take_turns_on_gpu({"product": lambda: matrix @ matrix}, quick=False)
    return 2 * side**3 / seconds.median("product")


def _flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
