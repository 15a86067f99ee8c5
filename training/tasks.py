"""The tasks of finetuning, the only switchboard: one row says what is special about each.

A row turns rows of a data set into samples, names the transforms, calls the network, and says
which architectures fit. Metrics are in `mtp_hf.metrics.finetuning` under the same names.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from mtp_hf.data import samples
from mtp_hf.data.transforms import Compose
from mtp_hf.data.transforms_change import change_eval_transforms, change_train_transforms
from mtp_hf.data.transforms_classification import (
    classification_eval_transforms,
    classification_train_transforms,
)
from mtp_hf.data.transforms_detection import (
    detection_eval_transforms,
    detection_train_transforms,
    rotated_eval_transforms,
    rotated_train_transforms,
)
from mtp_hf.data.transforms_segmentation import (
    segmentation_eval_transforms,
    segmentation_train_transforms,
)
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import Inputs
from mtp_hf.training.strict_dataclass import convert, unknown_name

Predictions = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is special about a task.

    Args:
        architectures: that do it, the published one first.
        row_to_sample: row, name of the data set and, where it `counts_classes`, `num_classes`.
        train_transforms: takes the values of `augment`.
        eval_transforms: takes the values of `evaluation.transforms`.
        predict: network, inputs, recipe -> for each image what it found, in pixels of the image.
        annotations: keys of a sample that are compared with predictions.
        label_column: of the rows, which holds them.
        counts_classes: whether `row_to_sample` checks labels.
        train_size: argument of `train_transforms` that is `data.image_size`.
        eval_size: argument of `eval_transforms` that is, or None.
        min_side: of images with objects that are trained on; None takes every image.
        pads: parts, `train` and `validation`, whose images are padded to `data.image_size`; the
            others are padded to the next multiples of 32.
        num_drawn: images in the picture of predictions.
        has_windows: whether `predict` reads large images by `evaluation.window`.
    """

    architectures: tuple[str, ...]
    row_to_sample: Callable[..., Any]
    train_transforms: Callable[..., Compose]
    eval_transforms: Callable[..., Compose]
    predict: Callable[[Any, Inputs, FinetuneRecipe], Predictions]
    annotations: tuple[str, ...]
    label_column: str
    counts_classes: bool = True
    train_size: str = "image_size"
    eval_size: str | None = "image_size"
    min_side: int | None = None
    pads: tuple[str, ...] = ()
    num_drawn: int = 3
    has_windows: bool = False


def predict_scenes(network: Any, inputs: Inputs, recipe: FinetuneRecipe) -> Predictions:
    """Probability of every class."""
    logits = network(inputs["pixel_values"]).logits
    return [{"scores": scores} for scores in logits.float().softmax(dim=1)]


def predict_objects(network: Any, inputs: Inputs, recipe: FinetuneRecipe) -> Predictions:
    """Boxes, horizontal or rotated, in pixels of the images as stored."""
    return network.predict(inputs["pixel_values"], *sizes_of(inputs))


def predict_segments(network: Any, inputs: Inputs, recipe: FinetuneRecipe) -> Predictions:
    """Class of every pixel, whole or by windows."""
    return network.predict(inputs["pixel_values"], *sizes_of(inputs), **windows_of(recipe))


def predict_changes(network: Any, inputs: Inputs, recipe: FinetuneRecipe) -> Predictions:
    """Whether each pixel changed."""
    images = (inputs["pixel_values"], inputs["pixel_values_post"])
    return network.predict(*images, *sizes_of(inputs), **windows_of(recipe))


