"""The sampling core of deformable convolution v3 against one `grid_sample` over all nine taps.

The other side lists the places of every tap and samples them at once from the padded map, as the
original does in PyTorch: nine samples of every channel lie in memory before they are summed up.
Shapes are those of the four stages of InternImage-XL.
"""

import contextlib
import itertools
import mmap
import multiprocessing
from collections.abc import Callable, Iterator
from statistics import geometric_mean

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks.backbone import forward
from benchmarks.large_image import CLEAR_REFS, MEBIBYTE, read_memory
from benchmarks.report import NotHereError, Row
from benchmarks.timing import Seconds, Side, format_seconds, take_turns, use_threads
from mtp_hf.modeling import modeling_internimage
from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.modeling_internimage import DeformableConvV3, InternImageBackbone
from mtp_hf.modeling.ops_dcnv3 import TapGrid, sample_taps

THREADS = 2
FORWARD_TARGET = 2.0
BOTH_TARGET = 1.5
PEAK_TARGET = 1.0
MODEL_TARGET = 0.9
GROUP_CHANNELS = 16
GRID = TapGrid(offset_scale=2.0)  # as InternImage-XL
MOVES = 0.5  # standard deviation of the moves, in units of the scale
PASSES = ("forward", "forward + backward")

Shape = tuple[int, int]  # side of the map, channels
Core = Callable[..., Tensor]  # of value, offset, mask and the grid


def run(quick: bool) -> list[Row]:
    """Measure peak memory in processes of their own, then time the core and the whole model."""
    if not CLEAR_REFS.exists():
        raise NotHereError("peak memory is read from /proc, which this system lacks")
    shapes = [(8, 32), (4, 64)] if quick else shapes_of_stages(224) + shapes_of_stages(512)
    peaks = {
        case: tuple(_peak_of_process(side, *case) for side in CORES)
        for case in itertools.product(shapes, PASSES)
    }
    with use_threads(THREADS):
        rows = _core_rows(shapes, 1 if quick else 11)
        return [*rows, _memory_row(peaks), _model_row(quick)]


