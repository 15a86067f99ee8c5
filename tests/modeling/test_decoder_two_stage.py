import pytest
import torch
from torch import nn

from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.decoder_two_stage import build_two_stage_decoder
from tests.tiny_models import TINY_TWO_STAGE, make_label

CONFIGS = {
    "is": MaskRCNNConfig(**TINY_TWO_STAGE, mask_hidden_size=16, mask_num_convs=1),
    "rd": OrientedRCNNConfig(**TINY_TWO_STAGE),
}
SIDE = 64


def _features(batch):
    return tuple(torch.randn(batch, 8, SIDE // s, SIDE // s) for s in (4, 8, 16, 32))


def _targets(counts, task):
    labels = [make_label("x", count, SIDE) for count in counts]
    rotated = "rotated_" if task == "rd" else ""
    return [
        {
            "size": (SIDE, SIDE),
            "boxes": label[f"{rotated}boxes"],
            "labels": label[f"{rotated}class_labels"],
            "masks": label["instance_masks"],
        }
        for label in labels
    ]


def _build(task, datasets=("a", "b")):
    decoder = build_two_stage_decoder(CONFIGS[task], [8] * 4)
    return decoder, nn.ModuleDict({name: decoder.build_classifier(3) for name in datasets})


@pytest.mark.parametrize("task", ["is", "rd"])
def test_each_data_set_gets_its_losses(task):
    decoder, classifiers = _build(task)
    losses = decoder.loss(
        _features(3),
        _targets([2, 0, 1], task),
        groups={"a": [0, 1], "b": [2]},
        classifiers=classifiers,
    )
    names = {"loss_rpn_objectness", "loss_rpn_box", "loss_box_class", "loss_box_reg"}
    expected = names | ({"loss_mask"} if task == "is" else set())
    assert list(losses) == ["a", "b"] and all(set(parts) == expected for parts in losses.values())
    assert all(torch.isfinite(x) for parts in losses.values() for x in parts.values())


@pytest.mark.parametrize("task", ["is", "rd"])
def test_losses_of_a_set_do_not_depend_on_the_other_set(task, monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda n, **kwargs: torch.arange(n))
    decoder, classifiers = _build(task)
    features, targets = _features(2), _targets([2, 1], task)
    together = decoder.loss(features, targets, groups={"a": [0], "b": [1]}, classifiers=classifiers)
    alone = decoder.loss(
        tuple(x[1:] for x in features), targets[1:], groups={"b": [0]}, classifiers=classifiers
    )
    for name, value in alone["b"].items():
        torch.testing.assert_close(together["b"][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["is", "rd"])
def test_images_without_objects_train(task):
    decoder, classifiers = _build(task, ("a",))
    losses = decoder.loss(
        _features(2), _targets([0, 0], task), groups={"a": [0, 1]}, classifiers=classifiers
    )
    sum(losses["a"].values()).backward()
    assert all(p.grad is not None for p in decoder.parameters())
    assert float(losses["a"]["loss_box_reg"].detach()) == 0


@pytest.mark.parametrize("task", ["is", "rd"])
def test_predictions_of_a_batch_equal_those_of_its_images(task):
    decoder, classifiers = _build(task, ("a",))
    decoder.eval()
    features = _features(2)
    sizes = [(SIDE, SIDE), (SIDE, SIDE)]
    both = decoder.predict(features, sizes, groups={"a": [0, 1]}, classifiers=classifiers)
    one = decoder.predict(
        tuple(x[1:] for x in features), sizes[1:], groups={"a": [0]}, classifiers=classifiers
    )
    for name, value in one[0].items():
        torch.testing.assert_close(both[1][name], value, rtol=1e-3, atol=1e-3)


def test_masks_come_one_for_each_box():
    decoder, classifiers = _build("is", ("a",))
    found = decoder.eval().predict(
        _features(1), [(SIDE, SIDE)], groups={"a": [0]}, classifiers=classifiers
    )[0]
    assert found["mask_probs"].shape == (len(found["boxes"]), 28, 28)
