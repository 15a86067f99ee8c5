"""The schema of a recipe: every value that decides what a training run does, as dataclasses.

Keys are grouped by consequence: `efficiency` may not change what is learned beyond rounding. The
fields of the architecture live in the configs of `modeling/`; here is only what differs from a
named size.

Defaults are the published choices of MTP. Source: section IV of the paper (arXiv 2403.13430) and
`Multi-Task_Pretrain/main_pretrain.py` of the original code, with its effective values where the
code ignores what its options say (it has no layer decay on a ViT, and no mixed precision).
"""

import dataclasses
import math
from typing import Any, Literal

from torch import nn

from mtp_hf.dataset_scripts.samrs import SAMRS_TASKS
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES
from mtp_hf.training.strict_dataclass import unknown_name

TASKS = ("ss", "is", "rd")
DEMO_ROOT = "demo"
BUILDER_TASKS = {"samrs": SAMRS_TASKS}  # what each set is annotated with


@dataclasses.dataclass(frozen=True)
class Source:
    """One data set of the run.

    Args:
        config: configuration of the builder, such as `sior`.
        batch_size: images of this set in one optimizer step, over all processes and accumulated
            batches together; it belongs to the result, so it does not depend on the machine.
        tasks: which of the three decoders learn from it.
        builder: family of sets in `mtp_hf.dataset_scripts`.
    """

    config: str
    batch_size: int
    tasks: tuple[str, ...] = TASKS  # MTP trains all three on each of its sets
    builder: Literal["samrs"] = "samrs"


@dataclasses.dataclass(frozen=True)
class Data:
    """What is read.

    Args:
        root: folder that holds the data sets as downloaded, or `demo` for the generated scenes, or
            null where the user has to name it.
        image_size: side of the square training crop, and of the square that validation images are
            resized to fit, in pixels.
        limit_samples: use at most so many images of each set and split (null: all).
    """

    sources: dict[str, Source]
    root: str | None = None
    image_size: int = 448  # main_pretrain.py, ViT-L; the ViT-B weights were made at 224
    limit_samples: int | None = None


@dataclasses.dataclass(frozen=True)
class Model:
    """The network: a named size, its start, and config fields that differ from that size.

    Args:
        backbone: name in `VIT_RVSA_SIZES`.
        init: file with MAE weights, folder of a saved encoder, or null for a random start.
        backbone_overrides: fields of the backbone config.
        semantic: fields of the UPerNet config.
        instance: fields of the Mask R-CNN config.
        rotated: fields of the Oriented R-CNN config.
    """

    backbone: str = "large"  # paper, table II: the largest ViT
    init: str | None = None
    backbone_overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    semantic: dict[str, Any] = dataclasses.field(default_factory=dict)
    instance: dict[str, Any] = dataclasses.field(default_factory=dict)
    rotated: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Length of the run in optimizer steps, and the learning rate along it."""

    steps: int = 80_000  # paper, section IV-A
    warmup_steps: int = 0  # main_pretrain.py has no warm-up
    kind: Literal["cosine", "constant"] = "cosine"  # to zero, stepped every iteration
    gradient_accumulation: int = 1  # batches that make up one optimizer step on a process


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW and gradient clipping."""

    lr: float = 6.0e-5  # main_pretrain.py, both ViTs
    weight_decay: float = 0.05  # main_pretrain.py
    betas: tuple[float, float] = (0.9, 0.999)  # main_pretrain.py
    layer_decay: float = 1.0  # effective: the original's 0.9 never reaches a ViT in pretraining
    max_grad_norm: float = 5.0  # main_pretrain.py, global L2 norm


@dataclasses.dataclass(frozen=True)
class Augment:
    """Random changes to training images. Source: the original's training pipeline (datasets.py)."""

    flip_probability: float = 0.75  # a third each horizontal, vertical, diagonal
    scale_range: tuple[float, float] = (0.5, 2.0)  # of image_size, uniform, before the crop
    photometric_distortion: bool = True  # brightness, contrast, saturation, hue


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """How the machine is used; none of it may change what is learned beyond rounding."""

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"  # the original computes in float32
    activation_checkpointing: bool = False
    num_workers: int = 2  # processes that read images, per training process
    cpu_threads: int | None = None  # of a process that trains on a CPU; null: as launched


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Validation during the run.

    Args:
        every: optimizer steps between validations (0: only at the end).
        before: also measure the untrained model, to compare with.
        batch_size: images per forward pass of one process.
        max_samples: images used of each set (null: all).
        on_training_images: at the start and end also measure on the training images, unaugmented,
            to tell what is learned from what carries over.
    """

    every: int = 0  # the original validates once, after the last step
    before: bool = False
    batch_size: int = 4
    max_samples: int | None = None
    on_training_images: bool = False


@dataclasses.dataclass(frozen=True)
class Saving:
    """What is written along the way.

    Args:
        checkpoint_every: optimizer steps between checkpoints (0: only at the end).
        total_limit: newest checkpoints to keep (null: all).
        log_every: optimizer steps that a line of the log averages over.
    """

    checkpoint_every: int = 5_000  # published command
    total_limit: int | None = None  # nothing is deleted unasked
    log_every: int = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run.

    Args:
        name: recipe file the values come from.
        result: row of its `results:`.
        about: sentences for the model card.
    """

    name: str = ""
    result: str | None = None
    about: str = ""
    data: Data
    model: Model = Model()
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    efficiency: Efficiency = Efficiency()
    evaluation: Evaluation = Evaluation()
    saving: Saving = Saving()
    seed: int = 2023  # main_pretrain.py


