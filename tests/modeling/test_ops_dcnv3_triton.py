"""The Triton kernels of deformable convolution: the results of their twin in PyTorch.

Without a GPU triton's interpreter runs them, its compiler translates them for GPUs that are not
here, and Dynamo traces them.
"""

import os
import re
import subprocess
import sys

import pytest
import torch

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.modeling_internimage import InternImageBackbone, TapLinear
from mtp_hf.modeling.ops_dcnv3 import TapGrid, sample_taps, sample_taps_by_torch
from tests.conftest import ROOT

triton = pytest.importorskip("triton", reason="the kernels need triton, which is optional")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mtp_hf.modeling import ops_dcnv3, ops_dcnv3_triton  # noqa: E402
from mtp_hf.modeling.ops_dcnv3_triton import sample_taps_by_triton  # noqa: E402

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
# Grid, size of the map (B, H, W), groups, channels of a group, types of value, offset and mask.
CASES = {
    "one program": (TapGrid(), (1, 3, 4), 2, 4, (F32, F32, F32)),
    "several programs": (TapGrid(), (2, 5, 7), 2, 16, (F32, F32, F32)),
    "channels that are no power of two": (TapGrid(), (2, 4, 3), 2, 5, (F32, F32, F32)),
    "one channel": (TapGrid(), (1, 5, 1), 4, 1, (F32, F32, F32)),
    "more channels than a block": (TapGrid(), (1, 1, 2), 1, 1025, (F32, F32, F32)),
    "stride, no centre": (TapGrid(3, 2, 1, 1, 1.5, True), (2, 7, 6), 3, 5, (F64, F64, F64)),
    "dilation": (TapGrid(5, 1, 2, 2, 0.5), (1, 4, 5), 1, 3, (F64, F64, F64)),
    "padding beyond an empty map": (TapGrid(1, 1, 2), (1, 0, 2), 1, 3, (F32, F32, F32)),
    "no image": (TapGrid(), (0, 4, 4), 2, 4, (F32, F32, F32)),
    "no output": (TapGrid(), (1, 4, 0), 2, 4, (F32, F32, F32)),
    "bf16": (TapGrid(offset_scale=2.0), (1, 3, 4), 2, 16, (BF16, BF16, BF16)),
    "fp16": (TapGrid(offset_scale=2.0), (1, 3, 4), 2, 16, (F16, F16, F16)),
    "autocast": (TapGrid(offset_scale=2.0), (1, 3, 4), 2, 16, (BF16, BF16, F32)),
}
# Sums in another order; rounded to half precision, a unit in the last place.
TOLERANCES = {F64: 1e-12, F32: 3e-5, F16: 2**-10, BF16: 2**-7}


def make_case(grid, size, groups, group_channels, kinds, device="cpu"):
    """Draw value, offset, mask and a gradient of the sums: arguments of `run_kernels`."""
    batch, height, width = size
    outputs = (batch, grid.output_length(height), grid.output_length(width))
    taps, channels = groups * grid.num_taps, groups * group_channels
    shapes = (*size, channels), (*outputs, 2 * taps), (*outputs, taps), (*outputs, channels)
    value, offset, mask, cotangent = (
        torch.randn(shape, dtype=F64).to(device, kind)
        for shape, kind in zip(shapes, (*kinds, kinds[0]), strict=True)
    )
    return value, offset, mask, tuple(grid), cotangent


def odd_cases():
    """Far, infinite and undefined places, and arguments that are not contiguous."""
    value, offset, mask, grid, cotangent = make_case(*CASES["one program"])
    turned = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in (value, offset, mask))
    return {
        "far": (value, torch.full_like(offset, 1e9), mask, grid, cotangent),
        "infinite": (value, torch.full_like(offset, -torch.inf), mask, grid, cotangent),
        "at the margin": (value, offset.sign() * 2, mask, grid, cotangent),
        "undefined": (value, torch.full_like(offset, torch.nan), mask, grid, cotangent),
        "not contiguous": (*turned, grid, cotangent[..., :1].expand_as(cotangent)),
    }


def run_core(core, value, offset, mask, grid, cotangent):
    """Return the sums and the gradients of value, offset and mask."""
    arguments = [tensor.detach().requires_grad_() for tensor in (value, offset, mask)]
    sums = core(*arguments, TapGrid(*grid))
    return [sums.detach(), *torch.autograd.grad(sums, arguments, cotangent)]


def assert_same(actual, expected):
    for ours, theirs in zip(actual, expected, strict=True):
        tolerance = TOLERANCES[theirs.dtype]
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Arguments and the interpreter's results by the names of the cases, from one process."""
    torch.manual_seed(0)
    cases = {name: make_case(*case) for name, case in CASES.items()} | odd_cases()
    folder = tmp_path_factory.mktemp("interpreted")
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-m", "tests.modeling.run_dcnv3_kernels"]
    subprocess.run(
        [*command, str(folder / "cases.pt"), str(folder / "results.pt")],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=True,
    )
    return cases, torch.load(folder / "results.pt")


@pytest.mark.parametrize("name", [*CASES, "far", "infinite", "at the margin", "not contiguous"])
def test_interpreted_kernels_have_the_sums_and_gradients_of_the_twin(interpreted, name):
    cases, results = interpreted
    assert_same(results[name], run_core(sample_taps_by_torch, *cases[name]))


def test_sums_of_undefined_places_are_undefined(interpreted):
    assert interpreted[1]["undefined"][0].isnan().all()


