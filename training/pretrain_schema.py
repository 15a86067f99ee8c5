"""The schema of a pretraining recipe: all values that decide what a run does, as dataclasses.

Keys are grouped by consequence: `efficiency` may not change what is learned beyond rounding. The
fields of the architecture live in the configs of `modeling/`; here is only what differs from a
named size.

Defaults are the published choices of MTP. Source: section IV of the paper (arXiv 2403.13430) and
`Multi-Task_Pretrain/main_pretrain.py` of the original code, with its effective values where the
code ignores what its options say (it has no layer decay on a ViT, and no mixed precision).
"""

import dataclasses
from typing import Any, Literal

from torch import nn

from mtp_hf.dataset_scripts.samrs import SAMRS_TASKS
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES
from mtp_hf.training.recipe_sections import (
    CommonRecipe,
    check_milestones,
    check_range,
    check_sections,
)
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
class Augment:
    """Random changes to training images. Source: the original's training pipeline (datasets.py)."""

    flip_probability: float = 0.75  # a third each horizontal, vertical, diagonal
    scale_range: tuple[float, float] = (0.5, 2.0)  # of image_size, uniform, before the crop
    photometric_distortion: bool = True  # brightness, contrast, saturation, hue


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(CommonRecipe):
    """A whole pretraining run."""

    data: Data
    model: Model = Model()
    augment: Augment = Augment()

    def batch_sizes(self) -> dict[str, int]:
        """Images of each source in one optimizer step."""
        return {name: source.batch_size for name, source in self.data.sources.items()}

    def batch_size_key(self, name: str) -> str:
        """Where the recipe sets the batch size of a source."""
        return f"data.sources.{name}.batch_size"


def check_recipe(recipe: Recipe) -> None:
    """Check what types cannot say: ranges, and values that depend on each other."""
    if not recipe.data.sources:
        raise ValueError("data.sources: at least one data set is needed")
    for name, source in recipe.data.sources.items():
        _check_source(name, source)
    if recipe.model.backbone not in VIT_RVSA_SIZES:
        name = recipe.model.backbone
        raise ValueError(unknown_name(f"model.backbone={name}", "size", name, VIT_RVSA_SIZES))
    check_range(recipe, "data.image_size", at_least=1)
    check_range(recipe, "data.limit_samples", at_least=1, or_null=True)
    check_range(recipe, "schedule.steps", at_least=1)
    check_sections(recipe)
    if recipe.schedule.warmup_steps >= recipe.schedule.steps:
        raise ValueError(
            f"schedule.warmup_steps ({recipe.schedule.warmup_steps}) must be less than"
            f" schedule.steps ({recipe.schedule.steps})"
        )
    check_milestones(recipe.schedule, warmup=recipe.schedule.warmup_steps)
    if not 0 <= recipe.augment.flip_probability <= 1:
        raise ValueError(
            f"augment.flip_probability: expected 0 to 1, got {recipe.augment.flip_probability}"
        )
    low, high = recipe.augment.scale_range
    if not 0 < low <= high:
        raise ValueError(f"augment.scale_range: expected 0 < low <= high, got [{low}, {high}]")


# Data sets become keys of module dicts and of metrics.
_TAKEN_NAMES = {*dir(nn.ModuleDict()), "pooled", "tables"}


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