def shapes_of_stages(image_size: int) -> list[Shape]:
    """Side and channels of the maps of InternImage-XL."""
    widths = InternImageConfig(**INTERNIMAGE_SIZES["XL"]).hidden_sizes
    return [(image_size // (4 << stage), width) for stage, width in enumerate(widths)]


def sample_at_once(value: Tensor, offset: Tensor, mask: Tensor, grid: TapGrid) -> Tensor:
    """Do what `sample_taps` does for 3 x 3 taps of stride 1 with one `grid_sample`."""
    batch, height, width, channels = value.shape
    groups = mask.shape[-1] // grid.num_taps
    padded = F.pad(value, (0, 0, 1, 1, 1, 1))
    maps = padded.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    tap = torch.arange(grid.num_taps)
    regular = torch.stack((tap // 3 - 1, tap % 3 - 1), -1)  # x and y, column by column
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centres = torch.stack((columns, rows), -1)[:, :, None, None] + 1.5
    places = (offset.unflatten(-1, (groups, -1, 2)) + regular) * grid.offset_scale + centres
    places = places * torch.tensor([2 / (width + 2), 2 / (height + 2)]) - 1
    places = places.flatten(1, 2).transpose(1, 2).flatten(0, 1)  # (BG, HW, P, 2)
    samples = F.grid_sample(maps, places, align_corners=False)  # (BG, D, HW, P)
    weights = mask.unflatten(-1, (groups, -1)).flatten(1, 2).transpose(1, 2).flatten(0, 1)
    sums = (samples * weights.unsqueeze(1)).sum(-1)
    return sums.view(batch, channels, -1).transpose(1, 2).reshape(value.shape)


CORES: dict[str, Core] = {"ours": sample_taps, "at once": sample_at_once}


def random_arguments(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Draw value, offset and mask of one image."""
    side, channels = shape
    generator = torch.Generator().manual_seed(0)
    taps = (channels // GROUP_CHANNELS, GRID.num_taps)
    value = torch.randn(1, side, side, channels, generator=generator)
    offset = MOVES * torch.randn(1, side, side, 2 * taps[0] * taps[1], generator=generator)
    mask = torch.randn(1, side, side, *taps, generator=generator).softmax(-1).flatten(-2)
    return value, offset, mask


def one_pass(core: Core, shape: Shape, name: str) -> Side:
    """Return a pass of a core over one image, by its name in `PASSES`."""
    return pass_over(core, random_arguments(shape), name)


def pass_over(core: Core, arguments: tuple[Tensor, ...], name: str) -> Side:
    """Return a pass of a core over value, offset and mask."""
    gradient = torch.ones_like(arguments[0])

    def run_forward() -> None:
        with torch.no_grad():
            core(*arguments, GRID)

    def run_both() -> None:
        torch.autograd.grad(core(*arguments, GRID), arguments, gradient)

    if name == "forward":
        return run_forward
    for argument in arguments:
        argument.requires_grad_()
    return run_both


def _core_rows(shapes: list[Shape], rounds: int) -> list[Row]:
    """Time both cores at every shape."""
    rows = []
    for name, target in zip(PASSES, (FORWARD_TARGET, BOTH_TARGET), strict=True):
        seconds = {
            shape: take_turns(
                {side: one_pass(core, shape, name) for side, core in CORES.items()}, rounds
            )
            for shape in shapes
        }
        ratios = [times.ratio("at once", "ours") for times in seconds.values()]
        rows.append(
            Row(
                case=f"core, {name}, geometric mean of {len(shapes)} shapes",
                value=geometric_mean(ratios),
                unit="x faster",
                at_least=target,
                note="; ".join(_note(*item) for item in seconds.items()),
            )
        )
    return rows


def _note(shape: Shape, seconds: Seconds) -> str:
    """Say how both did at one shape."""
    ours, other = (format_seconds(seconds.median(side)) for side in CORES)
    ratio = seconds.ratio("at once", "ours")
    return f"{_words(shape)} {ours} against {other} ({ratio:.2f} x)"


def _words(shape: Shape) -> str:
    side, channels = shape
    return f"{side} x {side} x {channels}"


def _memory_row(peaks: dict[tuple[Shape, str], tuple[int, ...]]) -> Row:
    """Report the case where we do worst."""
    worst = max(peaks, key=lambda case: peaks[case][0] / peaks[case][1])
    best = min(peaks, key=lambda case: peaks[case][0] / peaks[case][1])
    notes = []
    for word, case in (("worst", worst), ("best", best)):
        ours, other = (peak / MEBIBYTE for peak in peaks[case])
        notes.append(f"{word} {case[1]}, {_words(case[0])}: {ours:,.1f} and {other:,.1f} MiB")
    return Row(
        case="core, peak memory of a pass, worst shape",
        value=peaks[worst][0] / peaks[worst][1],
        unit="x",
        at_most=PEAK_TARGET,
        note="; ".join(notes),
    )


def _peak_of_process(side: str, shape: Shape, name: str) -> int:
    """Measure one pass in a fresh process that has imported everything; see `_measure_peak`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.dcnv3"])
    with context.Pool(1) as pool:
        return pool.apply(_measure_peak, (side, shape, name))


def _measure_peak(side: str, shape: Shape, name: str) -> int:
    """Return by how many bytes the process grows during one pass."""
    torch.set_num_threads(THREADS)
    one_pass(CORES[side], (2, GROUP_CHANNELS), name)()  # loads the code and starts the threads
    run_pass = one_pass(CORES[side], shape, name)
    CLEAR_REFS.write_text("5")  # the peak starts again from here
    before = read_memory("VmRSS")
    run_pass()
    return max(read_memory("VmHWM") - before, mmap.PAGESIZE)  # a tiny pass may find room


def _model_row(quick: bool) -> Row:
    """Time the forward pass of the whole backbone with both cores."""
    size, name = (64, "tiny") if quick else (224, "XL")
    backbone = make_backbone(name)
    run_forward = forward(backbone, torch.randn(1, 3, size, size))

    def with_other_core() -> None:
        with use_core(sample_at_once):
            run_forward()

    seconds = take_turns({"ours": run_forward, "at once": with_other_core}, 1 if quick else 11)
    return Row(
        case=f"InternImage-{name}, forward, {size} px",
        value=seconds.ratio("ours", "at once"),
        unit="x",
        at_most=MODEL_TARGET,
        note=seconds.note("ours", "at once"),
    )


def make_backbone(size: str) -> InternImageBackbone:
    """Make a backbone with random weights whose taps are moved."""
    backbone = InternImageBackbone(InternImageConfig(**INTERNIMAGE_SIZES[size])).eval()
    for module in backbone.modules():
        if isinstance(module, DeformableConvV3):
            torch.nn.init.normal_(module.offset.bias, std=MOVES)
    return backbone


@contextlib.contextmanager
def use_core(core: Core) -> Iterator[None]:
    """Let InternImage sample by another core inside the block."""
    before = modeling_internimage.sample_taps
    modeling_internimage.sample_taps = core
    try:
        yield
    finally:
        modeling_internimage.sample_taps = before
