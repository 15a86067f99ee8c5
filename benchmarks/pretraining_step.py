"""One step of the published multi-task pretraining, and where its time goes.

ViT-B + RVSA, 224 pixels, two images from each of three data sets, decoders of full width: forward,
backward, clipping and AdamW, in float32, without activation checkpointing (the recipe uses it, to
save memory). Compared with forward + backward of timm's ViT-B/16 for one image.

The labels are made up: 4 to 7 objects an image, as many as in the step this is compared with in
`RESULTS.md`; more objects make more mask regions.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.backbone import forward_backward
from benchmarks.report import Row
from benchmarks.timing import Side, format_seconds, plain_vit, take_turns, use_threads
from mtp_hf.dataset_scripts.samrs import SAMRS_CLASSES
from mtp_hf.modeling import head_mask
from mtp_hf.modeling.head_box import BoxHead
from mtp_hf.modeling.head_mask import MaskHead
from mtp_hf.modeling.head_rpn import RPNHead
from mtp_hf.modeling.head_upernet import SegmentationClassifier
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.ops_masks import mask_targets
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
# What runs inside the forward pass of the decoders, without that of the next entry.
ASSIGNMENT: tuple[tuple[Any, str], ...] = (
    (RPNHead, "propose"),
    (RPNHead, "_sample_anchors"),
    (BoxHead, "sample"),
    (head_mask, "mask_targets"),
)
LOSSES = tuple((head, "loss") for head in (RPNHead, BoxHead, MaskHead, SegmentationClassifier))


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

    def step(split: "Split | None" = None) -> None:
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
    split: "Split | None" = None,
) -> None:
    """Make one optimizer step, as the training loop does."""
    watch = split.watch(model) if split else contextlib.nullcontext()
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


class Split:
    """Seconds of the parts of a step; a part inside another one counts only for itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.num_mask_regions = 0
        self._open: list[float] = []  # seconds spent in inner parts, of each open part

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time inside the block."""
        started = time.perf_counter()
        self._open.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.add(name, spent - self._open.pop())
            if self._open:
                self._open[-1] += spent

    def add(self, name: str, seconds: float) -> None:
        """Add to a part."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def watch(self, model: MTPForPreTraining) -> Iterator[None]:
        """Count the parts of the forward and backward pass inside the block."""
        marks: dict[str, float] = {}

        def backbone_done(module: nn.Module, inputs: Any, output: Any) -> None:
            self.add("backbone, forward", time.perf_counter() - marks["start"])
            for level in output.feature_maps:
                # The last of the maps to get its gradient starts the backbone's backward pass.
                level.register_hook(lambda _: marks.update(maps=time.perf_counter()))

        def model_done(module: nn.Module, inputs: Any, output: Any) -> None:
            marks["forward"] = time.perf_counter()

        with contextlib.ExitStack() as stack:
            for functions, name in ((LOSSES, "losses"), (ASSIGNMENT, "assignment")):
                for owner, attribute in functions:
                    timed = self._timed(getattr(owner, attribute), name)
                    stack.enter_context(mock.patch.object(owner, attribute, timed))
            hooks = (
                model.backbone.register_forward_hook(backbone_done),
                model.register_forward_hook(model_done),
            )
            for hook in hooks:
                stack.callback(hook.remove)
            marks["start"] = time.perf_counter()
            yield
        end = time.perf_counter()
        inner = sum(self.seconds.values())
        self.add("decoders, forward", marks["forward"] - marks["start"] - inner)
        self.add("decoders and losses, backward", marks["maps"] - marks["forward"])
        self.add("backbone, backward", end - marks["maps"])

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Wrap a function or method so that its time counts for a part."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                result = function(*arguments, **options)
            if function is mask_targets:
                self.num_mask_regions += len(result)
            return result

        return timed
