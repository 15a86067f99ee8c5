"""Seconds of the parts of a step: inner parts count for themselves, and nothing stays wrapped."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import step_split
from benchmarks.finetune_step import call_with, make_samples
from benchmarks.step_split import ASSIGNMENT, LOSSES, Split
from mtp_hf.data.collate import Collate
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.training.tiny_finetune import BACKBONE


@pytest.fixture
def watched():
    """Parts of a step of scenes, whose whole loss is one function."""
    batch = Collate()(make_samples("scene_classification", 112, 2, 3))
    inputs = call_with(batch | {"pixel_values": batch["pixel_values"].float()}, 0)
    network = ViTRVSAForImageClassification(ViTRVSAConfig(**BACKBONE, image_size=112, num_labels=3))
    split = Split()
    with split.watch(network, "heads"):
        network(**inputs).loss.backward()
    return split


def test_an_inner_part_counts_for_itself_only(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 6.0])  # outer opens, inner opens, inner closes, outer closes
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(step_split, "time", fake)
    split = Split()
    with split.part("losses"), split.part("assignment"):
        pass
    assert split.seconds == {"losses": 3.0, "assignment": 3.0}


def test_a_part_that_is_entered_twice_adds_up(monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 7.0])
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(step_split, "time", fake)
    split = Split()
    for _ in range(2):
        with split.part("losses"):
            pass
    assert split.seconds == {"losses": 3.0}


def test_losses_that_are_no_method_of_a_head_are_told_apart(watched):
    assert watched.seconds["losses"] > 0
    assert set(watched.seconds) == {
        "backbone, forward",
        "backbone, backward",
        "heads, forward",
        "heads and losses, backward",
        "losses",
    }


def test_nothing_stays_wrapped(watched):
    for owner, name in (*ASSIGNMENT, *LOSSES):
        assert getattr(owner, name).__name__ == name
    assert torch.nn.functional.cross_entropy.__module__ == "torch.nn.functional"
