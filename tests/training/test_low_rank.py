"""Claims about low-rank updates of a backbone."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mtp_hf.modeling.configuration_internimage import InternImageConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_internimage import InternImageForImageClassification
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from mtp_hf.training import low_rank
from mtp_hf.training.low_rank import add_low_rank_updates, check_low_rank, plain_network
from mtp_hf.training.optim import parameter_groups

RANK = 2


def _vit():
    size = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = ViTRVSAConfig(**size, image_size=112, feature_variant="multi_depth", num_labels=3)
    return ViTRVSAForImageClassification(config)


def _internimage():
    size = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_groups": [1, 2, 4, 8]}
    return InternImageForImageClassification(InternImageConfig(**size, num_labels=3))


@pytest.fixture(params=[_vit, _internimage], ids=["vit", "internimage"])
def network(request):
    torch.manual_seed(0)
    return request.param().eval()


def _images():
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def _linear_names(module):
    return {name for name, each in module.named_modules() if isinstance(each, nn.Linear)}


def _learn_something(network):
    """Make every update non-zero."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.2)


def test_every_linear_layer_of_the_backbone_gets_an_update_of_the_rank(network):
    names = _linear_names(network.backbone)
    assert add_low_rank_updates(network.backbone, RANK) == len(names)
    updates = {n: p for n, p in network.backbone.named_parameters() if ".lora_A." in n}
    assert {n.split(".lora_A.")[0] for n in updates} == names
    assert all(p.shape[0] == RANK for p in updates.values())


def test_updates_and_the_head_are_trained_and_nothing_else(network):
    head = {name for name, _ in network.named_parameters() if not name.startswith("backbone.")}
    add_low_rank_updates(network.backbone, RANK)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == head | {n for n, _ in network.named_parameters() if ".lora_" in n}


def test_a_network_starts_as_it_was(network):
    with torch.no_grad():
        before = network(_images()).logits
        add_low_rank_updates(network.backbone, RANK)
        assert torch.equal(network(_images()).logits, before)


def test_every_update_gets_a_gradient(network):
    add_low_rank_updates(network.backbone, RANK)
    _learn_something(network)
    network.train()(_images(), torch.tensor([0, 1])).loss.backward()
    silent = [
        name
        for name, p in network.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert silent == []


def test_the_plain_network_computes_the_same_under_the_old_names(network):
    names = set(network.state_dict())
    add_low_rank_updates(network.backbone, RANK)
    _learn_something(network)
    with torch.no_grad():
        expected = network(_images()).logits
        plain = plain_network(network)
        assert set(plain.state_dict()) == names
        found = plain(_images()).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert _linear_names(plain) >= {"backbone." + name for name in _linear_names(_base(network))}
    assert any(".lora_" in name for name in network.state_dict())  # it goes on training


def _base(network):
    """The backbone as it was built."""
    return type(network)(network.config).backbone


def test_a_network_without_updates_is_its_own_plain_network(network):
    assert plain_network(network) is network


def test_layers_of_a_vit_keep_their_depth_for_the_decay_of_rates():
    network = _vit()
    add_low_rank_updates(network.backbone, RANK)
    groups = parameter_groups(network, lr=1.0, weight_decay=0.05, layer_decay=0.5)
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert scales["classifier.weight"] == 1.0
    first = [scale for name, scale in scales.items() if name.startswith("backbone.layers.0.")]
    assert first and set(first) == {0.5**4}


def test_a_backbone_without_linear_layers_is_refused():
    with pytest.raises(ValueError, match="Sequential has no linear layer to update"):
        add_low_rank_updates(nn.Sequential(nn.Conv2d(3, 3, 1)), RANK)


def test_without_peft_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(low_rank, "is_peft_available", lambda: False)
    check_low_rank(None)
    with pytest.raises(ValueError, match=r"model.lora_rank=4 needs peft.*mtp-hf\[lora\]"):
        check_low_rank(4)


def test_the_extra_is_not_imported_unasked():
    code = "import sys, mtp_hf.training.finetuning_run; assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
