"""The ViT + RVSA backbone against recordings of the original code, in float32 on a CPU."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    load_original_weights,
)
from mtp_hf.modeling.modeling_vit_rvsa import (
    FullAttention,
    RotatedVariedSizeWindowAttention,
    ViTRVSABackbone,
)
from mtp_hf.modeling.ops_position_tables import resize_position_embedding, resize_rel_pos
from tests.original_names import rename_keys, rename_vit_rvsa_keys
from tests.parity.recordings import Recording, recorded_noise, recorded_weights

SMALL = {
    "hidden_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "full_attention_interval": 3,
    "drop_path_rate": 0.0,
}
GRIDS = ["7x7", "8x8", "14x14", "10x10", "9x15", "15x8", "21x7"]


def _recording(shared_dir, name):
    return Recording(shared_dir / "fixtures", name)


def _backbone(**overrides):
    return ViTRVSABackbone(ViTRVSAConfig(**SMALL, **overrides)).eval()


def _load_attention(module, state_dict):
    """Load one attention module, renamed as part of block 0."""
    whole = {f"blocks.0.attn.{key}": value for key, value in state_dict.items()}
    renamed = rename_keys(whole, VIT_RVSA_TABLE)
    module.load_state_dict({k.removeprefix("layers.0.attention."): v for k, v in renamed.items()})
    return module


def _attention_config(**overrides):
    return ViTRVSAConfig(
        hidden_size=48,
        num_attention_heads=4,
        num_hidden_layers=4,
        attn_implementation="sdpa",
        **overrides,
    )


def _noise(shared_dir):
    return partial(recorded_noise, shared_dir / "fixtures")


@pytest.fixture(scope="module")
def attention_recording(shared_dir):
    return _recording(shared_dir, "rvsa_attention")


def test_window_attention_equals_the_recording_that_travels(fixtures_dir):
    tensors = load_file(fixtures_dir / "vit_rvsa_attention.safetensors")
    weights = {k.split("/")[-1]: v for k, v in tensors.items() if k.startswith("state_dict")}
    module = _load_attention(RotatedVariedSizeWindowAttention(_attention_config()), weights)
    output, _ = module(tensors["window/15x8/input"], (15, 8))
    torch.testing.assert_close(output, tensors["window/15x8/output"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("grid", GRIDS)
def test_window_attention_equals_the_recording(attention_recording, grid):
    module = _load_attention(
        RotatedVariedSizeWindowAttention(_attention_config()),
        attention_recording.under("state_dict/window"),
    )
    recorded = attention_recording.under(f"window/{grid}")
    output, _ = module(recorded["input"], tuple(int(side) for side in grid.split("x")))
    torch.testing.assert_close(output, recorded["output"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [7, 10])
def test_full_attention_equals_the_recording(attention_recording, side):
    recorded = attention_recording.under(f"full/{side}")
    module = FullAttention(_attention_config(image_size=16 * side))
    _load_attention(module, attention_recording.under(f"full/{side}/state_dict"))
    output, _ = module(recorded["input"], (side, side))
    torch.testing.assert_close(output, recorded["output"], atol=1e-4, rtol=0)


def _solve_cotangent(output, x, gradient):
    """Find the gradient of the output that was recorded as this gradient of the input.

    The recording does not store it; images do not see each other, so each is solved alone.
    """
    batch, size = output.shape[0], output[0].numel()
    columns = []
    for unit in torch.eye(size, dtype=output.dtype):
        along = unit.expand(batch, size).view_as(output)
        columns.append(torch.autograd.grad(output, x, along, retain_graph=True)[0].flatten(1))
    jacobian = torch.stack(columns, -1)
    return torch.linalg.solve(jacobian, gradient.flatten(1)).view_as(output)


@pytest.mark.parametrize("kind", ["window", "full"])
def test_parameter_gradients_fit_the_recorded_input_gradient(attention_recording, kind):
    if kind == "window":
        module = RotatedVariedSizeWindowAttention(_attention_config())
        weights, recorded = "state_dict/window", attention_recording.under("window/7x7")
    else:
        module = FullAttention(_attention_config(image_size=112))
        weights, recorded = "full/7/state_dict", attention_recording.under("full/7")
    module = _load_attention(module, attention_recording.under(weights)).double()
    x = recorded["input"].double().requires_grad_()
    output, _ = module(x, (7, 7))
    output.backward(_solve_cotangent(output, x, recorded["grad_input"].double()))
    gradients = {k.removeprefix("grad/"): v for k, v in recorded.items() if k.startswith("grad/")}
    gradients = rename_keys({f"blocks.0.attn.{k}": v for k, v in gradients.items()}, VIT_RVSA_TABLE)
    assert gradients
    for name, expected in gradients.items():
        gradient = module.get_parameter(name.removeprefix("layers.0.attention.")).grad
        error = (gradient - expected).abs().max() / expected.abs().max()
        # Solving magnifies the rounding of the recorded gradient of the input, to about 2e-4.
        assert error < 1e-3, f"{name}: {error:.1e}"


def _assert_backbone(recording, backbone, noise):
    """Compare maps, loss and gradients of a recorded backbone."""
    image = recording["input"].clone().requires_grad_()
    maps = backbone(image).feature_maps
    for level, m in enumerate(maps):
        torch.testing.assert_close(m, recording[f"out/feat/{level}"], atol=1e-4, rtol=0)
    loss = sum(
        (m * noise(f"input:cot:{level}", m.shape)).sum() / m.numel() ** 0.5
        for level, m in enumerate(maps)
    )
    torch.testing.assert_close(loss, recording["out/loss"], atol=0, rtol=1e-4)
    loss.backward()
    recording.assert_gradient(image.grad, "out/grad_input")
    for name in recording.under("out/grad"):
        (own,) = rename_vit_rvsa_keys({name: torch.zeros(1)}, prefix="")
        recording.assert_gradient(backbone.get_parameter(own).grad, f"out/grad/{name}")


def test_pretraining_backbone_equals_the_recording(shared_dir):
    recording = _recording(shared_dir, "rvsa_pretrain_112")
    backbone = _backbone(image_size=112)
    weights = rename_vit_rvsa_keys(recording.under("state_dict"), prefix="")
    assert not any(name.startswith("norm") for name in weights)
    backbone.load_state_dict(weights)
    _assert_backbone(recording, backbone, _noise(shared_dir))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_segmentation_backbone_equals_the_recording(shared_dir, implementation):
    recording = _recording(shared_dir, "rvsa_ft_seg")
    backbone = _backbone(image_size=128)
    backbone.set_attn_implementation(implementation)
    weights = recorded_weights(shared_dir / "fixtures", recording.meta["keys"], "rvsa")
    backbone.load_state_dict(rename_vit_rvsa_keys(weights, prefix=""))
    _assert_backbone(recording, backbone, _noise(shared_dir))


@pytest.mark.parametrize("size", [112, 224, 448])
def test_position_table_of_an_autoencoder_loads_as_recorded(shared_dir, size):
    recording = _recording(shared_dir, "rvsa_loading")
    backbone = _backbone(image_size=size)
    checkpoint = {"pos_embed": recording["ckpt_mae/pos_embed"], "cls_token": torch.zeros(1, 1, 96)}
    report = load_original_weights(backbone, checkpoint, VIT_RVSA_TABLE)
    assert report["unused"] == ["cls_token"]
    torch.testing.assert_close(
        backbone.embeddings.position_embeddings.detach(),
        recording[f"loaded_mae/{size}/pos_embed"],
        atol=1e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize("size", [128, 400])
def test_tables_of_an_encoder_are_resized_as_recorded(shared_dir, size):
    recording, side = _recording(shared_dir, "rvsa_loading"), size // 16
    for name, expected in recording.under(f"loaded/seg/{size}").items():
        table = recording[f"ckpt_encoder/{name}"]
        if name == "pos_embed":
            resized = resize_position_embedding(table, (side, side))
        else:
            resized = resize_rel_pos(table, 2 * side - 1)
        torch.testing.assert_close(resized, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("manifest", "size", "image_size", "overrides"),
    [
        ("B@224", "base", 224, {}),
        ("B@448", "base", 448, {}),
        ("L@448", "large", 448, {}),
        ("seg/vit_rvsa_mtp/RVSA_MTP/B@512", "base", 512, {}),
        ("cls/vit_rvsa_mtp/RVSA_MTP/B@224", "base", 224, {}),
        (
            "hdet/vit_rvsa_mtp_branches/RVSA_MTP_branches/L@800",
            "large",
            800,
            {"use_full_attention_rel_pos": False},
        ),
        (
            "hdet/vit_rvsa_mtp/RVSA_MTP/B@800",
            "base",
            800,
            {"use_full_attention_rel_pos": False, "feature_variant": "last_layer_pyramid"},
        ),
    ],
)
def test_full_size_names_and_shapes_are_those_of_the_original(
    shared_dir, manifest, size, image_size, overrides
):
    path = shared_dir / "fixtures" / "keys_backbones.json"
    keys = json.loads(path.read_text())[manifest]["keys"]
    shapes = {name: torch.empty(shape, device="meta") for name, (shape, _) in keys.items()}
    with torch.device("meta"):
        backbone = ViTRVSABackbone(
            ViTRVSAConfig(**VIT_RVSA_SIZES[size] | {"image_size": image_size} | overrides)
        )
    keep_norm = overrides.get("feature_variant") == "last_layer_pyramid"
    renamed = rename_vit_rvsa_keys(shapes, prefix="", keep_norm=keep_norm)
    assert {k: v.shape for k, v in renamed.items()} == {
        k: v.shape for k, v in backbone.state_dict().items()
    }
