"""Claims about parameter groups and the learning rate; the groups also against the original's."""

import json
import math

import pytest
import torch
from torch import nn

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.training.optim import (
    build_optimizer,
    build_schedule,
    is_decayed,
    learning_rate_factor,
    parameter_groups,
)
from mtp_hf.training.recipe_sections import Schedule
from tests.original_names import rename_vit_rvsa_keys


class _NamedParameters(nn.Module):
    """A module tree whose parameters have given dotted names and numbers of dimensions."""

    def __init__(self, dimensions, num_layers=2):
        super().__init__()
        for name, ndim in dimensions.items():
            *path, leaf = name.split(".")
            module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(leaf, nn.Parameter(torch.zeros((1,) * ndim)))
        if not hasattr(self, "backbone"):
            self.backbone = nn.Module()
        self.backbone.num_layers = num_layers
        self.backbone.layer_id = lambda name: _layer_id(name, num_layers)


def _layer_id(name, num_layers):
    if name.startswith("embeddings."):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("layers.") else num_layers + 1


NAMES = {
    "backbone.embeddings.position_embeddings": 3,
    "backbone.embeddings.patch_embeddings.weight": 4,
    "backbone.layers.0.attn.rel_pos_h": 2,
    "backbone.layers.1.norm.weight": 1,
    "backbone.fpn.weight": 4,
    "head.weight": 2,
    "head.bias": 1,
}


def _by_name(groups):
    return {name: group for group in groups for name in group["names"]}


def test_without_layer_decay_there_are_two_groups():
    groups = parameter_groups(_NamedParameters(NAMES), lr=0.1, weight_decay=0.05)
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05]
    assert {group["lr"] for group in groups} == {0.1}


def test_layer_decay_is_a_power_of_the_distance_to_the_heads():
    model = _NamedParameters(NAMES)
    groups = _by_name(parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.5))
    expected = {
        "backbone.embeddings.position_embeddings": 0.5**3,
        "backbone.embeddings.patch_embeddings.weight": 0.5**3,
        "backbone.layers.0.attn.rel_pos_h": 0.5**2,
        "backbone.layers.1.norm.weight": 0.5,
        "backbone.fpn.weight": 1.0,
        "head.weight": 1.0,
        "head.bias": 1.0,
    }
    assert {name: group["lr"] for name, group in groups.items()} == expected


def test_every_trainable_parameter_is_in_exactly_one_group():
    model = _NamedParameters(NAMES)
    model.head.bias.requires_grad_(False)
    groups = parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.5)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(set(NAMES) - {"head.bias"})
    assert sum(len(group["params"]) for group in groups) == len(NAMES) - 1


@pytest.mark.parametrize(
    ("name", "ndim", "decayed"),
    [
        ("backbone.layers.0.attn.relative_position_bias_table", 2, True),
        ("backbone.layers.0.attn.rel_pos_w", 2, True),
        ("backbone.embeddings.position_embeddings", 3, False),
        ("backbone.norm.weight", 1, False),
        ("head.bias", 2, False),
        ("head.weight", 2, True),
    ],
)
def test_weight_decay_spares_vectors_biases_and_the_position_table(name, ndim, decayed):
    assert is_decayed(name, nn.Parameter(torch.zeros((1,) * ndim))) is decayed


@pytest.mark.parametrize(
    ("kind", "num_layers", "layer_decay"), [("pretraining", 6, 1.0), ("finetuning", 4, 0.9)]
)
def test_groups_equal_those_recorded_from_the_original(kind, num_layers, layer_decay, fixtures_dir):
    recorded = json.loads((fixtures_dir / "optimizer_groups_vit.json").read_text())[kind]
    prefix = "encoder." if kind == "pretraining" else "backbone."
    # The backbone has no final norm (the original's is never applied).
    encoder = rename_vit_rvsa_keys(recorded, prefix, new_prefix="backbone.")
    heads = {name: row for name, row in recorded.items() if not name.startswith(prefix)}
    recorded = encoder | heads
    model = _NamedParameters({name: row[0] for name, row in heads.items()}, num_layers)
    model.backbone = ViTRVSABackbone(
        ViTRVSAConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=num_layers)
    )
    found = _by_name(parameter_groups(model, lr=6e-5, weight_decay=0.05, layer_decay=layer_decay))
    for name, (_, lr_scale, weight_decay) in recorded.items():
        assert found[name]["lr_scale"] == pytest.approx(lr_scale, rel=1e-12), name
        assert found[name]["lr"] == pytest.approx(6e-5 * lr_scale, rel=1e-12), name
        assert found[name]["weight_decay"] == weight_decay, name


