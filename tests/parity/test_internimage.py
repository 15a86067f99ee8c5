"""DCNv3 and InternImage against recordings of the original code, in float32 on a CPU."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.modeling_internimage import DeformableConvV3, InternImageBackbone
from mtp_hf.modeling.ops_dcnv3 import TapGrid, sample_taps
from mtp_hf.training.optim import is_decayed
from tests.original_names import rename_keys
from tests.parity.recordings import Recording, recorded_noise

# As recorded: kernel, stride, padding, dilation, offset scale, without centre.
GRIDS = {
    "plain": TapGrid(3, 1, 1, 1, 1.0, False),
    "xl": TapGrid(3, 1, 1, 1, 2.0, False),
    "stride2": TapGrid(3, 2, 1, 1, 1.5, False),
    "dilated": TapGrid(3, 1, 2, 2, 1.0, False),
    "k5_no_center": TapGrid(5, 1, 2, 1, 1.0, True),
}
ARGUMENTS = ("input", "offset", "mask")
SMALL = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_groups": [2, 4, 8, 16]}


@pytest.fixture(params=["part that travels", "all groups and images"])
def core(request, fixtures_dir):
    if request.param == "part that travels":
        return load_file(fixtures_dir / "dcnv3_core.safetensors")
    return load_file(request.getfixturevalue("shared_dir") / "fixtures" / "dcnv3.safetensors")


@pytest.fixture(scope="module")
def internimage(shared_dir):
    return Recording(shared_dir / "fixtures", "internimage_64x64")


def _under(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _relative_error(actual, expected):
    return float((actual - expected).abs().max() / expected.abs().max())


# The core


@pytest.mark.parametrize("case", GRIDS)
def test_sampling_core_equals_the_recording(core, case):
    recorded = _under(core, f"core/{case}/")
    output = sample_taps(*(recorded[name] for name in ARGUMENTS), GRIDS[case])
    torch.testing.assert_close(output, recorded["output"], atol=1e-5, rtol=0)


def _jacobians(recorded, grid):
    """Differentiate each image and group: (images x groups, values of an argument, outputs)."""
    images, height, width, channels = recorded["output"].shape
    groups = recorded["mask"].shape[-1] // grid.num_taps
    size = channels // groups
    units = torch.eye(height * width * size, dtype=torch.float64)
    units = units.view(-1, 1, height, width, 1, size)  # for all images and groups at once
    cotangents = units.expand(-1, images, -1, -1, groups, -1).reshape(-1, height, width, channels)
    copies = [
        recorded[name].double().repeat(len(units), 1, 1, 1).requires_grad_() for name in ARGUMENTS
    ]
    gradients = torch.autograd.grad(sample_taps(*copies, grid), copies, cotangents)
    return [_by_group(g.unflatten(0, (-1, images)), groups).movedim(0, -1) for g in gradients]


def _by_group(tensor, groups):
    """(..., images, H, W, groups x n) -> (..., images x groups, H W n)."""
    return tensor.unflatten(-1, (groups, -1)).movedim(-2, -4).flatten(-3).flatten(-3, -2)


@pytest.mark.parametrize("case", GRIDS)
def test_gradients_of_the_core_fit_each_other_as_recorded(core, case):
    # The gradient of the output was not recorded. The three recorded gradients are several times as
    # many equations as it has values, so only right gradients solve them.
    recorded, grid = _under(core, f"core/{case}/"), GRIDS[case]
    groups = recorded["mask"].shape[-1] // grid.num_taps
    jacobians = _jacobians(recorded, grid)
    gradients = [_by_group(recorded[f"grad_{name}"].double(), groups) for name in ARGUMENTS]
    matrix, right = torch.cat(jacobians, 1), torch.cat(gradients, 1)
    assert matrix.shape[1] > 2 * matrix.shape[2]
    solution = torch.linalg.lstsq(matrix, right).solution.unsqueeze(-1)
    assert 0.8 < solution.std() < 1.2  # it was drawn from a normal distribution
    for jacobian, expected in zip(jacobians, gradients, strict=True):
        assert _relative_error((jacobian @ solution).squeeze(-1), expected) < 1e-4


def test_grids_are_those_of_the_recording(shared_dir):
    meta = json.loads((shared_dir / "fixtures" / "dcnv3.json").read_text())
    names = ("kernel", "stride", "pad", "dilation", "offset_scale", "remove_center")
    assert {k: tuple(v[n] for n in names) for k, v in meta["args"].items()} == GRIDS


# The module


def _recorded_module(fixtures_dir):
    recorded = _under(load_file(fixtures_dir / "dcnv3_module.safetensors"), "module/")
    config = InternImageConfig(embed_dim=32, depths=[1], num_groups=[4], offset_scale=2.0)
    module = DeformableConvV3(config, 32, 4)
    module.load_state_dict(_renamed(_under(recorded, "state_dict/")))
    return module, recorded


def _renamed(of_module):
    """Rename what belongs to one module as part of the first layer."""
    whole = {f"levels.0.blocks.0.dcn.{key}": value for key, value in of_module.items()}
    renamed = rename_keys(whole, INTERNIMAGE_TABLE)
    return {k.removeprefix("stages.0.layers.0.dcn."): v for k, v in renamed.items()}


def test_module_equals_the_recording(fixtures_dir):
    module, recorded = _recorded_module(fixtures_dir)
    torch.testing.assert_close(module(recorded["input"]), recorded["output"], atol=1e-5, rtol=0)


@pytest.mark.slow  # differentiates 2,240 outputs of each image to find what was not recorded
def test_parameter_gradients_of_the_module_fit_the_recorded_input_gradient(fixtures_dir):
    module, recorded = _recorded_module(fixtures_dir)
    module, outputs = module.double(), []
    for image, gradient in zip(recorded["input"], recorded["grad_input"], strict=True):
        rows = []
        for units in torch.eye(image.numel(), dtype=torch.float64).split(140):
            copies = image.double().repeat(len(units), 1, 1, 1).requires_grad_()
            cotangents = units.view(-1, *image.shape)
            rows.append(torch.autograd.grad(module(copies), copies, cotangents)[0].flatten(1))
        outputs.append(torch.linalg.solve(torch.cat(rows).T, gradient.double().flatten()))
    module(recorded["input"].double()).backward(torch.stack(outputs).view(2, *image.shape))
    for name, expected in _renamed(_under(recorded, "grad/")).items():
        # Solving magnifies the rounding of the recorded gradient of the input.
        assert _relative_error(module.get_parameter(name).grad, expected) < 1e-3, name


# The backbone


def test_backbone_equals_the_recording(internimage, shared_dir):
    backbone = InternImageBackbone(InternImageConfig(**SMALL)).eval()
    backbone.load_state_dict(rename_keys(internimage.under("state_dict"), INTERNIMAGE_TABLE))
    image = internimage["input"].clone().requires_grad_()
    maps = backbone(image).feature_maps
    losses = []
    for level, m in enumerate(maps):
        torch.testing.assert_close(m, internimage[f"feat/{level}"], atol=1e-4, rtol=0)
        noise = recorded_noise(shared_dir / "fixtures", f"input:cot:{level}", m.shape)
        losses.append((m * noise).sum() / m.numel() ** 0.5)
    loss = torch.stack(losses).sum()
    torch.testing.assert_close(loss, internimage["loss"], atol=0, rtol=1e-4)
    loss.backward()
    internimage.assert_gradient(image.grad, "grad_input")
    names = rename_keys({name: name for name in internimage.under("grad")}, INTERNIMAGE_TABLE)
    assert len(names) == 11
    for name, original in names.items():
        internimage.assert_gradient(backbone.get_parameter(name).grad, f"grad/{original}")


# Names


def test_every_original_key_becomes_one_parameter_of_the_same_shape(shared_dir, internimage):
    path = shared_dir / "fixtures" / "keys_backbones.json"
    manifests = [
        (json.loads(path.read_text())["XL@224"]["keys"], INTERNIMAGE_SIZES["XL"]),
        (internimage.meta["keys"], SMALL),
    ]
    for keys, size in manifests:
        shapes = {key: torch.empty(shape, device="meta") for key, (shape, _) in keys.items()}
        with torch.device("meta"):
            backbone = InternImageBackbone(InternImageConfig(**size))
        renamed = rename_keys(shapes, INTERNIMAGE_TABLE)
        assert len(renamed) == len(keys)
        assert {k: v.shape for k, v in renamed.items()} == {
            k: v.shape for k, v in backbone.state_dict().items()
        }


def test_layers_and_weight_decay_are_those_of_the_original(shared_dir):
    recorded = json.loads((shared_dir / "fixtures" / "optimizer_groups.json").read_text())
    groups = recorded["pretrain small internimage (num_layers=5, rate 0.94, depths 1 1 2 1)"]
    with torch.device("meta"):
        backbone = InternImageBackbone(InternImageConfig(**SMALL))
    parameters = dict(backbone.named_parameters())
    seen = 0
    for group in groups["groups"].values():
        names = {n.removeprefix("encoder."): n for n in group["names"] if n.startswith("encoder.")}
        for name in rename_keys(names, INTERNIMAGE_TABLE):
            scale = 0.94 ** (backbone.num_layers + 1 - backbone.layer_id(name))
            assert scale == pytest.approx(group["lr_scale"]), name
            assert is_decayed(name, parameters[name]) == (group["weight_decay"] > 0), name
            seen += 1
    assert seen == len(parameters)
