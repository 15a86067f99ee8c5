"""The schema of a finetuning recipe: one task on one data set.

What is shared with pretraining is in `recipe_sections.py`. Where `schedule.epochs` is given, the
milestones, `schedule.update_every`, `evaluation.every` and `saving.checkpoint_every` count epochs,
else optimizer steps; who overrides the unit has to give them, too (`check_counts`).

Defaults are those that the published finetuning has in common. Source: original spec 3.0.
"""

import dataclasses
import math
from collections.abc import Container, Mapping
from typing import Any, Self

from mtp_hf.dataset_scripts import BUILDERS
from mtp_hf.training.recipe_sections import (
    CommonRecipe,
    Evaluation,
    Optimizer,
    Saving,
    Schedule,
    check_milestones,
    check_range,
    check_sections,
)
from mtp_hf.training.strict_dataclass import unknown_name


@dataclasses.dataclass(frozen=True)
class FinetuneData:
    """What is read.

    Args:
        builder: name in `BUILDERS`.
        config: of the builder; null: its first one.
        root: folder of the data set, which the user names.
        train: split of `datasets` to train on, such as `train+validation`.
        evaluate: split to measure on; null where no labels are public: nothing is measured.
        options: fields of the builder's config, such as `tile_size`.
        evaluate_config: config for the split to measure on; null: the same.
        image_size: side of the network's input in pixels, which position tables are made for.
        class_names: of label maps, where the data set does not know them.
        limit_samples: use at most so many images of each split (null: all).
    """

    builder: str
    config: str | None = None
    root: str | None = None
    train: str = "train"
    evaluate: str | None = "validation"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluate_config: str | None = None
    image_size: int = 224
    class_names: tuple[str, ...] | None = None
    limit_samples: int | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneModel:
    """The network and what it starts from.

    Args:
        architecture: name in `ARCHITECTURES`.
        backbone: name in `BACKBONES`; or `timm/NAME`; or Hub id or folder of a backbone of
            transformers, of which the config is taken.
        init: folder or Hub id of an encoder or of a model of this architecture, or file of the
            original; null for a random start.
        needs_init: what a result starts from that is a file of the user's own: without `init` the
            run is refused, in these words; null: a random start is meant.
        init_decoder: folder or Hub id of the multi-task model, or its file, whose decoder of the
            same task is taken as well.
        take_head: whether a model of the same architecture in `init` gives its head, too.
        backbone_overrides: fields of the backbone's config.
        head: fields of the model's config.
        freeze_backbone: train the head alone.
        lora_rank: of low-rank updates of the backbone's linear layers, which stay as they are;
            null: all parameters are trained.
    """

    architecture: str
    backbone: str = "vit_b_rvsa"
    init: str | None = None
    needs_init: str | None = None
    init_decoder: str | None = None
    take_head: bool = True
    backbone_overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    head: dict[str, Any] = dataclasses.field(default_factory=dict)
    freeze_backbone: bool = False
    lora_rank: int | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneMix:
    """Mixing of the scenes of a batch in training; off where both alphas are 0, as published.

    Args:
        mixup_alpha: of the Beta distribution of mixup's shares; 0: no mixup. DeiT has 0.8.
        cutmix_alpha: of the Beta distribution of CutMix's shares; 0: no CutMix. DeiT has 1.0.
        probability: that a batch is mixed; with both alphas each of the two is as likely.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    probability: float = 1.0


@dataclasses.dataclass(frozen=True)
class FinetuneSchedule(Schedule):
    """Length in epochs or in optimizer steps, one of the two; see `Schedule`.

    Args:
        batch_size: images of one optimizer step, over all processes and accumulated batches.
        epochs: length of the run.
        warmup_epochs: instead of `warmup_steps`.
    """

    steps: int | None = None  # type: ignore[assignment]
    batch_size: int = 8
    epochs: int | None = None
    warmup_epochs: int | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneOptimizer(Optimizer):
    """AdamW; see `Optimizer`.

    Args:
        ema_decay: of an average of the weights, which is what is measured and saved; null: none.
    """

    lr: float = 1.0e-4  # of every published detector
    max_grad_norm: float = 0.0  # mmengine's default: no clipping
    ema_decay: float | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneEvaluation(Evaluation):
    """Measuring along the way; see `Evaluation`.

    Args:
        window: side of sliding windows on images of their own size, in pixels; null: whole.
        stride: from one window to the next.
        scales: sizes of test-time augmentation, as factors on the image size.
        flips: directions of test-time augmentation: `horizontal`, `vertical`, `diagonal`.
        transforms: arguments of the task's transforms of evaluation.
        ignore_difficult: let rotated objects that are difficult be ignored, neither to be found nor
            false alarms; false counts them like all others.
    """

    every: int = 1
    window: int | None = None
    stride: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flips: tuple[str, ...] = ()
    transforms: dict[str, Any] = dataclasses.field(default_factory=dict)
    ignore_difficult: bool = True  # evaluation code of DOTA


@dataclasses.dataclass(frozen=True)
class FinetuneSaving(Saving):
    """What is written along the way; see `Saving`."""

    checkpoint_every: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(CommonRecipe):
    """A whole finetuning run.

    Args:
        task: name in `TASKS`.
        augment: arguments of the task's training transforms.
        mix: of the scenes of a batch.
        published: metric -> value of the paper or of the authors' logs, in percent.
        reproduced: metric -> value that this package reached, in percent.
    """

    task: str
    data: FinetuneData
    model: FinetuneModel
    schedule: FinetuneSchedule
    optimizer: FinetuneOptimizer = FinetuneOptimizer()
    evaluation: FinetuneEvaluation = FinetuneEvaluation()
    saving: FinetuneSaving = FinetuneSaving()
    augment: dict[str, Any] = dataclasses.field(default_factory=dict)
    mix: FinetuneMix = FinetuneMix()
    published: dict[str, float] = dataclasses.field(default_factory=dict)
    reproduced: dict[str, float] = dataclasses.field(default_factory=dict)

    def batch_sizes(self) -> dict[str, int]:
        """Images of one optimizer step."""
        return {self.data.builder: self.schedule.batch_size}

    def batch_size_key(self, name: str) -> str:
        """Where the recipe sets the batch size."""
        return "schedule.batch_size"

    def in_steps(self, num_images: Mapping[str, int]) -> Self:
        """Turn epochs into optimizer steps; the last batch of an epoch is filled up."""
        schedule = self.schedule
        if schedule.epochs is None:
            return self
        length = math.ceil(num_images[self.data.builder] / schedule.batch_size)
        warmup = schedule.warmup_epochs
        in_steps = dataclasses.replace(
            schedule,
            steps=schedule.epochs * length,
            epochs=None,
            warmup_steps=schedule.warmup_steps if warmup is None else warmup * length,
            warmup_epochs=None,
            milestones=tuple(epoch * length for epoch in schedule.milestones),
            update_every=schedule.update_every * length,
        )
        every, checkpoint_every = self.evaluation.every, self.saving.checkpoint_every
        recipe = dataclasses.replace(
            self,
            schedule=in_steps,
            evaluation=dataclasses.replace(self.evaluation, every=every * length),
            saving=dataclasses.replace(self.saving, checkpoint_every=checkpoint_every * length),
        )
        _check_steps(recipe)
        return recipe


def check_finetune_recipe(recipe: FinetuneRecipe) -> None:
    """Check what types cannot say: ranges, and values that depend on each other."""
    if recipe.data.builder not in BUILDERS:
        name = recipe.data.builder
        raise ValueError(unknown_name(f"data.builder={name}", "data set", name, BUILDERS))
    check_range(recipe, "data.image_size", at_least=1)
    check_range(recipe, "data.limit_samples", at_least=1, or_null=True)
    for path in ("schedule.epochs", "schedule.steps", "model.lora_rank", "evaluation.window"):
        check_range(recipe, path, at_least=1, or_null=True)
    check_range(recipe, "schedule.batch_size", at_least=1)
    check_range(recipe, "schedule.warmup_epochs", at_least=0, or_null=True)
    check_sections(recipe)
    _check_schedule(recipe)
    decay = recipe.optimizer.ema_decay
    if decay is not None and not 0 < decay < 1:
        raise ValueError(f"optimizer.ema_decay: expected 0 < x < 1, got {decay}")
    _check_model(recipe.model)
    _check_mix(recipe)
    _check_evaluation(recipe.evaluation)


def check_counts(recipe: FinetuneRecipe, unit: str, overridden: Container[str]) -> None:
    """Check that who counts a run in another unit gives everything that counts in it.

    Args:
        recipe: with its overrides.
        unit: `epochs` or `steps`, in which it counts without them.
        overridden: dotted keys.

    Raises:
        ValueError: the unit is another one and a number meant in the first one stayed.
    """
    schedule = recipe.schedule
    counts = {
        "evaluation.every": recipe.evaluation.every,
        "saving.checkpoint_every": recipe.saving.checkpoint_every,
    }
    if schedule.kind == "multistep":
        counts["schedule.milestones"] = list(schedule.milestones)
    elif schedule.kind != "constant":
        counts["schedule.update_every"] = schedule.update_every
    left = [f"{key}={n}" for key, n in counts.items() if n and key not in overridden]
    other = "steps" if unit == "epochs" else "epochs"
    if left and getattr(schedule, unit) is None and getattr(schedule, other) is not None:
        raise ValueError(
            f"schedule.{other} in place of {unit}: what the recipe counts in {unit} would count"
            f" {other}; give it in {other}, too: {', '.join(left)}"
        )


def _check_schedule(recipe: FinetuneRecipe) -> None:
    schedule = recipe.schedule
    if (schedule.epochs is None) == (schedule.steps is None):
        raise ValueError(
            "schedule: expected epochs or steps, one of the two, the other null; got"
            f" epochs={schedule.epochs} and steps={schedule.steps}"
        )
    if schedule.warmup_epochs is not None and (schedule.epochs is None or schedule.warmup_steps):
        raise ValueError(
            "schedule.warmup_epochs goes with schedule.epochs and instead of warmup_steps"
        )
    if schedule.epochs is None:
        _check_steps(recipe)
    else:
        check_milestones(schedule, warmup=schedule.warmup_epochs or 0)


def _check_model(model: FinetuneModel) -> None:
    if model.freeze_backbone and model.lora_rank:
        raise ValueError("model.freeze_backbone and model.lora_rank exclude each other")
    for section in ("head", "backbone_overrides"):
        for key in ("test_window", "test_stride"):
            if key in getattr(model, section):
                raise ValueError(f"model.{section}.{key}: evaluation.{key[5:]} says it")
        for key in ("num_labels", "id2label", "label2id"):
            if key in getattr(model, section):
                raise ValueError(
                    f"model.{section}.{key}: the classes are those of the data set; where it does"
                    " not know them, data.class_names does"
                )


def _check_evaluation(evaluation: FinetuneEvaluation) -> None:
    window, stride = evaluation.window, evaluation.stride
    if (window is None) != (stride is None):
        raise ValueError("evaluation.window and evaluation.stride go together")
    if window is not None and stride is not None and not 1 <= stride <= window:
        raise ValueError(f"evaluation.stride: expected 1 to the window of {window}, got {stride}")
    if unknown := set(evaluation.flips) - {"horizontal", "vertical", "diagonal"}:
        raise ValueError(f"evaluation.flips: {sorted(unknown)[0]!r} is no direction")
    if not evaluation.scales or min(evaluation.scales) <= 0:
        raise ValueError(f"evaluation.scales: expected factors > 0, got {evaluation.scales}")


def _check_mix(recipe: FinetuneRecipe) -> None:
    mix = recipe.mix
    for path in ("mix.mixup_alpha", "mix.cutmix_alpha"):
        check_range(recipe, path, at_least=0)
    if not 0 <= mix.probability <= 1:
        raise ValueError(f"mix.probability: expected 0 to 1, got {mix.probability}")
    if (mix.mixup_alpha or mix.cutmix_alpha) and recipe.task != "scene_classification":
        raise ValueError(
            f"mix goes with task=scene_classification, whose labels can be shares of classes; got"
            f" task={recipe.task}"
        )


def _check_steps(recipe: FinetuneRecipe) -> None:
    """What can be told once the length is known in steps."""
    steps, warmup = recipe.schedule.steps, recipe.schedule.warmup_steps
    assert steps is not None
    if warmup >= steps:
        raise ValueError(
            f"schedule: the warm-up of {warmup} steps must be shorter than the run of {steps} steps"
            " (schedule.warmup_steps, or schedule.warmup_epochs where it is given)"
        )
    check_milestones(recipe.schedule, warmup=warmup)
