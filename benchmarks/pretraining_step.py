"""One step of the published multi-task pretraining, and where its time goes.

ViT-B + RVSA, 224 pixels, two images from each of three data sets, decoders of full width: forward,
backward, clipping and AdamW, in float32, without activation checkpointing (the recipe uses it, to
save memory). Compared with forward + backward of timm's ViT-B/16 for one image.

The labels are made up: 4 to 7 objects an image, as many as in the step this is compared with in
`RESULTS.md`; more objects make more mask regions.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.backbone import forward_backward
from benchmarks.report import Row
from benchmarks.step_split import Split
from benchmarks.timing import Side, format_seconds, plain_vit, take_turns, use_threads
from mtp_hf.dataset_scripts.samrs import SAMRS_CLASSES
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.ops_rotated_boxes import boxes_to_rotated_boxes
from mtp_hf.training.build_model import build_config
from mtp_hf.training.optim import build_optimizer, parameter_groups
from mtp_hf.training.recipe import load_recipe

THREADS = 2
RECIPE, RESULT = "pretrain/samrs", "vit_b_rvsa"
TARGET = 19.0
IMAGES_PER_SET = 2
ROUNDS = 5
QUICK_OVERRIDES = [
    "data.image_size=112",
    "model.backbone=tiny",
    "model.semantic.hidden_size=8",
    *(f"model.{head}.hidden_size=8" for head in ("instance", "rotated")),
    *(f"model.{head}.box_hidden_size=16" for head in ("instance", "rotated")),
    "model.instance.mask_hidden_size=8",
]


def run(quick: bool) -> list[Row]:
    """Measure the step against the plain ViT, then once more in parts."""
    torch.manual_seed(0)
    recipe = load_recipe(RECIPE, result=RESULT, overrides=QUICK_OVERRIDES if quick else [])
    classes = {name: SAMRS_CLASSES[each.config] for name, each in recipe.data.sources.items()}
    model = MTPForPreTraining(build_config(recipe, classes)).train()
    groups = parameter_groups(
        model, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay
    )
    optimizer = build_optimizer(groups, betas=recipe.optimizer.betas)
    size = recipe.data.image_size
    labels = make_labels(classes, size)
    image = torch.randn(len(labels), 3, size, size)

    def step(split: Split | None = None) -> None:
        train_step(model, optimizer, image, labels, split=split)

    plain_size = 32 if quick else size
    plain = plain_vit(plain_size, quick=quick)
    plain_image = torch.randn(1, 3, plain_size, plain_size)
    sides: dict[str, Side] = {
        "step": step,
        "plain": forward_backward(lambda: plain(plain_image).sum(), plain),
    }
    with use_threads(THREADS):
        seconds = take_turns(sides, 1 if quick else ROUNDS)
        split = Split()
        step(split)
    total = sum(split.seconds.values())
    objects = sum(len(label["boxes"]) for label in labels)
    return [
        Row(
            case=f"step, {size} px, {IMAGES_PER_SET} images of each of {len(classes)} sets",
            value=seconds.ratio("step", "plain"),
            unit="x",
            at_most=TARGET,
            note=f"{seconds.note('step', 'plain')}; {objects} objects, "
            f"{split.num_mask_regions} mask regions",
        ),
        *(
            Row(
                case=f"step: {part}",
                value=100 * spent / total,
                unit="%",
                note=format_seconds(spent),
            )
            for part, spent in split.seconds.items()
        ),
    ]


def train_step(
    model: MTPForPreTraining,
    optimizer: torch.optim.Optimizer,
    image: Tensor,
    labels: list[dict[str, Any]],
    *,
    split: Split | None = None,
) -> None:
    """Make one optimizer step, as the training loop does."""
    watch = split.watch(model, "decoders") if split else contextlib.nullcontext()
    with watch:
        loss = model(pixel_values=image, labels=labels).loss
        loss.backward()
    with split.part("clipping and optimizer") if split else contextlib.nullcontext():
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()


def make_labels(classes: dict[str, list[str]], size: int) -> list[dict[str, Any]]:
    """Draw upright boxes of 16 to 80 pixels with full masks, for each set in turn."""
    generator = torch.Generator().manual_seed(0)
    labels = []
    for number, (dataset, names) in enumerate(
        (name, classes[name]) for name in classes for _ in range(IMAGES_PER_SET)
    ):
        count = 4 + number % 4
        sides = 16 + (min(80, size // 2) - 16) * torch.rand(count, 2, generator=generator)
        low = torch.rand(count, 2, generator=generator) * (size - sides)
        boxes = torch.cat((low, low + sides), dim=1)
        kinds = torch.randint(len(names), (count,), generator=generator)
        masks = torch.zeros(count, size, size, dtype=torch.bool)
        semantic = torch.zeros(size, size, dtype=torch.int64)
        for mask, (x1, y1, x2, y2), kind in zip(masks, boxes.long().tolist(), kinds, strict=True):
            mask[y1:y2, x1:x2] = True
            semantic[mask] = kind + 1
        labels.append(
            {
                "dataset": dataset,
                "size": (size, size),
                "boxes": boxes,
                "class_labels": kinds,
                "instance_masks": masks,
                "semantic_labels": semantic,
                "rotated_boxes": boxes_to_rotated_boxes(boxes),
                "rotated_class_labels": kinds,
            }
        )
    return labels