def test_optimizer_has_the_groups_rates_and_betas():
    groups = parameter_groups(_NamedParameters(NAMES), lr=0.1, weight_decay=0.05, layer_decay=0.9)
    optimizer = build_optimizer(groups, betas=(0.8, 0.9))
    assert [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in groups]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (25, 0.5 * (1 + math.cos(math.pi / 4))), (50, 0.5), (100, 0.0)]
)
def test_cosine_without_warmup_goes_from_one_to_zero(step, expected):
    factor = learning_rate_factor(step, Schedule(steps=100, warmup_steps=0, kind="cosine"))
    assert factor == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.25), (3, 1.0), (4, 1.0), (12, 0.5)])
def test_warmup_is_linear_and_the_cosine_starts_after_it(step, expected):
    factor = learning_rate_factor(step, Schedule(steps=20, warmup_steps=4, kind="cosine"))
    assert factor == pytest.approx(expected, abs=1e-12)


def test_the_published_warmup_starts_at_a_millionth():
    schedule = Schedule(
        steps=100, warmup_steps=5, warmup_start=1e-6, kind="multistep", milestones=(60,)
    )
    factors = [learning_rate_factor(step, schedule) for step in range(7)]
    expected = [1e-6 + (1 - 1e-6) * t / 4 for t in range(5)]  # s + (1 - s) t / (W - 1)
    assert factors == pytest.approx([*expected, 1.0, 1.0], abs=1e-12)


def test_milestones_multiply_by_gamma_at_their_step():
    schedule = Schedule(steps=12, kind="multistep", milestones=(8, 11), gamma=0.1)
    factors = [learning_rate_factor(step, schedule) for step in range(12)]
    assert factors == pytest.approx([1.0] * 8 + [0.1] * 3 + [0.01])


def test_a_cosine_by_epochs_stays_within_an_epoch():
    schedule = Schedule(steps=20, warmup_steps=5, update_every=5, kind="cosine")
    factors = [learning_rate_factor(step, schedule) for step in range(5, 20)]
    by_epoch = [0.5 * (1 + math.cos(math.pi * k / 3)) for k in range(3)]  # the last has k = T - 1
    assert factors == pytest.approx([f for f in by_epoch for _ in range(5)])


def test_poly_falls_as_a_power_of_what_is_left():
    schedule = Schedule(steps=10, kind="poly", power=2.0)
    factors = [learning_rate_factor(step, schedule) for step in (0, 5, 10)]
    assert factors == pytest.approx([1.0, 0.25, 0.0])


def test_constant_stays_at_one_after_warmup():
    factors = [
        learning_rate_factor(s, Schedule(steps=9, warmup_steps=2, kind="constant"))
        for s in range(9)
    ]
    assert factors == [0.5] + [1.0] * 8


def test_past_the_end_the_cosine_stays_at_zero():
    assert learning_rate_factor(150, Schedule(steps=100, warmup_steps=0, kind="cosine")) == 0.0


def test_schedule_scales_every_group_from_its_own_rate():
    groups = parameter_groups(_NamedParameters(NAMES), lr=1.0, weight_decay=0.0, layer_decay=0.5)
    optimizer = build_optimizer(groups, betas=(0.9, 0.999))
    schedule = build_schedule(optimizer, Schedule(steps=4, warmup_steps=0, kind="cosine"))
    start = [group["lr"] for group in optimizer.param_groups]
    optimizer.step()
    schedule.step()
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [0.5 * rate for rate in start]
    )


def test_schedule_restored_from_its_state_goes_on_at_the_same_rate():
    parameter = nn.Parameter(torch.zeros(2, 2))
    make = lambda: build_optimizer([{"params": [parameter], "lr": 1.0}], betas=(0.9, 0.999))  # noqa: E731
    straight = build_schedule(make(), Schedule(steps=10, warmup_steps=2, kind="cosine"))
    for _ in range(5):
        straight.optimizer.step()
        straight.step()
    resumed = build_schedule(make(), Schedule(steps=10, warmup_steps=2, kind="cosine"))
    resumed.load_state_dict(straight.state_dict())
    for schedule in (straight, resumed):
        schedule.optimizer.step()
        schedule.step()
    assert resumed.get_last_lr() == straight.get_last_lr()