TASKS: dict[str, Task] = {
    "scene_classification": Task(
        architectures=("linear",),
        row_to_sample=samples.classification_row_to_sample,
        train_transforms=classification_train_transforms,
        eval_transforms=classification_eval_transforms,
        predict=predict_scenes,
        annotations=("label",),
        label_column="label",
        pads=("train", "validation"),  # they have this size
        num_drawn=12,
    ),
    "horizontal_detection": Task(
        architectures=("faster_rcnn", "retinanet"),
        row_to_sample=samples.detection_row_to_sample,
        train_transforms=detection_train_transforms,
        eval_transforms=detection_eval_transforms,
        predict=predict_objects,
        annotations=("boxes", "class_labels", "iscrowd", "area"),
        label_column="objects",
        min_side=32,
    ),
    "rotated_detection": Task(
        architectures=("oriented_rcnn",),
        row_to_sample=samples.oriented_row_to_sample,
        train_transforms=rotated_train_transforms,
        eval_transforms=rotated_eval_transforms,
        predict=predict_objects,
        annotations=("polygons", "rotated_class_labels", "rotated_difficult"),
        label_column="objects",
        min_side=0,
    ),
    "semantic_segmentation": Task(
        architectures=("upernet",),
        row_to_sample=samples.segmentation_row_to_sample,
        train_transforms=segmentation_train_transforms,
        eval_transforms=segmentation_eval_transforms,
        predict=predict_segments,
        annotations=("semantic_labels",),
        label_column="mask",
        has_windows=True,
        train_size="crop_size",
        eval_size=None,
        pads=("train",),
    ),
    "change_detection": Task(
        architectures=("siamese_unet",),
        row_to_sample=samples.change_row_to_sample,
        train_transforms=change_train_transforms,
        eval_transforms=change_eval_transforms,
        predict=predict_changes,
        annotations=("change_labels",),
        label_column="mask",
        has_windows=True,
        counts_classes=False,
        train_size="crop_size",
        eval_size=None,
    ),
}


def find_task(recipe: FinetuneRecipe) -> Task:
    """Look up the task of a recipe, and check what depends on it.

    Raises:
        ValueError: no such task, an architecture of another one, an argument that its transforms
            do not have or of another type, or windows where it has none.
    """
    if recipe.task not in TASKS:
        raise ValueError(unknown_name(f"task={recipe.task}", "task", recipe.task, TASKS))
    task, name = TASKS[recipe.task], recipe.model.architecture
    if name not in task.architectures:
        raise ValueError(
            f"model.architecture={name} does not do task={recipe.task}; expected one of"
            f" {', '.join(task.architectures)}"
        )
    _read_arguments(task.train_transforms, recipe.augment, "augment")
    _read_arguments(task.eval_transforms, recipe.evaluation.transforms, "evaluation.transforms")
    if recipe.evaluation.window is not None and not task.has_windows:
        raise ValueError(
            f"evaluation.window={recipe.evaluation.window}: task={recipe.task} is measured on whole"
            " images; expected null"
        )
    return task


def make_transforms(recipe: FinetuneRecipe, *, augment: bool) -> Compose:
    """Make the training transforms of a recipe, or those of evaluation."""
    task = find_task(recipe)
    if augment:
        make, section = task.train_transforms, "augment"
        given = _read_arguments(make, recipe.augment, section)
        arguments = {task.train_size: recipe.data.image_size, **given}
    else:
        make, section = task.eval_transforms, "evaluation.transforms"
        arguments = evaluation_arguments(recipe)
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"recipe {recipe.name}: {section}: {error}") from None


def evaluation_arguments(recipe: FinetuneRecipe) -> dict[str, Any]:
    """Return all arguments of the transforms of evaluation, defaults included."""
    task = find_task(recipe)
    size = {task.eval_size: recipe.data.image_size} if task.eval_size else {}
    known = inspect.signature(task.eval_transforms).parameters
    defaults = {name: parameter.default for name, parameter in known.items()}
    given = recipe.evaluation.transforms
    return defaults | size | _read_arguments(task.eval_transforms, given, "evaluation.transforms")


def _read_arguments(
    function: Callable[..., Any], given: Mapping[str, Any], section: str
) -> dict[str, Any]:
    """Return arguments as the types that a function declares."""
    kinds = typing.get_type_hints(function)
    known = inspect.signature(function).parameters
    for name in given:
        if name not in known:
            raise ValueError(unknown_name(f"{section}.{name}", "key", name, known))
    try:
        return {
            name: convert(each, kinds[name], f"{section}.{name}") for name, each in given.items()
        }
    except TypeError as error:
        raise ValueError(str(error)) from None


def sizes_of(inputs: Inputs) -> tuple[list[Any], list[Any]]:
    """Content of each image in the padded input, and its size as stored."""
    labels = inputs["labels"]
    return [label["size"] for label in labels], [label["orig_size"] for label in labels]


def windows_of(recipe: FinetuneRecipe) -> dict[str, Any]:
    """Sliding windows as arguments of `predict`; none where images are predicted whole."""
    window, stride = recipe.evaluation.window, recipe.evaluation.stride
    if window is None or stride is None:
        return {}
    return {"window": (window, window), "stride": (stride, stride)}
