"""One step of finetuning of each task as published with ViT-B + RVSA, and where its time goes.

Recipe, architecture, sizes and the batch of one device are the published ones, and a step is that
of the training loop: images of noise with made-up labels go through collate and normalisation, then
forward, backward, the recipe's clipping and AdamW with its layer-wise rates, in float32. The share
of data is collating and normalising; what workers read beside the step is measured by
`input_pipeline`. The weights are random.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.report import Row
from benchmarks.step_split import Split
from benchmarks.timing import format_seconds, use_threads
from mtp_hf.data.collate import Collate
from mtp_hf.modeling.ops_rotated_boxes import boxes_to_rotated_boxes
from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import Inputs, Prepared, batch_to_device, prepare, train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.recipe import load_recipe

THREADS = 2
ROUNDS = 3
RESULT = "vit_b_rvsa_mtp"
NUM_OBJECTS = 6
NUM_IMAGES = 10_000  # of an epoch; only the length of a schedule that is not stepped


@dataclasses.dataclass(frozen=True)
class Published:
    """What a recipe leaves to the data set and the machine.

    Args:
        num_classes: K.
        num_devices: that shared the batch. Source: the original's launch files, spec 3.
    """

    num_classes: int
    num_devices: int


RECIPES = {
    "scene_classification/eurosat": Published(10, 8),
    "horizontal_detection/dior": Published(20, 4),
    "rotated_detection/dior_r": Published(20, 4),
    "semantic_segmentation/loveda": Published(7, 8),
    "change_detection/levir": Published(2, 8),
}
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
        for name, published in RECIPES.items():
            rows += measure(quick_or_published(name, quick), published, 1 if quick else ROUNDS)
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


def measure(recipe: FinetuneRecipe, published: Published, rounds: int) -> list[Row]:
    """Time whole steps after one to warm up, then one step in parts."""
    torch.manual_seed(0)
    batch_size = recipe.schedule.batch_size // published.num_devices
    size, num_classes = recipe.data.image_size, published.num_classes
    prepared = prepare_network(recipe, num_classes)
    samples = make_samples(recipe.task, size, batch_size, num_classes)
    window = LossWindow(prepared.accelerator)
    batches = map(Collate(), itertools.repeat(samples))
    seconds = []
    for step in range(1, rounds + 2):
        started = time.perf_counter()
        train_step(prepared, batches, recipe, window, step)
        seconds.append(time.perf_counter() - started)
    median = sorted(seconds[1:])[len(seconds[1:]) // 2]
    split = Split()
    step_in_parts(prepared, samples, recipe, split)
    total = sum(split.seconds.values())
    images = "pairs" if recipe.task == "change_detection" else "images"
    return [
        Row(
            case=f"{recipe.task}, {size} px, {batch_size} {images}",
            value=batch_size / median,
            unit=f"{images}/s",
            note=f"{format_seconds(median)} a step; one of {published.num_devices} devices"
            f" that share the published batch of {recipe.schedule.batch_size}",
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


def prepare_network(recipe: FinetuneRecipe, num_classes: int) -> Prepared:
    """Make network, optimizer and schedule as a run does."""
    network = build_network(recipe, [f"class{i}" for i in range(num_classes)]).train()
    in_steps = recipe.in_steps({recipe.data.builder: NUM_IMAGES})
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    return prepare(accelerator, network, in_steps, call_with)


def call_with(inputs: Inputs, number: int) -> Inputs:
    """Give models of scenes their labels as one tensor, as finetuning does without mixing."""
    if "image_labels" not in inputs:
        return inputs
    return {"pixel_values": inputs["pixel_values"], "labels": inputs["image_labels"]}


def step_in_parts(
    prepared: Prepared, samples: list[Any], recipe: FinetuneRecipe, split: Split
) -> None:
    """Make the same step as `train_step`, whose parts are not to be seen from outside."""
    accelerator, model = prepared.accelerator, prepared.model
    with split.part("data"):
        inputs = prepared.adapt(batch_to_device(accelerator, Collate()(samples)), 0)
    with split.watch(model, "heads"):
        accelerator.backward(model(**inputs).loss)
    with split.part("clipping and optimizer"):
        max_norm = recipe.optimizer.max_grad_norm or float("inf")
        accelerator.clip_grad_norm_(model.parameters(), max_norm)
        prepared.optimizer.step()
        prepared.optimizer.zero_grad()


def make_samples(
    task: str, size: int, count: int, num_classes: int, num_objects: int = NUM_OBJECTS
) -> list[dict[str, Any]]:
    """Make noise with labels of a task, as its transforms leave them.

    Args:
        task: name in `TASKS`.
        size: side of the images in pixels.
        count: of images.
        num_classes: K.
        num_objects: of each image, where the task looks for some.
    """
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": _noise(size, generator),
            "image_id": str(number),
            "dataset": "noise",
            **_LABELS[task](size, num_classes, num_objects, generator),
        }
        for number in range(count)
    ]


def _noise(size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator)


def _scene(
    size: int, num_classes: int, num_objects: int, generator: torch.Generator
) -> dict[str, Tensor]:
    return {"label": torch.randint(num_classes, (), generator=generator)}


def _objects(
    size: int, num_classes: int, num_objects: int, generator: torch.Generator
) -> dict[str, Tensor]:
    sides = 16 + size / 8 * torch.rand(num_objects, 2, generator=generator)
    low = torch.rand(num_objects, 2, generator=generator) * (size - sides)
    kinds = torch.randint(num_classes, (num_objects,), generator=generator)
    return {"boxes": torch.cat((low, low + sides), dim=1), "class_labels": kinds}


def _rotated(
    size: int, num_classes: int, num_objects: int, generator: torch.Generator
) -> dict[str, Tensor]:
    objects = _objects(size, num_classes, num_objects, generator)
    rotated = boxes_to_rotated_boxes(objects["boxes"])
    return {"rotated_boxes": rotated, "rotated_class_labels": objects["class_labels"]}


def _segments(
    size: int, num_classes: int, num_objects: int, generator: torch.Generator
) -> dict[str, Tensor]:
    return {"semantic_labels": torch.randint(num_classes, (size, size), generator=generator)}


def _changes(
    size: int, num_classes: int, num_objects: int, generator: torch.Generator
) -> dict[str, Tensor]:
    changed = torch.randint(num_classes, (size, size), generator=generator)
    return {"image_post": _noise(size, generator), "change_labels": changed}


_LABELS: dict[str, Callable[[int, int, int, torch.Generator], dict[str, Tensor]]] = {
    "scene_classification": _scene,
    "horizontal_detection": _objects,
    "rotated_detection": _rotated,
    "semantic_segmentation": _segments,
    "change_detection": _changes,
}
