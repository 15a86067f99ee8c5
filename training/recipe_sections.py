"""Sections that recipes of pretraining and finetuning share, and what is checked in them.

Defaults are the published choices of MTP's pretraining; `finetune_schema.py` has those of
finetuning.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, Self


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Length of the run in optimizer steps, and the learning rate along it.

    Args:
        steps: optimizer steps in all.
        warmup_steps: in which the factor on the rate rises linearly to 1.
        warmup_start: factor of the first step; null: 1 / warmup_steps.
        kind: after the warm-up `cosine` falls to 0 at the end, `poly` as a power of what is left,
            `multistep` is multiplied by gamma at the milestones, `constant` stays.
        milestones: steps of `multistep`.
        gamma: of `multistep`.
        power: of `poly`.
        update_every: steps between two changes of `cosine` and `poly`.
        gradient_accumulation: batches that make up one optimizer step on a process.
    """

    steps: int = 80_000  # paper, section IV-A
    warmup_steps: int = 0  # main_pretrain.py has no warm-up
    warmup_start: float | None = None
    kind: Literal["cosine", "constant", "multistep", "poly"] = "cosine"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    power: float = 0.9
    update_every: int = 1
    gradient_accumulation: int = 1


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW and gradient clipping."""

    lr: float = 6.0e-5  # main_pretrain.py, both ViTs
    weight_decay: float = 0.05  # main_pretrain.py
    betas: tuple[float, float] = (0.9, 0.999)  # main_pretrain.py
    layer_decay: float = 1.0  # effective: the original's 0.9 never reaches a ViT in pretraining
    max_grad_norm: float = 5.0  # main_pretrain.py, global L2 norm; 0: no clipping


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """How the machine is used; none of it may change what is learned beyond rounding.

    `compile` is of the backbone in the training step: the shapes of what heads do depend on the
    objects found.
    """

    mixed_precision: Literal["no", "bf16", "fp16"] = "no"  # the original computes in float32
    activation_checkpointing: bool = False
    compile: bool = False
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
class CommonRecipe:
    """What every recipe has.

    Args:
        name: recipe file the values come from.
        result: row of its `results:`.
        about: sentences for the model card.
    """

    name: str = ""
    result: str | None = None
    about: str = ""
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    efficiency: Efficiency = Efficiency()
    evaluation: Evaluation = Evaluation()
    saving: Saving = Saving()
    seed: int = 2023  # main_pretrain.py

    def batch_sizes(self) -> dict[str, int]:
        """Images of each data set in one optimizer step, by the key that sets them."""
        raise NotImplementedError("a recipe says how many images a step takes")

    def batch_size_key(self, name: str) -> str:
        """Where the recipe sets the batch size of a data set."""
        raise NotImplementedError("a recipe says how its batch sizes are called")

    def in_steps(self, num_images: Mapping[str, int]) -> Self:
        """Count everything in optimizer steps, where the recipe counts in epochs.

        Args:
            num_images: training images of each data set.
        """
        return self


def micro_batch_sizes(recipe: CommonRecipe, num_processes: int) -> dict[str, int]:
    """Share the images of one optimizer step among processes and accumulated batches.

    Returns:
        Images of each source in one forward pass of one process.

    Raises:
        ValueError: batch sizes that cannot be shared equally; all of them, with what would fit.
    """
    accumulation = recipe.schedule.gradient_accumulation
    sizes = recipe.batch_sizes()
    shares = num_processes * accumulation
    unequal = [
        f"  {recipe.batch_size_key(name)}={size}: {size} / {shares} = {size / shares:.4g};"
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


_COUNTS_FROM_ONE = (
    "schedule.update_every",
    "schedule.gradient_accumulation",
    "evaluation.batch_size",
    "saving.log_every",
)
_COUNTS_OR_NULL = ("evaluation.max_samples", "efficiency.cpu_threads", "saving.total_limit")
_NOT_NEGATIVE = (
    "schedule.warmup_steps",
    "schedule.gamma",
    "schedule.power",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.max_grad_norm",
    "efficiency.num_workers",
    "evaluation.every",
    "saving.checkpoint_every",
)


def check_sections(recipe: CommonRecipe) -> None:
    """Check what types cannot say of the shared sections.

    Raises:
        ValueError: a value out of its range.
    """
    for path in _COUNTS_FROM_ONE:
        check_range(recipe, path, at_least=1)
    if recipe.seed < 0:
        raise ValueError(f"seed: expected at least 0, got {recipe.seed}")
    for path in _COUNTS_OR_NULL:
        check_range(recipe, path, at_least=1, or_null=True)
    for path in _NOT_NEGATIVE:
        check_range(recipe, path, at_least=0)
    if not 0 < recipe.optimizer.layer_decay <= 1:
        raise ValueError(
            f"optimizer.layer_decay: expected 0 < x <= 1, got {recipe.optimizer.layer_decay}"
        )
    if not all(0 <= beta < 1 for beta in recipe.optimizer.betas):
        raise ValueError(
            f"optimizer.betas: expected 0 <= x < 1, both, got {list(recipe.optimizer.betas)}"
        )
    start = recipe.schedule.warmup_start
    if start is not None and not 0 <= start <= 1:
        raise ValueError(f"schedule.warmup_start: expected 0 to 1, got {start}")
    milestones = recipe.schedule.milestones
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f"schedule.milestones: expected rising numbers, got {list(milestones)}")
    if bool(milestones) != (recipe.schedule.kind == "multistep"):
        raise ValueError(
            f"schedule.milestones={list(milestones)} does not go with"
            f" schedule.kind={recipe.schedule.kind}: multistep has some, other kinds have none"
        )


def check_milestones(schedule: Schedule, *, warmup: int) -> None:
    """Check that no milestone cuts the warm-up off.

    One after the end of a run that was made shorter is none of its own; a warning tells of it when
    the run starts.

    Args:
        schedule: of the run.
        warmup: its length, in what milestones count.

    Raises:
        ValueError: a milestone lies within the warm-up.
    """
    milestones, first = schedule.milestones, max(warmup, 1)
    if milestones and milestones[0] < first:
        raise ValueError(
            f"schedule.milestones={list(milestones)}: expected {first} or more, after the warm-up"
        )


def check_range(recipe: CommonRecipe, path: str, *, at_least: int, or_null: bool = False) -> None:
    """Check that the value of `section.field` is large enough.

    Raises:
        ValueError: it is not.
    """
    section, field = path.split(".")
    value: Any = getattr(getattr(recipe, section), field)
    if value is None and or_null:
        return
    if not value >= at_least:
        raise ValueError(f"{path}: expected at least {at_least}, got {value}")


def _nearest_multiples(size: int, shares: int) -> list[int]:
    """Return the multiples of `shares` on both sides of `size`, without zero."""
    below = size // shares * shares
    return [multiple for multiple in (below, below + shares) if multiple]
