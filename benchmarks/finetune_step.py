"""One step of finetuning of each task as published with ViT-B + RVSA, and where its time goes.

Sizes, batches and architectures are those of the recipes: images of noise with made-up labels go
through collate and the training loop's normalisation, then forward, backward, clipping and AdamW,
in float32. The share of data is collating and normalising; what workers read beside the step is
measured by `input_pipeline`. Large published batches are run with at most `MAX_BATCH` images.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmarks.pretraining_step import ASSIGNMENT, LOSSES, Split
from benchmarks.report import Row
from benchmarks.timing import format_seconds, use_threads
from mtp_hf.data.collate import Collate
from mtp_hf.modeling.ops_rotated_boxes import boxes_to_rotated_boxes
from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import batch_to_device
from mtp_hf.training.optim import build_optimizer, parameter_groups
from mtp_hf.training.recipe import load_recipe

THREADS = 2
ROUNDS = 3
MAX_BATCH = 2
RESULT = "vit_b_rvsa_mtp"
# Recipe of each task and its number of classes.
RECIPES = {
    "scene_classification/eurosat": 10,
    "horizontal_detection/dior": 20,
    "rotated_detection/dior_r": 20,
    "semantic_segmentation/loveda": 7,
    "change_detection/levir": 2,
}
NUM_OBJECTS = 6
QUICK_SIZE = 128
QUICK = [f"data.image_size={QUICK_SIZE}", "model.backbone=vit_t_rvsa"]
QUICK_HEADS = {
    "faster_rcnn": {"hidden_size": 8, "box_hidden_size": 16},
    "oriented_rcnn": {"hidden_size": 8, "box_hidden_size": 16},
    "upernet": {"hidden_size": 8},
    "siamese_unet": {"hidden_sizes": "[16,12,8,8]"},
}


def run(quick: bool) -> list[Row]:
    """Measure every task in turn."""
    rows = []
    with use_threads(THREADS):
        for name, num_classes in RECIPES.items():
            rows += measure(quick_or_published(name, quick), num_classes, 1 if quick else ROUNDS)
    return rows


def quick_or_published(name: str, quick: bool) -> FinetuneRecipe:
    """Read a recipe, made tiny if it is only to be tried."""
    recipe: Any = load_recipe(name, result=RESULT)
    if not quick:
        return recipe
    head = QUICK_HEADS.get(recipe.model.architecture, {})
    overrides = [*QUICK, *(f"model.head.{field}={value}" for field, value in head.items())]
    tiny: Any = load_recipe(name, result=RESULT, overrides=overrides)
    return tiny


def measure(recipe: FinetuneRecipe, num_classes: int, rounds: int) -> list[Row]:
    """Time whole steps after one to warm up, then one step in parts."""
    torch.manual_seed(0)
    network = build_network(recipe, [f"class{i}" for i in range(num_classes)]).train()
    groups = parameter_groups(
        network, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay
    )
    optimizer = build_optimizer(groups, betas=recipe.optimizer.betas)
    batch_size = min(recipe.schedule.batch_size, MAX_BATCH)
    samples = make_samples(recipe.task, recipe.data.image_size, batch_size, num_classes)
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        make_step(network, optimizer, samples, TaskSplit())
        seconds.append(time.perf_counter() - started)
    median = sorted(seconds[1:])[len(seconds[1:]) // 2]
    split = TaskSplit()
    make_step(network, optimizer, samples, split)
    total, size = sum(split.seconds.values()), recipe.data.image_size
    pairs = " pairs" if recipe.task == "change_detection" else " images"
    return [
        Row(
            case=f"{recipe.task}, {size} px, {batch_size}{pairs}",
            value=batch_size / median,
            unit=f"{pairs.strip()}/s",
            note=f"{format_seconds(median)} a step",
        ),
        *(
            Row(
                case=f"{recipe.task}: {part}",
                value=100 * spent / total,
                unit="%",
                note=format_seconds(spent),
            )
            for part, spent in split.seconds.items()
        ),
    ]


class TaskSplit(Split):
    """Seconds of the parts of a step of any task; the backbone may run more than once."""

    @contextlib.contextmanager
    def watch(self, model: Any) -> Iterator[None]:
        """Count the parts of the forward and backward pass inside the block."""
        marks: dict[str, float] = {}
        before = sum(self.seconds.values())

        def backbone_starts(module: nn.Module, inputs: Any) -> None:
            marks["backbone"] = time.perf_counter()

        def backbone_done(module: nn.Module, inputs: Any, output: Any) -> None:
            self.add("backbone, forward", time.perf_counter() - marks["backbone"])
            for level in output.get("feature_maps", None) or (output.last_hidden_state,):
                # The last of the maps to get its gradient starts the backbone's backward pass.
                level.register_hook(lambda _: marks.update(maps=time.perf_counter()))

        def model_done(module: nn.Module, inputs: Any, output: Any) -> None:
            marks["forward"] = time.perf_counter()

        with contextlib.ExitStack() as stack:
            for functions, name in ((LOSSES, "losses"), (ASSIGNMENT, "assignment")):
                for owner, attribute in functions:
                    timed = self._timed(getattr(owner, attribute), name)
                    stack.enter_context(mock.patch.object(owner, attribute, timed))
            for hook in (
                model.backbone.register_forward_pre_hook(backbone_starts),
                model.backbone.register_forward_hook(backbone_done),
                model.register_forward_hook(model_done),
            ):
                stack.callback(hook.remove)
            started = time.perf_counter()
            yield
        end = time.perf_counter()
        inner = sum(self.seconds.values()) - before
        self.add("heads, forward", marks["forward"] - started - inner)
        self.add("heads and losses, backward", marks["maps"] - marks["forward"])
        self.add("backbone, backward", end - marks["maps"])


def make_step(
    network: Any, optimizer: torch.optim.Optimizer, samples: list[Any], split: TaskSplit
) -> None:
    """Make one optimizer step from samples on, as the training loop does."""
    with split.part("data"):
        inputs = batch_to_device(Accelerator(cpu=True), Collate()(samples))
        if "image_labels" in inputs:
            inputs["labels"] = inputs.pop("image_labels")
    with split.watch(network):
        network(**inputs).loss.backward()
    with split.part("clipping and optimizer"):
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()


def make_samples(task: str, size: int, count: int, num_classes: int) -> list[dict[str, Any]]:
    """Make noise with labels of a task, as its transforms leave them."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": _noise(size, generator),
            "image_id": str(number),
            "dataset": "noise",
            **_LABELS[task](size, num_classes, generator),
        }
        for number in range(count)
    ]


