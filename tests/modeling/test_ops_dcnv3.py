"""The sampling core of deformable convolution v3: places, sums, gradients, empty input."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mtp_hf.modeling import ops_dcnv3
from mtp_hf.modeling.ops_dcnv3 import TapGrid, sample_taps


def random_arguments(grid, size=(2, 5, 4), groups=2, group_channels=3, dtype=torch.float32):
    batch, height, width = size
    outputs = (batch, grid.output_length(height), grid.output_length(width))
    taps = groups * grid.num_taps
    return (
        torch.randn(*size, groups * group_channels, dtype=dtype, requires_grad=True),
        torch.randn(*outputs, 2 * taps, dtype=dtype, requires_grad=True),
        torch.rand(*outputs, taps, dtype=dtype, requires_grad=True),
    )


def sampled_by_grid_sample(value, offset, mask, grid):
    """All taps of all groups through `grid_sample`, for 3 x 3 taps of stride 1."""
    batch, height, width, channels = value.shape
    groups = mask.shape[-1] // 9
    maps = value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1)
    tap = torch.arange(9)
    moves = offset.unflatten(-1, (groups, 9, 2)) + torch.stack((tap // 3 - 1, tap % 3 - 1), -1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = moves * grid.offset_scale + torch.stack((columns, rows), -1)[:, :, None, None]
    places = (2 * places + 1) / torch.tensor([width, height]) - 1
    places = places.permute(0, 3, 1, 2, 4, 5).flatten(0, 1).flatten(1, 2)
    samples = F.grid_sample(maps, places, align_corners=False)  # (BG, D, HW, 9)
    weights = mask.unflatten(-1, (groups, 9)).permute(0, 3, 1, 2, 4).flatten(0, 1).flatten(1, 2)
    sums = (samples * weights[:, None]).sum(-1).unflatten(0, (batch, groups))
    return sums.permute(0, 3, 1, 2).reshape(value.shape)


def test_a_tap_reads_column_by_column_and_zero_outside():
    value = torch.arange(1.0, 10).view(1, 3, 3, 1)
    mask = torch.zeros(1, 3, 3, 9)
    mask[..., 1] = 1  # the second tap of the first column: one pixel to the left
    sums = sample_taps(value, torch.zeros(1, 3, 3, 18), mask, TapGrid())
    assert sums.view(3, 3).tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]


def test_the_scale_moves_regular_and_learned_part():
    value = torch.arange(1.0, 6).view(1, 1, 5, 1)
    mask, offset = torch.zeros(1, 1, 5, 9), torch.zeros(1, 1, 5, 9, 2)
    mask[..., 7], offset[..., 7, 0] = 1, -0.25  # to the right, a quarter less
    sums = sample_taps(value, offset.flatten(-2), mask, TapGrid(offset_scale=2.0))
    assert sums.flatten().tolist() == [2.5, 3.5, 4.5, 2.5, 0]  # 1.5 pixels on


@pytest.mark.parametrize("runs", [1 << 16, 1])
def test_sums_and_gradients_are_those_of_grid_sample(runs, monkeypatch):
    monkeypatch.setattr(ops_dcnv3, "MAX_TAPS", runs)
    grid = TapGrid(offset_scale=1.5)
    arguments = random_arguments(grid, dtype=torch.float64)
    cotangent = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    expected = sampled_by_grid_sample(*arguments, grid)
    actual = sample_taps(*arguments, grid)
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=0)
    for ours, theirs in zip(
        torch.autograd.grad(actual, arguments, cotangent),
        torch.autograd.grad(expected, arguments, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "grid", [TapGrid(), TapGrid(3, 2, 1, 1, 1.5, True), TapGrid(5, 1, 2, 2, 0.7)]
)
def test_gradients_are_those_of_differences(grid):
    arguments = random_arguments(grid, size=(1, 4, 3), group_channels=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *a: sample_taps(*a, grid), arguments)


def test_traced_graphs_have_the_same_gradients():
    grid = TapGrid()
    arguments = random_arguments(grid)
    traced = torch.compile(sample_taps, backend="aot_eager", fullgraph=True)
    expected = torch.autograd.grad(sample_taps(*arguments, grid).sin().sum(), arguments)
    actual = torch.autograd.grad(traced(*arguments, grid).sin().sum(), arguments)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(0, 4, 4), (1, 0, 4), (1, 4, 0)])
def test_empty_input_gives_empty_sums_and_gradients(size):
    arguments = random_arguments(TapGrid(), size=size)
    sums = sample_taps(*arguments, TapGrid())
    assert sums.shape == (*size, 6)
    gradients = torch.autograd.grad(sums.sum(), arguments)
    assert [g.shape for g in gradients] == [a.shape for a in arguments]


def test_far_places_read_nothing_and_nan_stays_visible():
    value, offset, mask = (a.detach() for a in random_arguments(TapGrid()))
    assert not sample_taps(value, torch.full_like(offset, 1e9), mask, TapGrid()).any()
    assert sample_taps(value, torch.full_like(offset, torch.nan), mask, TapGrid()).isnan().all()


def test_half_precision_is_summed_in_float32():
    arguments = [a.detach() for a in random_arguments(TapGrid())]
    half = [a.to(torch.bfloat16) for a in arguments]
    sums = sample_taps(*half, TapGrid())
    assert sums.dtype == torch.bfloat16
    expected = sample_taps(*(a.float() for a in half), TapGrid())
    assert torch.equal(sums, expected.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": 17}, "mask has 17"),
        ({"offset": 35}, r"offset is \(1, 2, 2, 35\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, message):
    last = {"value": 6, "offset": 36, "mask": 18} | change
    arguments = [torch.zeros(1, 2, 2, last[name]) for name in ("value", "offset", "mask")]
    with pytest.raises(ValueError, match=message):
        sample_taps(*arguments, TapGrid())


def on_a_gpu():
    """What the choice of the kernels asks of a tensor."""
    return SimpleNamespace(is_cuda=True, device=torch.device("cuda", 0))


def test_kernels_are_for_gpus_where_they_work(monkeypatch):
    monkeypatch.setattr(ops_dcnv3, "_triton_works", lambda device: device.index == 0)
    assert ops_dcnv3._takes_triton(on_a_gpu())
    assert not ops_dcnv3._takes_triton(torch.zeros(1))
    elsewhere = SimpleNamespace(is_cuda=True, device=torch.device("cuda", 1))
    assert not ops_dcnv3._takes_triton(elsewhere)


def test_without_triton_there_are_no_kernels(monkeypatch):
    monkeypatch.delitem(sys.modules, "mtp_hf.modeling.ops_dcnv3_triton", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not ops_dcnv3._takes_triton(on_a_gpu())


def test_kernels_make_way_for_determinism_and_export(monkeypatch):
    monkeypatch.setattr(ops_dcnv3, "_triton_works", lambda _: True)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert not ops_dcnv3._takes_triton(on_a_gpu())
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert not ops_dcnv3._takes_triton(on_a_gpu())


@pytest.mark.parametrize(("setting", "expected"), [(None, True), ("1", True), ("0", False)])
def test_the_environment_turns_kernels_off(monkeypatch, setting, expected):
    monkeypatch.delenv("MTP_HF_TRITON", raising=False)
    if setting is not None:
        monkeypatch.setenv("MTP_HF_TRITON", setting)
    spec = importlib.util.spec_from_file_location(
        "mtp_hf.modeling.ops_dcnv3_again", ops_dcnv3.__file__
    )
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    again._triton_works = lambda _: True
    assert again._takes_triton(on_a_gpu()) is expected
