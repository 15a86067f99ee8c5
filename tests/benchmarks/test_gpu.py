"""The GPU's benchmark: said to be impossible without one, run where there is one."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.report import NotHereError


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotHereError, match="no GPU"):
        gpu.run(quick=True)


def test_operations_are_counted_two_for_each_product():
    matrix = torch.randn(10, 20)
    assert gpu._flops(lambda: matrix @ matrix.T) == 2 * 10 * 20 * 10


@pytest.mark.gpu
def test_quick_rows_are_eager_plain_compiled_and_training():
    rows = gpu.run(quick=True)
    cases = [row.case for row in rows]
    for kind in ("fp32", "bf16"):
        for name in ("eager", "plain", "compiled"):
            assert f"forward, {name}, {kind}, 2 x 112 px" in cases
    assert cases[-1] == "forward + backward, eager, bf16 autocast, 1 x 112 px"
    assert all(row.value > 0 and "TFLOP/s" in row.note and "MiB" in row.note for row in rows)