def _noise(size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator)


def _scene(size: int, num_classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"label": torch.randint(num_classes, (), generator=generator)}


def _objects(size: int, num_classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    sides = 16 + size / 8 * torch.rand(NUM_OBJECTS, 2, generator=generator)
    low = torch.rand(NUM_OBJECTS, 2, generator=generator) * (size - sides)
    kinds = torch.randint(num_classes, (NUM_OBJECTS,), generator=generator)
    return {"boxes": torch.cat((low, low + sides), dim=1), "class_labels": kinds}


def _rotated(size: int, num_classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    objects = _objects(size, num_classes, generator)
    rotated = boxes_to_rotated_boxes(objects["boxes"])
    return {"rotated_boxes": rotated, "rotated_class_labels": objects["class_labels"]}


def _segments(size: int, num_classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"semantic_labels": torch.randint(num_classes, (size, size), generator=generator)}


def _changes(size: int, num_classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    changed = torch.randint(num_classes, (size, size), generator=generator)
    return {"image_post": _noise(size, generator), "change_labels": changed}


_LABELS: dict[str, Callable[[int, int, torch.Generator], dict[str, Tensor]]] = {
    "scene_classification": _scene,
    "horizontal_detection": _objects,
    "rotated_detection": _rotated,
    "semantic_segmentation": _segments,
    "change_detection": _changes,
}
