"""A tiny network's recipe values, a model of two losses and its batches, for the training tests."""

import dataclasses

import torch
from torch import nn

from mtp_hf.training.loop import Callbacks, Prepared
from mtp_hf.training.optim import build_optimizer, build_schedule, parameter_groups

TINY_MODEL = [
    "model.backbone_overrides.hidden_size=16",
    "model.backbone_overrides.num_hidden_layers=4",
    "model.backbone_overrides.num_attention_heads=2",
    "model.semantic.hidden_size=8",
    *(
        f"model.{task}.{field}={value}"
        for task in ("instance", "rotated")
        for field, value in {
            "hidden_size": 8,
            "box_hidden_size": 16,
            "train_pre_nms": 20,
            "train_post_nms": 10,
            "test_pre_nms": 20,
            "test_post_nms": 10,
            "rpn_num_samples": 16,
            "box_num_samples": 8,
            "max_detections": 5,
        }.items()
    ),
    "model.instance.mask_hidden_size=8",
    "model.instance.mask_num_convs=1",
    "data.image_size=112",
    *(f"data.sources.{name}.batch_size=2" for name in ("sior", "sota_rbb", "fast")),
    "efficiency.num_workers=0",
    "efficiency.cpu_threads=null",
]

NO_CALLBACKS = Callbacks(lambda step: None, lambda step: None, lambda: None)


class TwoLossModel(nn.Module):
    """Two named losses of an image, with dropout, so that random numbers matter."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 8))
        self.backbone.num_layers = 1
        self.backbone.layer_id = lambda name: 1
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 2)

    def forward(self, pixel_values, labels):
        targets = torch.stack([label["target"] for label in labels])
        errors = self.head(self.dropout(self.backbone(pixel_values))) - targets
        losses = {
            "a/ss/loss_x": errors[:, 0].square().mean(),
            "a/is/loss_y": errors[:, 1].abs().mean(),
        }
        return dataclasses.make_dataclass("Output", ["loss", "losses"])(
            sum(losses.values()), losses
        )


def batch_of_step(step, size=2):
    """Images and labels as a pure function of the step, as the sampler makes them."""
    generator = torch.Generator().manual_seed(step)
    pixels = torch.randint(0, 256, (size, 3, 2, 2), generator=generator, dtype=torch.uint8)
    labels = [
        {
            "dataset": "a",
            "image_id": f"{step}-{i}",
            "size": (2, 2),
            "target": torch.rand(2, generator=generator),
        }
        for i in range(size)
    ]
    return {"pixel_values": pixels, "labels": labels}


def prepare(accelerator, recipe, model=None):
    """Model, optimizer and schedule of a recipe, prepared."""
    model = model or TwoLossModel()
    groups = parameter_groups(
        model, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay
    )
    optimizer = build_optimizer(groups, betas=recipe.optimizer.betas)
    schedule = build_schedule(optimizer, recipe.schedule)
    return Prepared(accelerator, *accelerator.prepare(model, optimizer, schedule))
