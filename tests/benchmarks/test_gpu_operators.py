"""Operators on a GPU: said to be impossible without one, run where there is one."""

import sys

import pytest
import torch

from benchmarks.dcnv3 import PASSES
from benchmarks.gpu_operators import pooling_sides, run, sampling_cores
from benchmarks.report import NotHereError
from mtp_hf.modeling.ops_dcnv3 import sample_taps_by_torch


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotHereError, match="no GPU"):
        run(quick=True)


def test_without_triton_it_says_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "mtp_hf.modeling.ops_dcnv3_triton", raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(NotHereError, match="no triton"):
        sampling_cores()


def test_kernels_are_compared_with_their_twin():
    pytest.importorskip("triton", reason="the kernels need triton, which is optional")
    triton_core, twin = sampling_cores().values()
    assert triton_core.__module__ == "mtp_hf.modeling.ops_dcnv3_triton"
    assert twin is sample_taps_by_torch


def test_regions_are_pooled_rotated_and_upright_with_and_without_gradients(monkeypatch):
    found = {}
    grad = torch.autograd.grad
    for name, side in pooling_sides(3, 16, 2, "cpu").items():
        calls = []
        monkeypatch.setattr(torch.autograd, "grad", lambda *a, calls=calls: calls.append(grad(*a)))
        side()
        found[name] = [gradients[0].shape for gradients in calls]
    shape = (1, 2, 16, 16)
    assert found == {
        f"{kind}, {name}": [shape] if name == PASSES[1] else []
        for kind in ("rotated", "upright")
        for name in PASSES
    }


@pytest.mark.gpu
def test_quick_rows_are_regions_and_cores():
    rows = run(quick=True)
    assert [row.case.split(", ")[0] for row in rows] == [*PASSES, *["core"] * 4]
    assert all(row.value > 0 for row in rows)
    assert all("x the memory" in row.note for row in rows[2:])
