"""The backbone's benchmark: its rows, its sides, and that both see the same input."""

import pytest
import torch

from benchmarks import backbone
from benchmarks.backbone import forward, forward_backward, make_backbone, run, sum_of_maps
from benchmarks.timing import plain_vit


def test_quick_rows_are_forward_backward_bf16_and_the_large_size():
    rows = run(quick=True)
    assert [row.case for row in rows] == [
        "forward, 112 px",
        "forward + backward, 112 px",
        "forward, 112 px, bf16 against fp32",
        "forward, 112 px, ViT-L",
    ]
    assert all(row.value > 0 for row in rows[:2])
    assert rows[0].note.startswith("ours ") and "plain " in rows[0].note


def test_full_sizes_have_the_targets():
    assert backbone.FORWARD_TARGETS == {224: 1.22, 448: 1.12}
    assert backbone.BACKWARD_TARGETS == {448: 1.15}
    assert (backbone.LARGE_SIZE, backbone.LARGE_FORWARD_TARGET) == (448, 1.15)
    assert set(backbone.ROUNDS) == set(backbone.FORWARD_TARGETS)


def test_without_bf16_instructions_the_row_says_so(monkeypatch):
    monkeypatch.setattr(backbone, "has_bf16_instructions", lambda: False)
    row = run(quick=True)[-2]
    assert row.value is None and row.is_met is None
    assert row.note == "this CPU has no bf16 instructions"


def test_the_backbone_is_vit_b_with_its_pyramid():
    with torch.device("meta"):
        config = make_backbone(448, quick=False).config
    assert (config.hidden_size, config.num_hidden_layers, config.image_size) == (768, 12, 448)
    assert config.feature_variant == "multi_depth_pyramid"


def test_the_large_sides_are_vit_l_on_the_same_tokens():
    with torch.device("meta"):
        config = make_backbone(448, quick=False, size_name="large").config
        plain = plain_vit(448, name="vit_large_patch16_224")
    assert (config.hidden_size, config.num_hidden_layers) == (plain.embed_dim, len(plain.blocks))
    assert (config.image_size // config.patch_size) ** 2 == plain.patch_embed.num_patches == 784


@pytest.fixture(scope="module")
def tiny():
    return make_backbone(112, quick=True)


def test_the_loss_reaches_every_parameter_and_is_fresh_each_time(tiny):
    image = torch.randn(1, 3, 112, 112)
    side = forward_backward(lambda: sum_of_maps(tiny.eval(), image), tiny)
    side()
    first = {name: p.grad.clone() for name, p in tiny.named_parameters()}
    side()  # gradients are not added up
    for name, parameter in tiny.named_parameters():
        torch.testing.assert_close(parameter.grad, first[name], msg=lambda m, n=name: f"{n} {m}")


def test_the_forward_side_keeps_no_graph():
    weight = torch.nn.Linear(2, 2)
    outputs = []
    weight.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    forward(weight, torch.ones(1, 2))()
    assert len(outputs) == 1 and not outputs[0].requires_grad
