"""From a finetuning recipe to data: rows, classes and samples of both parts.

A sample to be measured on carries its annotations apart, as `reference` in pixels of the image as
stored: the transforms of evaluation see the pictures alone.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.logging import get_logger
from datasets import ClassLabel, Dataset

from mtp_hf.data.image_names import with_own_names
from mtp_hf.data.multi_dataset import SourceDataset
from mtp_hf.data.row_filters import trainable_rows
from mtp_hf.data.schema import RawSample, Sample
from mtp_hf.data.transforms import Compose, DropDegenerate, finalize
from mtp_hf.dataset_scripts.class_names import CHANGE_CLASSES, DATASET_CLASSES
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.tasks import evaluation_arguments, find_task, make_transforms

logger = get_logger(__name__)


class WithReference:
    """Transform the pictures of a sample, and keep its annotations as they are.

    Args:
        transforms: of evaluation.
        annotations: keys that are kept.
        drop_degenerate: drop polygons with two equal consecutive corners, as the loaders of some
            data sets do: they are not to be found.
    """

    def __init__(
        self, transforms: Compose, annotations: tuple[str, ...], *, drop_degenerate: bool = False
    ) -> None:
        self.transforms = transforms
        self.annotations = annotations
        self.drop_degenerate = drop_degenerate

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> Sample:
        """Take them off, transform, and give them back under `reference`."""
        if self.drop_degenerate:
            sample = DropDegenerate()(sample, rng)
        pictures: Any = {key: value for key, value in sample.items() if key not in self.annotations}
        kept: Any = {key: value for key, value in sample.items() if key in self.annotations}
        reference: Any = {"image_id": sample["image_id"], **finalize(kept, rng)}
        done: Any = {**self.transforms(pictures, rng), "reference": reference}
        return done


def check_data_root(recipe: FinetuneRecipe) -> Path:
    """Return the folder of the data set.

    Raises:
        ValueError: the recipe leaves it to the user, who named none, or it is not there.
    """
    data = recipe.data
    if data.root is None:
        raise ValueError(
            f"recipe {recipe.name} reads the data set {data.builder!r}, which you have: say where"
            " with data.root=FOLDER"
        )
    root = Path(data.root).expanduser()
    if not root.is_dir():
        raise ValueError(f"data.root={data.root} is not a folder")
    return root


def open_rows(recipe: FinetuneRecipe, part: str) -> Dataset:
    """Open the rows of a part.

    Args:
        recipe: says which set and split.
        part: `train` or `validation`.

    Raises:
        ValueError: the recipe names no folder, or what is there is not the data set.
    """
    data = recipe.data
    root = check_data_root(recipe)
    config, split = data.config, data.train
    if part == "validation":
        config, split = data.evaluate_config or data.config, data.evaluate or data.train
    try:
        rows = load_dataset(
            data.builder, config, data_dir=root, split=split, quiet=True, **data.options
        )
    except FileNotFoundError as error:
        raise ValueError(f"data.root={data.root} holds no {data.builder}: {error}") from None
    except ValueError as error:
        key = "train" if part == "train" else "evaluate"
        raise ValueError(f"data.{key}={split} of {data.builder}: {error}") from None
    if not len(rows):
        raise ValueError(f"data.root={data.root}: split {split!r} has no image")
    if recipe.task == "rotated_detection" and "rotated_objects" in rows.features:
        # SAMRS keeps them apart from the objects with masks.
        rows = rows.remove_columns("objects").rename_column("rotated_objects", "objects")
    return rows


def find_class_names(recipe: FinetuneRecipe, rows: Dataset) -> list[str]:
    """Return the names of the classes, in label order.

    Raises:
        ValueError: the data set does not name the classes of its maps and the recipe neither, or
            the recipe names another number of them.
    """
    known, given = _known_classes(recipe, rows), recipe.data.class_names
    if given and known and len(given) != len(known):
        raise ValueError(
            f"data.class_names={list(given)}: {len(given)} names, but {recipe.data.builder} has"
            f" {len(known)} classes: {', '.join(known)}"
        )
    names = given or known
    if not names:
        raise ValueError(
            f"recipe {recipe.name}: the classes of {recipe.data.builder} have no names; name them"
            " with data.class_names=[background,...]"
        )
    return list(names)


def check_scene_classes(recipe: FinetuneRecipe, rows: Dataset) -> None:
    """Check that there are scenes of several classes to tell apart.

    Args:
        recipe: says where the data set is.
        rows: to train on, all of them.

    Raises:
        ValueError: all images are of one class.
    """
    feature = rows.features.get("label")
    if not isinstance(feature, ClassLabel):
        return
    present = [feature.names[label] for label in rows.unique("label")]
    if len(present) == 1:
        raise ValueError(
            f"data.root={recipe.data.root}: all {len(rows)} images of split {recipe.data.train!r}"
            f" are of one class ({present[0]}); is it a slice of a sorted split?"
        )


def check_labelled(recipe: FinetuneRecipe, rows: Dataset, split: str) -> None:
    """Check that the rows of a split have the labels of the task.

    Pictures are not decoded.

    Args:
        recipe: says which task.
        rows: of the split, all of them.
        split: its name, for the message.

    Raises:
        ValueError: there is no column of labels, an image without any, or no object at all.
    """
    name, where = find_task(recipe).label_column, f"data.root={recipe.data.root}: split {split!r}"
    if name not in rows.features:
        raise ValueError(
            f"{where} of {recipe.data.builder} is not made for task={recipe.task}: expected a"
            f" column {name!r}, found {rows.column_names}"
        )
    column = rows.select_columns([name]).with_format("arrow")[:][name].combine_chunks()
    if column.null_count:
        raise ValueError(
            f"{where}: {column.null_count} of {len(rows)} images have no labels ({name} is null);"
            " expected labels of all images, to train on and to measure with"
        )
    if name == "objects" and not column.field("category").value_lengths().to_numpy().sum():
        raise ValueError(f"{where}: none of {len(rows)} images has an object; expected some")


def rows_to_train_on(recipe: FinetuneRecipe, rows: Dataset) -> Dataset:
    """Leave out the images without objects, where the task looks for objects.

    Raises:
        ValueError: no image is left.
    """
    min_side = find_task(recipe).min_side
    if min_side is None:
        return rows
    try:
        kept = trainable_rows(rows, min_side)
    except ValueError as error:
        split = recipe.data.train
        raise ValueError(f"data.root={recipe.data.root}: split {split!r}: {error}") from None
    if len(kept) == len(rows):
        return rows
    logger.info(f"{len(rows) - len(kept)} of {len(rows)} images have no object to train on")
    return rows.select(kept)


def make_source(
    recipe: FinetuneRecipe, rows: Dataset, class_names: list[str], *, augment: bool
) -> SourceDataset:
    """Join rows with what turns them into samples.

    Args:
        recipe: says how.
        rows: of the part.
        class_names: K names.
        augment: training transforms instead of those of evaluation.
    """
    task = find_task(recipe)
    options = {"num_classes": len(class_names)} if task.counts_classes else {}
    reader = functools.partial(task.row_to_sample, dataset=recipe.data.builder, **options)
    transforms: Any = make_transforms(recipe, augment=augment)
    if not augment:
        rows = with_own_names(rows)
        drop = evaluation_arguments(recipe).get("drop_degenerate", False)
        transforms = WithReference(transforms, task.annotations, drop_degenerate=drop)
    return SourceDataset(recipe.data.builder, rows, reader, transforms)


def limit_rows(rows: Dataset, *limits: int | None) -> Dataset:
    """Keep as many rows as the smallest limit says, evenly spread: rows are sorted by class."""
    numbers = [number for number in limits if number is not None]
    count = min(len(rows), *numbers) if numbers else len(rows)
    if count == len(rows):
        return rows
    return rows.select([position * len(rows) // count for position in range(count)])


def canvas_of(recipe: FinetuneRecipe, part: str) -> int | None:
    """Side that images of `train` or `validation` are padded to; None: the next multiples of 32."""
    return recipe.data.image_size if part in find_task(recipe).pads else None


def _known_classes(recipe: FinetuneRecipe, rows: Dataset) -> Sequence[str]:
    """Names that the data set has itself; none where its maps have unknown classes."""
    for feature in (rows.features.get("label"), _category(rows)):
        if isinstance(feature, ClassLabel):
            return feature.names
    if "image_post" in rows.features:
        return CHANGE_CLASSES
    return DATASET_CLASSES.get(recipe.data.builder, ())


def _category(rows: Dataset) -> Any:
    objects = rows.features.get("objects")
    return objects["category"].feature if objects is not None else None
