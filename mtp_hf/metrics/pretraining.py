"""Validation of multi-task pretraining: every task of every data set, and all of them pooled.

What is unusual: "pooled" is the mean over all pairs (data set, class) that have ground truth, so a
data set weighs as much as it has classes, and every value is a fraction in [0, 1].

Differs: the original averages percentages of one task with fractions of the others, and scores
only the first 1/world size of the gathered images (quirk 13). Here each process adds its images,
and the states are merged; images that a sampler repeated count once.

Source: specification of the original, 2.14.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtp_hf.metrics.arrays import nan_mean
from mtp_hf.metrics.coco_map import CocoMapAccumulator
from mtp_hf.metrics.rotated_map import RotatedMapAccumulator
from mtp_hf.metrics.segmentation import SegmentationAccumulator
from mtp_hf.metrics.tables import format_table

# For each task: the count that says whether a class has ground truth, and pooled name -> array.
POOLED = {
    "ss": (
        "num_reference",
        {"miou": "iou", "mean_accuracy": "accuracy", "mean_f1": "f1", "mean_dice": "dice"},
    ),
    "is": (
        "num_gts",
        {name: name for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")},
    ),
    "rd": ("num_gts", {"ap50": "ap50", "mean_recall": "recall"}),
}
# Keys of a prediction and of the labels without which a task cannot be scored.
REQUIRED = {
    "ss": (("semantic_map",), ("semantic_labels",)),
    "is": (
        ("scores", "labels", "boxes", "masks"),
        ("boxes", "class_labels", "instance_masks"),
    ),
    "rd": (("scores", "labels", "rotated_boxes"), ("rotated_boxes", "rotated_class_labels")),
}

Accumulator = SegmentationAccumulator | CocoMapAccumulator | RotatedMapAccumulator


class PretrainingEvaluator:
    """Gather predictions of all data sets one batch at a time.

    Args:
        class_names: For each data set its K class names, without background.
        tasks: For each data set its tasks, of `ss`, `is` and `rd`.
    """

    def __init__(
        self, class_names: Mapping[str, Sequence[str]], tasks: Mapping[str, Sequence[str]]
    ) -> None:
        for dataset, names in tasks.items():
            if dataset not in class_names or dataset in ("pooled", "tables"):
                raise ValueError(
                    f"data set {dataset!r} has tasks but no class names, or a reserved name; "
                    f"class names are given for {sorted(class_names)}"
                )
            if unknown := set(names) - set(POOLED):
                raise ValueError(f"{dataset}: unknown tasks {sorted(unknown)}, expected ss, is, rd")
        self.class_names = {dataset: list(class_names[dataset]) for dataset in tasks}
        self.accumulators: dict[str, dict[str, Accumulator]] = {
            dataset: {task: _build(task, len(class_names[dataset])) for task in names}
            for dataset, names in tasks.items()
        }

    def update(
        self,
        dataset: str,
        predictions: Sequence[Mapping[str, Mapping[str, Any]]],
        references: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add images of a data set; one that was added before is left out.

        Args:
            dataset: Name of the data set.
            predictions: For each image `{task: prediction}` as `predict` returns it, in pixels
                of the image without padding.
            references: For each image its labels with `image_id` and `size`; maps and masks may
                be padded, they are cropped to `size`.

        Raises:
            ValueError: If a task lacks its prediction or its labels, or sizes differ.
        """
        references = [crop_labels(labels) for labels in references]
        for task, accumulator in self.accumulators[dataset].items():
            for prediction, labels in zip(predictions, references, strict=True):
                _check_keys(task, prediction, labels, dataset=dataset)
            outputs = [prediction[task] for prediction in predictions]
            if isinstance(accumulator, SegmentationAccumulator):
                accumulator.update(
                    [output["semantic_map"] for output in outputs],
                    [labels["semantic_labels"] for labels in references],
                    [labels["image_id"] for labels in references],
                )
            else:
                accumulator.update(outputs, references)

    def state(self) -> dict[str, dict[str, Any]]:
        """Give what was gathered, to be sent to another process (picklable).

        Returns:
            For each data set and task the state of its metric.
        """
        return {
            dataset: {task: accumulator.state() for task, accumulator in tasks.items()}
            for dataset, tasks in self.accumulators.items()
        }

    def merge(self, states: Iterable[Mapping[str, Mapping[str, Any]]]) -> None:
        """Add what other processes gathered; images that are here already count once.

        Args:
            states: Results of `state`.
        """
        for state in states:
            for dataset, tasks in self.accumulators.items():
                for task, accumulator in tasks.items():
                    accumulator.merge([state[dataset][task]])

    def compute(self) -> dict[str, Any]:
        """Score everything that was gathered.

        Returns:
            `{dataset: {task: metrics}}`, `pooled` with `{task: metrics}` over all data sets, and
            `tables` with the per-class text of each data set.
        """
        metrics = {
            dataset: {task: accumulator.compute() for task, accumulator in tasks.items()}
            for dataset, tasks in self.accumulators.items()
        }
        tables = {
            dataset: format_table(self.class_names[dataset], tasks)
            for dataset, tasks in metrics.items()
        }
        return {**metrics, "pooled": pool_metrics(metrics), "tables": tables}


def crop_labels(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Cut the padding off the maps and masks of an image.

    Args:
        labels: Labels with `size` (height, width) of the content.

    Returns:
        The same labels, `semantic_labels` (h, w) and `instance_masks` (N, h, w) cropped.
    """
    height, width = (int(side) for side in labels["size"])
    cropped = {
        key: labels[key][..., :height, :width]
        for key in ("semantic_labels", "instance_masks")
        if key in labels
    }
    return {**labels, **cropped}


def pool_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Average the per-class metrics over all pairs (data set, class) that have ground truth.

    Args:
        metrics: `{dataset: {task: metrics}}`.

    Returns:
        `{task: {name: mean}}` for the tasks that any data set has.
    """
    pooled: dict[str, dict[str, float]] = {}
    for task, (count, names) in POOLED.items():
        classes = [tasks[task]["per_class"] for tasks in metrics.values() if task in tasks]
        if not classes:
            continue
        exists = np.concatenate([values[count] for values in classes]) > 0
        pooled[task] = {
            name: nan_mean(np.concatenate([values[key] for values in classes])[exists])
            for name, key in names.items()
        }
    return pooled


def _build(task: str, num_classes: int) -> Accumulator:
    """Build the metric of a task for K classes without background."""
    if task == "ss":
        return SegmentationAccumulator(num_classes + 1)
    return CocoMapAccumulator(num_classes) if task == "is" else RotatedMapAccumulator(num_classes)


def _check_keys(
    task: str, prediction: Mapping[str, Any], labels: Mapping[str, Any], *, dataset: str
) -> None:
    """Refuse an image that lacks the prediction or the labels of a task."""
    output_keys, label_keys = REQUIRED[task]
    missing = [f"labels {key!r}" for key in label_keys if key not in labels]
    missing += [f"prediction {key!r}" for key in output_keys if key not in prediction.get(task, {})]
    if missing:
        raise ValueError(
            f"{dataset}, image {labels['image_id']!r}, task {task}: no {', '.join(missing)}"
        )