def test_gradients_of_gradients_are_refused(monkeypatch):
    monkeypatch.setattr(ops_dcnv3_triton, "_launch", lambda *_: None)
    value, offset, mask, grid, _ = make_case(*CASES["one program"])
    sums = sample_taps_by_triton(value.requires_grad_(), offset, mask, TapGrid(*grid))
    (gradient,) = torch.autograd.grad(sums.square().sum(), value, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


KINDS = {"value": "*bf16", "offset": "*bf16", "mask": "*fp32"}
OTHERS = {"sums": "*bf16", "grad_sums": "*bf16", "grad_value": "*fp32"}
OTHERS |= {"grad_offset": "*bf16", "grad_mask": "*fp32"}
CONSTANTS = {
    "TAPS": 8, "KERNEL": 3, "LEFT_OUT": 4, "STRIDE": 1, "FIRST": 0, "DILATION": 1, "REACH": 1,
    "SCALE": 2.0, "IN_DOUBLE": False, "BLOCK": 64, "BLOCK_CHANNELS": 16,
}  # fmt: skip


@pytest.mark.parametrize("ones", [(), ("height", "width", "groups", "num_sums")])
@pytest.mark.parametrize("name", ["_sum_kernel", "_gradient_kernel"])
def test_kernels_can_be_translated_for_a_gpu(name, ones, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(ops_dcnv3_triton, name)
    constants = CONSTANTS | dict.fromkeys(ones, 1)  # triton writes ones into the code
    signature = {
        argument: "constexpr" if argument in constants else (KINDS | OTHERS).get(argument, "i32")
        for argument in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    # Adding up from several programs is called red or atom, by the version of triton.
    adds_up = re.search(r"\b(red|atom)\.\S*add", compiled.asm["ptx"]) is not None
    assert adds_up == (name == "_gradient_kernel")
    assert compiled.asm["cubin"]


def test_the_trial_does_not_mind_that_gradients_are_off(interpreted):
    assert interpreted[1]["trial in inference mode"] is True


def test_where_kernels_fail_the_twin_takes_over_with_a_warning():
    with pytest.warns(UserWarning, match="InternImage does without its Triton kernels: "):
        assert not ops_dcnv3_triton.works_on.__wrapped__(torch.device("cpu"))


def test_tracing_keeps_both_kernels_in_one_graph(monkeypatch):
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda **_: True)
    graphs = []

    def keep_graph(graph, _):
        graphs.append(graph)
        return lambda *_: (torch.zeros(1),)

    value, offset, mask, grid, _ = make_case(*CASES["autocast"])
    traced = torch.compile(
        lambda *arguments: sample_taps_by_triton(*arguments, TapGrid(*grid)),
        backend=keep_graph,
        fullgraph=True,
    )
    traced(value.requires_grad_(), offset, mask)
    (graph,) = graphs
    code = "".join(m.code for m in graph.modules() if isinstance(m, torch.fx.GraphModule))
    assert code.count("triton_kernel_wrapper_mutation(") == 2


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_kernels_on_a_gpu_have_the_sums_and_gradients_of_the_twin(name):
    case = make_case(*CASES[name], device="cuda")
    assert_same(run_core(sample_taps_by_triton, *case), run_core(sample_taps_by_torch, *case))


@pytest.mark.gpu
def test_a_gpu_takes_the_kernels_unless_equal_runs_have_to_be_equal(monkeypatch):
    used = []
    monkeypatch.setattr(
        ops_dcnv3_triton, "sample_taps_by_triton", lambda value, *_: used.append(1) or value
    )
    value, offset, mask, grid, _ = make_case(*CASES["one program"], device="cuda")
    sample_taps(value, offset, mask, TapGrid(*grid))
    assert used == [1]
    torch.use_deterministic_algorithms(True)
    try:
        sample_taps(value, offset, mask, TapGrid(*grid))
    finally:
        torch.use_deterministic_algorithms(False)
    assert used == [1]


def run_backbone(switch, backbone, image, kind):
    """Return the last map and all gradients in a row, with or without the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops_dcnv3, "USE_TRITON", switch)
        backbone.zero_grad()
        with torch.autocast("cuda", dtype=kind, enabled=kind != F32):
            last = backbone(image).feature_maps[-1].float()
        last.square().mean().backward()
    gradients = [p.grad.flatten() for p in backbone.parameters() if p.grad is not None]
    return last.detach(), torch.cat(gradients)


@pytest.mark.gpu
@pytest.mark.parametrize(("is_compiled", "kind"), [(False, F32), (False, BF16), (True, F32)])
def test_internimage_is_the_same_with_kernels(is_compiled, kind):
    backbone = InternImageBackbone(InternImageConfig(**INTERNIMAGE_SIZES["tiny"])).cuda().eval()
    for layer in backbone.modules():
        if isinstance(layer, TapLinear):
            torch.nn.init.normal_(layer.weight, std=0.1)  # taps that move
    image = torch.randn(2, 3, 96, 64, device="cuda")
    expected = run_backbone(False, backbone, image, kind)
    run = torch.compile(backbone, fullgraph=True) if is_compiled else backbone
    for ours, theirs in zip(run_backbone(True, run, image, kind), expected, strict=True):
        # Rounding of every layer; a wrong tap gives about one.
        assert (ours - theirs).norm() < (0.1 if kind == BF16 else 0.01) * theirs.norm()
