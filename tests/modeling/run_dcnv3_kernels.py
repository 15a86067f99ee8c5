"""Run the Triton kernels of `ops_dcnv3` by triton's interpreter, in a process of their own.

    TRITON_INTERPRET=1 python -m tests.modeling.run_dcnv3_kernels CASES RESULTS

Triton reads the variable when it is imported, so the process of the tests cannot do this. The two
files are imported without the package around them, which would take longer than the kernels.
"""

import importlib
import sys
import types
from pathlib import Path

import torch

operators = types.ModuleType("operators")
operators.__path__ = [str(Path(__file__).resolve().parents[2] / "modeling")]
sys.modules["operators"] = operators
TapGrid = importlib.import_module("operators.ops_dcnv3").TapGrid
kernels = importlib.import_module("operators.ops_dcnv3_triton")


def run(value, offset, mask, grid, cotangent):
    """Return the sums and the gradients of the three arguments."""
    arguments = [tensor.requires_grad_() for tensor in (value, offset, mask)]
    sums = kernels.sample_taps_by_triton(*arguments, TapGrid(*grid))
    return [sums.detach(), *torch.autograd.grad(sums, arguments, cotangent)]


def main(cases, results):
    """Read the cases by name, write the results by the same names."""
    found = {name: run(*case) for name, case in torch.load(cases).items()}
    with torch.inference_mode():
        found["trial in inference mode"] = kernels.works_on(torch.device("cpu"))
    torch.save(found, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
