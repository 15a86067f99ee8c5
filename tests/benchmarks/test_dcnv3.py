"""The benchmark of deformable convolution: the other side computes the same, memory is real."""

import pytest
import torch

from benchmarks import dcnv3
from benchmarks.dcnv3 import (
    CORES,
    GRID,
    _measure_peak,
    make_backbone,
    one_pass,
    random_arguments,
    run,
    sample_at_once,
    shapes_of_stages,
    use_core,
)
from benchmarks.report import NotHereError
from mtp_hf.modeling import modeling_internimage
from mtp_hf.modeling.ops_dcnv3 import sample_taps

needs_proc = pytest.mark.skipif(
    not dcnv3.CLEAR_REFS.exists(), reason="peak memory is read from /proc"
)


def test_shapes_are_those_of_the_largest_model():
    assert shapes_of_stages(224) == [(56, 192), (28, 384), (14, 768), (7, 1536)]
    assert shapes_of_stages(512)[0] == (128, 192)


def test_both_cores_compute_the_same_sums_and_gradients():
    arguments = [a.double().requires_grad_() for a in random_arguments((6, 48))]
    results = []
    for core in CORES.values():
        sums = core(*arguments, GRID)
        results.append([sums, *torch.autograd.grad(sums.sin().sum(), arguments)])
    assert results[0][0].shape == (1, 6, 6, 48) and results[0][0].abs().sum() > 0
    for ours, theirs in zip(*results, strict=True):
        # The centres and scales of the other side are float32.
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_other_side_keeps_images_apart():
    one, two = random_arguments((4, 32)), [2 * a for a in random_arguments((4, 32))]
    both = sample_at_once(*(torch.cat(pair) for pair in zip(one, two, strict=True)), GRID)
    torch.testing.assert_close(both[:1], sample_at_once(*one, GRID))
    torch.testing.assert_close(both[1:], sample_at_once(*two, GRID))


def test_backward_makes_all_three_gradients(monkeypatch):
    found = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a: found.append(grad(*a)))
    one_pass(sample_taps, (4, 16), "forward")()
    assert found == []
    one_pass(sample_taps, (4, 16), "forward + backward")()
    assert [g.shape[-1] for g in found[0]] == [16, 18, 9]
    assert all(g.abs().sum() > 0 for g in found[0])


def test_the_model_runs_with_either_core_and_gets_its_own_back():
    backbone, image = make_backbone("tiny"), torch.randn(1, 3, 64, 64)
    calls = []

    def watched(*arguments):
        calls.append(arguments[1].std())
        return sample_at_once(*arguments)

    with torch.no_grad():
        ours = backbone(image).feature_maps
        with use_core(watched):
            other = backbone(image).feature_maps
    assert len(calls) == 5 and min(calls) > 0.3  # every layer, and its taps move
    assert modeling_internimage.sample_taps is sample_taps
    for one, two in zip(ours, other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


@needs_proc
def test_quick_rows_are_core_memory_and_model(monkeypatch):
    # In this process: fresh ones take seconds to import everything.
    monkeypatch.setattr(dcnv3, "_peak_of_process", _measure_peak)
    rows = run(quick=True)
    assert [row.case for row in rows] == [
        "core, forward, geometric mean of 2 shapes",
        "core, forward + backward, geometric mean of 2 shapes",
        "core, peak memory of a pass, worst shape",
        "InternImage-tiny, forward, 64 px",
    ]
    assert [(row.at_least, row.at_most) for row in rows] == [
        (2.0, None),
        (1.5, None),
        (None, 1.0),
        (None, 0.9),
    ]
    assert all(row.value > 0 for row in rows)
    assert "8 x 8 x 32" in rows[0].note and "4 x 4 x 64" in rows[1].note


def test_memory_is_reported_where_we_do_worst():
    shapes = [(8, 32), (4, 64)]
    peaks = {(shapes[0], "forward"): (2**20, 2**22), (shapes[1], "forward"): (2**20, 2**21)}
    row = dcnv3._memory_row(peaks)
    assert row.value == 0.5 and row.is_met
    assert row.note.startswith("worst forward, 4 x 4 x 64: 1.0 and 2.0 MiB; best forward, 8 x 8")


@needs_proc
@pytest.mark.slow  # starts processes that import everything
def test_a_fresh_process_holds_all_samples_of_the_other_side():
    ours, other = (dcnv3._peak_of_process(side, (56, 192), "forward") for side in CORES)
    assert other > 9 * 56 * 56 * 192 * 4  # nine samples of every value
    assert 0 < ours < other


def test_a_system_without_proc_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(dcnv3, "CLEAR_REFS", tmp_path / "absent")
    with pytest.raises(NotHereError, match="/proc"):
        run(quick=True)
