"""From a recipe of pretraining to its sets, and from the sets of any run to its loaders.

The loaders shard by rank themselves (`mtp_hf.data.multi_dataset`) and are not prepared by
Accelerate.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

from torch.utils.data import DataLoader

from mtp_hf.data.multi_dataset import (
    MultiDatasetBatchSampler,
    SourceDataset,
    build_eval_loader,
    build_train_loader,
)
from mtp_hf.data.samples import samrs_row_to_sample
from mtp_hf.data.transforms import pretraining_eval_transforms, pretraining_train_transforms
from mtp_hf.dataset_scripts.demo import demo_root
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.samrs import SAMRS_CLASSES
from mtp_hf.training.pretrain_schema import DEMO_ROOT, Recipe
from mtp_hf.training.recipe_sections import CommonRecipe, micro_batch_sizes


def class_names(recipe: Recipe) -> dict[str, list[str]]:
    """Foreground classes of each source, in label order."""
    return {name: SAMRS_CLASSES[source.config] for name, source in recipe.data.sources.items()}


def data_root(recipe: Recipe) -> Path:
    """Return the folder of the data sets, writing the generated scenes if those are meant.

    Raises:
        ValueError: the recipe leaves the folder to the user, who named none, or it is not there.
    """
    if recipe.data.root is None:
        raise ValueError(
            f"recipe {recipe.name} reads data sets that you have: say where with data.root=FOLDER"
        )
    if recipe.data.root == DEMO_ROOT:
        return demo_root(image_size=recipe.data.image_size)
    root = Path(recipe.data.root).expanduser()
    if not root.is_dir():
        raise ValueError(f"data.root={recipe.data.root} is not a folder")
    return root


def load_sources(
    recipe: Recipe, split: str, *, limit: int | None = None, augment: bool = False
) -> dict[str, SourceDataset]:
    """Open a split of every source.

    Args:
        recipe: says which sets, tasks and sizes.
        split: `train` or `validation`.
        limit: images of each source at most, besides `data.limit_samples`.
        augment: training transforms instead of those of validation.
    """
    root = data_root(recipe)
    names = class_names(recipe)
    if augment:
        transforms = pretraining_train_transforms(
            recipe.data.image_size,
            resize_range=recipe.augment.scale_range,
            flip_probability=recipe.augment.flip_probability,
            photometric=recipe.augment.photometric_distortion,
        )
    else:
        transforms = pretraining_eval_transforms(recipe.data.image_size)
    sources = {}
    for name, source in recipe.data.sources.items():
        rows = load_dataset(
            "samrs", source.config, data_dir=root, split=split, tasks=list(source.tasks), quiet=True
        )
        limits = [n for n in (limit, recipe.data.limit_samples) if n is not None]
        if not len(rows):
            raise ValueError(f"data.sources.{name}: the {split} split of {root} has no image")
        if limits:
            rows = rows.select(range(min(len(rows), *limits)))
        row_to_sample = functools.partial(
            samrs_row_to_sample, dataset=name, tasks=source.tasks, num_classes=len(names[name])
        )
        sources[name] = SourceDataset(name, rows, row_to_sample, transforms)
    return sources


def train_loader(
    recipe: CommonRecipe,
    sources: Mapping[str, SourceDataset],
    *,
    canvas: int | None,
    start_step: int,
    rank: int,
    world_size: int,
) -> DataLoader:
    """Load training batches from an optimizer step on; one item is one forward pass.

    Args:
        recipe: of any run, counted in steps.
        sources: to train on.
        canvas: side that images are padded to; None: the next multiples of 32.
        start_step: steps done.
        rank: of this process.
        world_size: number of processes.
    """
    accumulation = recipe.schedule.gradient_accumulation
    sampler = MultiDatasetBatchSampler(
        {name: len(source) for name, source in sources.items()},
        micro_batch_sizes(recipe, world_size),
        recipe.schedule.steps * accumulation,
        seed=recipe.seed,
        rank=rank,
        world_size=world_size,
        start_step=start_step * accumulation,
    )
    return build_train_loader(
        sources,
        sampler,
        image_size=canvas,
        num_workers=recipe.efficiency.num_workers,
    )


def evaluation_loader(
    recipe: CommonRecipe,
    sources: Mapping[str, SourceDataset],
    *,
    canvas: int | None,
    rank: int,
    world_size: int,
) -> DataLoader:
    """Load this process's share of the images to measure on, each once; see `train_loader`."""
    return build_eval_loader(
        sources,
        batch_size=recipe.evaluation.batch_size,
        image_size=canvas,
        num_workers=recipe.efficiency.num_workers,
        rank=rank,
        world_size=world_size,
    )
