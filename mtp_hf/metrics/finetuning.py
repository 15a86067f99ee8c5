"""Scores of one task on one data set, as a finetuning run and an evaluation need them.

Each task has its accumulator and the columns of its table; the metric that a result is known by
comes first in `HEADLINES`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mtp_hf.metrics.classification import ClassificationAccumulator
from mtp_hf.metrics.coco_map import CocoMapAccumulator
from mtp_hf.metrics.rotated_map import RotatedMapAccumulator
from mtp_hf.metrics.segmentation import SegmentationAccumulator
from mtp_hf.metrics.tables import format_columns

# Task -> metrics worth a line, name -> heading; the first is the one a result is known by.
HEADLINES: dict[str, dict[str, str]] = {
    "scene_classification": {"accuracy": "OA", "top5_accuracy": "top-5"},
    "horizontal_detection": {"box_ap50": "AP50", "box_ap": "AP", "box_ap75": "AP75"},
    "rotated_detection": {"ap50": "mAP"},
    "semantic_segmentation": {
        "miou": "mIoU",
        "mean_f1": "mean F1",
        "overall_accuracy": "OA",
    },
    "change_detection": {
        "changed_f1": "F1",
        "changed_iou": "IoU",
        "changed_precision": "precision",
        "changed_recall": "recall",
        "overall_accuracy": "OA",
    },
}
# Key in `per_class`, heading, whether it is a fraction.
_OBJECTS = (("num_gts", "objects", False), ("num_detections", "detections", False))
_PIXELS = (("num_reference", "pixels", False),)
_PIXEL_SCORES = (
    ("iou", "IoU", True),
    ("f1", "F1", True),
    ("precision", "precision", True),
    ("recall", "recall", True),
)
_COLUMNS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "scene_classification": (
        ("num_reference", "images", False),
        ("accuracy", "accuracy", True),
        ("precision", "precision", True),
        ("f1", "F1", True),
    ),
    "horizontal_detection": (*_OBJECTS, ("box_ap50", "AP50", True), ("box_ap", "AP", True)),
    "rotated_detection": (*_OBJECTS, ("ap50", "AP50", True), ("recall", "recall", True)),
    "semantic_segmentation": (*_PIXELS, *_PIXEL_SCORES),
    "change_detection": (*_PIXELS, *_PIXEL_SCORES),
}
_BUILD: dict[str, Callable[..., Any]] = {
    "scene_classification": ClassificationAccumulator,
    "horizontal_detection": lambda num_classes: CocoMapAccumulator(num_classes, ("box",)),
    "rotated_detection": RotatedMapAccumulator,
    "semantic_segmentation": SegmentationAccumulator,
    "change_detection": SegmentationAccumulator,
}
# Maps: key of the prediction and of the reference.
MAPS = {
    "semantic_segmentation": ("semantic_map", "semantic_labels"),
    "change_detection": ("change_map", "change_labels"),
}
_CHANGED = 1


class TaskEvaluator:
    """Gather predictions of a task one batch at a time.

    Args:
        task: Of `HEADLINES`.
        class_names: K names, background included in maps.
        ignore_difficult: Of rotated objects: let difficult ones be ignored, as DOTA does; False
            counts them like all others.
    """

    def __init__(
        self, task: str, class_names: Sequence[str], *, ignore_difficult: bool = True
    ) -> None:
        self.task = task
        self.class_names = list(class_names)
        options = {"ignore_difficult": ignore_difficult} if task == "rotated_detection" else {}
        self.accumulator = _BUILD[task](len(class_names), **options)

    def update(
        self, dataset: str, predictions: Sequence[Any], references: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images; one that was added before is left out.

        Args:
            dataset: Name of the data set, for messages.
            predictions: For each image what `predict` of the model gives, in pixels of the image.
            references: For each image its `image_id` and annotations.

        Raises:
            ValueError: If a prediction or a reference is not what the task has.
        """
        if self.task not in MAPS:
            self.accumulator.update(predictions, references)
            return
        found, wanted = MAPS[self.task]
        self.accumulator.update(
            [prediction[found] for prediction in predictions],
            [reference[wanted] for reference in references],
            [reference["image_id"] for reference in references],
        )

    def state(self) -> Any:
        """Give what was gathered, to be sent to another process (picklable)."""
        return self.accumulator.state()

    def merge(self, states: Iterable[Any]) -> None:
        """Add what other processes gathered; images that are here already count once."""
        self.accumulator.merge(states)

    def compute(self) -> dict[str, Any]:
        """Score everything that was gathered.

        Returns:
            Fractions by name, `per_class` with arrays (K,), `num_images`, and the text `table`.

        Raises:
            ValueError: If nothing was gathered.
        """
        if not self.accumulator.images:
            raise ValueError(f"{self.task}: no image was measured, expected at least one")
        scores = self.accumulator.compute()
        classes = scores["per_class"]
        if self.task == "change_detection":
            scores |= {
                f"changed_{name}": float(classes[name][_CHANGED])
                for name in ("f1", "iou", "precision", "recall")
            }
        columns = [
            (heading, classes[key], is_fraction)
            for key, heading, is_fraction in _COLUMNS[self.task]
        ]
        return {
            **scores,
            "num_images": len(self.accumulator.images),
            "table": format_columns(self.class_names, columns),
        }


def headline(task: str) -> str:
    """Name the metric that results of a task are known by."""
    return next(iter(HEADLINES[task]))
