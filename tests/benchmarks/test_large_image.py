"""The 1,024-pixel benchmark: the other side computes the same, and memory is really measured."""

import pytest
import torch

from benchmarks import large_image
from benchmarks.large_image import _measure_peak, make_side, read_memory, run
from benchmarks.report import NotHereError

needs_proc = pytest.mark.skipif(
    not large_image.CLEAR_REFS.exists(), reason="peak memory is read from /proc"
)


def test_both_sides_compute_the_same_maps():
    image = torch.randn(1, 3, 128, 160)
    ours, other = make_side(128, False, quick=True), make_side(128, True, quick=True)
    other.load_state_dict(ours.state_dict())
    with torch.no_grad():
        expected, actual = ours(image).feature_maps, other(image).feature_maps
    for one, two in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_the_other_side_never_cuts_the_bias_into_strips(monkeypatch):
    calls = []
    original = large_image.attend_written_out
    monkeypatch.setattr(
        large_image,
        "attend_written_out",
        lambda *args: calls.append(args[1].shape) or original(*args),
    )
    other = make_side(128, True, quick=True)
    with torch.no_grad():
        other(torch.randn(1, 3, 128, 128))
    full = [layer for layer in other.layers if hasattr(layer.attention, "use_rel_pos")]
    assert len(calls) == len(full) > 0
    assert all(shape[2] == 64 for shape in calls)  # all 8 x 8 tokens at once


@needs_proc
def test_quick_rows_are_memory_and_time(monkeypatch):
    # In this process: a fresh one takes seconds to import everything.
    monkeypatch.setattr(large_image, "_peak_of_process", _measure_peak)
    rows = run(quick=True)
    assert [row.case for row in rows] == ["peak memory, 128 px", "time, 128 px"]
    assert all(row.value > 0 for row in rows)
    assert [(row.at_most, row.unit) for row in rows] == [(0.7, "x"), (1.0, "x")]


@needs_proc
def test_a_large_tensor_raises_the_peak_by_its_size():
    large_image.CLEAR_REFS.write_text("5")
    before = read_memory("VmRSS")
    torch.ones(64, 2**20)  # 256 MiB, freed at once
    assert read_memory("VmHWM") - before == pytest.approx(2**28, rel=0.05)


@needs_proc
@pytest.mark.slow  # starts processes that import everything, at 448 pixels
def test_processes_of_their_own_show_the_difference():
    peaks = [large_image._peak_of_process(448, side, False) for side in (False, True)]
    gained = [peak - before for before, peak in peaks]
    assert gained[0] < gained[1]


def test_a_system_without_proc_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(large_image, "CLEAR_REFS", tmp_path / "absent")
    with pytest.raises(NotHereError, match="/proc"):
        run(quick=True)
