"""The loss of the first step of finetuning is the one that the original recorded.

From 8-bit images and labels on: collate, the device, `FinetuningRun.adapt` and the training loop.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth
from transformers import (
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForSemanticSegmentation,
)

from mtp_hf.conversion.folder import convert_checkpoint
from mtp_hf.data.collate import Collate
from mtp_hf.training.finetuning_run import FinetuningRun
from mtp_hf.training.loop import Prepared, train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.optim import build_optimizer, build_schedule, parameter_groups
from tests.parity.recordings import Recording, first_of_each

# Recording -> data set, model class, the recorded case.
RECORDED = {
    "ft_cls_eurosat_vit": ("eurosat", AutoModelForImageClassification, "train"),
    "ft_upernet_loveda_vit": ("loveda", AutoModelForSemanticSegmentation, "train"),
    "ft_faster_rcnn_dior_vit": ("DIOR", AutoModelForObjectDetection, "train_firstk"),
}


@pytest.fixture(params=RECORDED)
def recorded(request, shared_dir, tmp_path):
    """A recording, its network converted, and the loss of its first step."""
    name = request.param
    dataset, model_class, case = RECORDED[name]
    recording = Recording(shared_dir / "fixtures", name)
    torch.save({"state_dict": recording.under("state_dict")}, tmp_path / "x.pth")
    convert_checkpoint(tmp_path / "x.pth", tmp_path / name, dataset=dataset)
    network = model_class.from_pretrained(tmp_path / name)
    for module in network.modules():  # the recordings drop nothing
        if isinstance(module, StochasticDepth | nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return recording, network, recording.meta["loss_total"][case]


def _samples(recording):
    """Images as read, with their labels, as the transforms leave them."""
    if recording.name.startswith("ft_faster"):
        images = [recording[f"train/batch/image/{i}"] for i in range(2)]
        labels = [
            {
                "boxes": recording[f"train/batch/hboxes/{i}"],
                "class_labels": recording[f"train/batch/labels/{i}"],
            }
            for i in range(2)
        ]
    else:
        key = "label" if recording.name.startswith("ft_cls") else "semantic_labels"
        images, labels = recording["image"], [{key: x.long()} for x in recording["label"]]
    return [
        {"image": image.flip(0), "image_id": str(i), "dataset": "recorded", **label}  # from BGR
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def test_the_first_loss_is_the_recorded_one(recorded, accelerator, tiny_recipe, monkeypatch):
    recording, network, expected = recorded
    first_of_each(monkeypatch)
    adapt = lambda inputs, number: FinetuningRun.adapt(SimpleNamespace(mix=None), inputs, number)  # noqa: E731
    optimizer = build_optimizer(
        parameter_groups(network, lr=1e-3, weight_decay=0.05, layer_decay=0.9), betas=(0.9, 0.999)
    )
    schedule = build_schedule(optimizer, tiny_recipe.schedule)
    prepared = Prepared(accelerator, *accelerator.prepare(network, optimizer, schedule), adapt)
    window = LossWindow(accelerator)
    samples = _samples(recording)
    batch = Collate(image_size=samples[0]["image"].shape[-1])(samples)
    train_step(prepared, iter([batch]), tiny_recipe, window, 1)
    assert window.summarize()["loss"] == pytest.approx(expected, rel=1e-5)
