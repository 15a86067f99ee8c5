"""Claims about a frozen backbone."""

import copy

import pytest
import torch
from torch import nn

from mtp_hf.training.frozen_backbone import freeze_backbone
from mtp_hf.training.loop import train_step
from mtp_hf.training.loss_window import LossWindow
from tests.training.tiny_run import TwoLossModel, batch_of_step, prepare


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = TwoLossModel()
    network.backbone.add_module("norm", nn.BatchNorm1d(8))
    network.backbone.add_module("drop", nn.Dropout(0.5))
    return network


def _train(accelerator, recipe, network):
    prepared = prepare(accelerator, recipe, network)
    for step in range(1, 4):
        window = LossWindow(accelerator)
        train_step(prepared, iter([batch_of_step(step)]), recipe, window, step)
    return prepared


def test_weights_and_statistics_of_the_backbone_stay(accelerator, tiny_recipe, network):
    freeze_backbone(network)
    before = copy.deepcopy(network.state_dict())
    _train(accelerator, tiny_recipe, network)
    changed = {n for n, x in network.state_dict().items() if not torch.equal(x, before[n])}
    assert changed == {"head.weight", "head.bias"}


def test_without_freezing_all_of_it_changes(accelerator, tiny_recipe, network):
    before = copy.deepcopy(network.state_dict())
    _train(accelerator, tiny_recipe, network)
    changed = {n for n, x in network.state_dict().items() if not torch.equal(x, before[n])}
    assert changed == set(before)


def test_the_optimizer_does_not_know_the_backbone(accelerator, tiny_recipe, network):
    freeze_backbone(network)
    prepared = _train(accelerator, tiny_recipe, network)
    known = {id(p) for group in prepared.optimizer.param_groups for p in group["params"]}
    assert known == {id(p) for p in network.head.parameters()}


def test_nothing_is_dropped_in_the_backbone_while_the_head_trains(network):
    freeze_backbone(network)
    network.train()
    batch = batch_of_step(1)
    outputs = []
    network.backbone.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    for _ in range(2):
        network(batch["pixel_values"].float(), batch["labels"])
    assert torch.equal(*outputs)
    assert not outputs[0].requires_grad
    assert network.dropout.training and not network.backbone.drop.training


def test_a_copy_freezes_its_own_backbone(network):
    freeze_backbone(network)
    other = copy.deepcopy(network)
    network.train(), other.train()
    batch = batch_of_step(1)
    other(batch["pixel_values"].float(), batch["labels"])
    assert network.backbone.training and not other.backbone.training