def micro_batch_sizes(recipe: Recipe, num_processes: int) -> dict[str, int]:
    """Share the images of one optimizer step among processes and accumulated batches.

    Returns:
        Images of each source in one forward pass of one process.

    Raises:
        ValueError: batch sizes that cannot be shared equally; all of them, with what would fit.
    """
    accumulation = recipe.schedule.gradient_accumulation
    sizes = {name: source.batch_size for name, source in recipe.data.sources.items()}
    shares = num_processes * accumulation
    unequal = [
        f"  data.sources.{name}.batch_size={size}: {size} / {shares} = {size / shares:.4g};"
        f" fits: {' or '.join(map(str, _nearest_multiples(size, shares)))}"
        for name, size in sizes.items()
        if size % shares
    ]
    if unequal:
        fitting = math.gcd(*sizes.values())
        counts = ", ".join(str(n) for n in range(1, fitting + 1) if fitting % n == 0)
        raise ValueError(
            f"{num_processes} processes x {accumulation} accumulated batches = {shares} cannot"
            " share equally the images that one optimizer step takes of a set:\n"
            + "\n".join(unequal)
            + "\nor leave the batch sizes, which belong to the result, and let processes x"
            f" schedule.gradient_accumulation be one of: {counts}"
        )
    return {name: size // shares for name, size in sizes.items()}


def check_recipe(recipe: Recipe) -> None:
    """Check what types cannot say: ranges, and values that depend on each other."""
    if not recipe.data.sources:
        raise ValueError("data.sources: at least one data set is needed")
    for name, source in recipe.data.sources.items():
        _check_source(name, source)
    if recipe.model.backbone not in VIT_RVSA_SIZES:
        name = recipe.model.backbone
        raise ValueError(unknown_name(f"model.backbone={name}", "size", name, VIT_RVSA_SIZES))
    for path in _COUNTS_FROM_ONE:
        _check_range(recipe, path, at_least=1)
    if recipe.seed < 0:
        raise ValueError(f"seed: expected at least 0, got {recipe.seed}")
    for path in _COUNTS_OR_NULL:
        section, field = path.split(".")
        if getattr(getattr(recipe, section), field) is not None:
            _check_range(recipe, path, at_least=1)
    for path in _NOT_NEGATIVE:
        _check_range(recipe, path, at_least=0)
    if recipe.schedule.warmup_steps >= recipe.schedule.steps:
        raise ValueError(
            f"schedule.warmup_steps ({recipe.schedule.warmup_steps}) must be less than"
            f" schedule.steps ({recipe.schedule.steps})"
        )
    if not 0 < recipe.optimizer.layer_decay <= 1:
        raise ValueError(
            f"optimizer.layer_decay: expected 0 < x <= 1, got {recipe.optimizer.layer_decay}"
        )
    if not 0 <= recipe.augment.flip_probability <= 1:
        raise ValueError(
            f"augment.flip_probability: expected 0 to 1, got {recipe.augment.flip_probability}"
        )
    low, high = recipe.augment.scale_range
    if not 0 < low <= high:
        raise ValueError(f"augment.scale_range: expected 0 < low <= high, got [{low}, {high}]")


_COUNTS_FROM_ONE = (
    "data.image_size",
    "schedule.steps",
    "schedule.gradient_accumulation",
    "evaluation.batch_size",
    "saving.log_every",
)
# Data sets become keys of module dicts and of metrics.
_TAKEN_NAMES = {*dir(nn.ModuleDict()), "pooled", "tables"}
_COUNTS_OR_NULL = (
    "data.limit_samples",
    "evaluation.max_samples",
    "efficiency.cpu_threads",
    "saving.total_limit",
)
_NOT_NEGATIVE = (
    "schedule.warmup_steps",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.max_grad_norm",
    "efficiency.num_workers",
    "evaluation.every",
    "saving.checkpoint_every",
)


def _check_source(name: str, source: Source) -> None:
    where = f"data.sources.{name}"
    if not name.isidentifier():
        raise ValueError(f"{where}: a name of letters, digits and underscores is expected")
    if name in _TAKEN_NAMES:
        raise ValueError(f"{where}: this name is taken by the code, choose another")
    if source.batch_size < 1:
        raise ValueError(f"{where}.batch_size: expected at least 1, got {source.batch_size}")
    configs = BUILDER_TASKS[source.builder]
    if source.config not in configs:
        raise ValueError(
            unknown_name(f"{where}.config={source.config}", "set", source.config, configs)
        )
    if not source.tasks or len(set(source.tasks)) != len(source.tasks):
        raise ValueError(f"{where}.tasks: expected some of {TASKS}, each once, got {source.tasks}")
    for task in source.tasks:
        if task not in TASKS:
            raise ValueError(unknown_name(f"{where}.tasks={task}", "task", task, TASKS))
        if task not in configs[source.config]:
            raise ValueError(
                f"{where}.tasks asks for {task!r}, but {source.builder}/{source.config} has no such"
                f" annotation (it has {', '.join(configs[source.config])})"
            )


def _nearest_multiples(size: int, shares: int) -> list[int]:
    """Return the multiples of `shares` on both sides of `size`, without zero."""
    below = size // shares * shares
    return [multiple for multiple in (below, below + shares) if multiple]


def _check_range(recipe: Recipe, path: str, *, at_least: int) -> None:
    section, field = path.split(".")
    value = getattr(getattr(recipe, section), field)
    if not value >= at_least:
        raise ValueError(f"{path}: expected at least {at_least}, got {value}")
