"""Claims about what a run leaves, beyond the files checked in test_pretrain."""

import random

import numpy as np
import torch

from mtp_hf.training.build_model import build_model
from mtp_hf.training.pretraining_results import (
    _per_class,
    describe_network,
    metric_words,
    write_snapshot,
)

NAMES = {"sior": ["ship", "plane"], "sota_rbb": ["ship"], "fast": ["car"]}


def test_the_parts_of_the_network_add_up(tiny_recipe):
    network = build_model(tiny_recipe, NAMES)
    text = describe_network(network)
    total = sum(parameter.numel() for parameter in network.parameters())
    assert text.startswith(f"{total / 1e6:.2f} million parameters: backbone ")
    assert [part.split()[0] for part in text.split(": ")[1].split(", ")] == [
        "backbone",
        "ss",
        "is",
        "rd",
    ]


def test_a_line_shows_the_pooled_metrics_in_percent():
    metrics = {"sior/ss/miou": 0.1, "pooled/ss/miou": 0.5, "pooled/rd/ap50": float("nan")}
    assert metric_words(metrics) == "mIoU 50.0, rotated AP50 -"


def test_class_metrics_become_lists_with_null_for_undefined(tiny_recipe):
    network = build_model(tiny_recipe, NAMES)
    metrics = {name: {"ss": {"per_class": {"iou": np.array([0.5, np.nan])}}} for name in NAMES} | {
        "pooled": {},
        "tables": {},
    }
    found = _per_class(network, metrics)
    assert found["sota_rbb"] == {"classes": ["ship"], "ss": {"iou": [0.5, None]}}
    assert torch.is_tensor(next(network.parameters()))


def test_a_snapshot_is_a_bundle_without_numbers_and_moves_no_random_state(tiny_recipe, tmp_path):
    network = build_model(tiny_recipe, NAMES)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    num_images = dict.fromkeys(NAMES, (240, 40))
    write_snapshot(tiny_recipe, tmp_path, network=network, step=100, num_images=num_images)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    assert {
        name for name in weights if not weights[name].equal(network.state_dict()[name])
    } == set()
    for kind in ("encoder", "model"):
        card = (tmp_path / kind / "README.md").read_text()
        assert "**unfinished: 100 of 600 optimizer steps**" in card
        assert "Not measured yet." in card
        assert list((tmp_path / kind).glob("*.png")) == []
        assert (tmp_path / kind / "model.safetensors").is_file()
