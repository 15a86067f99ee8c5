"""The metrics as `evaluate.Metric`s: made directly, without the Hub or a cache on disk.

What is unusual: the samples are ragged (maps of any size, lists of objects), which the Arrow cache
of evaluate stores slowly, as nested lists. So `add`, `add_batch` and `compute` hand the samples
straight to an accumulator, which keeps little of them. To join processes use the `state` and
`merge` of `metric.accumulator`; an image that two processes have counts once if its references
have the same `image_id`, and one without `image_id` is like no other. Importing evaluate takes
seconds: no other file imports this one until one of its names is asked for.

Source: evaluate 0.4, `EvaluationModule`.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import datasets
import evaluate
import numpy as np

from mtp_hf.metrics.classification import ClassificationAccumulator
from mtp_hf.metrics.coco_map import CocoMapAccumulator
from mtp_hf.metrics.inputs import check_keys
from mtp_hf.metrics.rotated_map import RotatedMapAccumulator
from mtp_hf.metrics.segmentation import SegmentationAccumulator

LABELS = datasets.List(datasets.Value("int64"))
SCORES = datasets.List(datasets.Value("float32"))
BOXES = datasets.List(datasets.List(datasets.Value("float32")))
MAP = datasets.List(datasets.List(datasets.Value("int64")))
MASKS = datasets.List(datasets.List(datasets.List(datasets.Value("bool"))))
IMAGE_ID = datasets.Value("string")
INPUTS = """
Args:
    predictions: List with one prediction an image.
    references: List with one reference an image; where it is a dict, it may have an `image_id`.
"""


class StreamingMetric(evaluate.Metric):
    """Hand samples to an accumulator as they come.

    Args:
        build: Makes the empty accumulator.
        description: What is measured.
        features: Types of one prediction and one reference.
    """

    def __init__(
        self, build: Callable[[], Any], description: str, features: Mapping[str, Any]
    ) -> None:
        self._build = build
        self._description = description
        self._features = features
        self.accumulator = build()
        self._prefix, self._num_unnamed = uuid.uuid4().hex, 0
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self._description,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(self._features),
        )

    def _build_data_dir(self) -> str:
        return ""  # nothing is written; evaluate would make a folder in the user's cache

    def _update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        self.accumulator.update(predictions, [self._named(each) for each in references])

    def _named(self, reference: Any) -> Any:
        """Give an image without `image_id` a number that no other process gives."""
        if not isinstance(reference, Mapping) or "image_id" in reference:
            return reference
        self._num_unnamed += 1
        return {**reference, "image_id": f"{self._prefix}/{self._num_unnamed:09d}"}

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one image."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add images.

        Raises:
            ValueError: Something else than as many predictions as references.
        """
        if kwargs:
            raise ValueError(f"unknown inputs {sorted(kwargs)}: expected predictions, references")
        given = {"predictions": predictions, "references": references}
        if missing := [name for name, values in given.items() if values is None]:
            raise ValueError(f"expected predictions and references, got no {missing[0]}")
        if len(predictions) != len(references):
            raise ValueError(
                f"{len(predictions)} predictions and {len(references)} references, expected as many"
            )
        self._update(predictions, references)

    def compute(
        self, *, predictions: Any = None, references: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Score the images added so far and those given here, then forget them.

        Raises:
            ValueError: There is no image at all, or as `add_batch`.
        """
        if predictions is not None or references is not None or kwargs:
            self.add_batch(predictions=predictions, references=references, **kwargs)
        if not self.accumulator.images:
            raise ValueError("no image was added, expected at least one")
        scores = self.accumulator.compute()
        self.accumulator = self._build()
        return scores


class SegmentationMetric(StreamingMetric):
    """Score integer maps (H, W) against integer maps (H, W).

    A reference is the map, or a dict with it as `labels` and its `image_id`.

    Args:
        num_classes: K, background included.
        ignore_index: Reference value of the pixels that do not count.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        super().__init__(
            partial(SegmentationAccumulator, num_classes, ignore_index),
            "IoU, F1, Dice, precision, recall and accuracy of semantic segmentation.",
            {"predictions": MAP, "references": MAP},
        )

    def _update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        named = [self._named(_as_dict(each, "labels")) for each in references]
        for reference in named:
            check_keys(reference, ("labels",), "reference")
        maps = [reference["labels"] for reference in named]
        self.accumulator.update(predictions, maps, [reference["image_id"] for reference in named])


class ChangeMetric(SegmentationMetric):
    """Score maps (H, W) of change: 0 unchanged, 1 changed.

    Beside those of both classes the scores have `f1`, `iou`, `precision` and `recall` of what
    changed.

    Args:
        ignore_index: Reference value of the pixels that do not count.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__(2, ignore_index)

    def compute(
        self, *, predictions: Any = None, references: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Score the images added so far and those given here, then forget them."""
        scores = super().compute(predictions=predictions, references=references, **kwargs)
        of_changed = ("f1", "iou", "precision", "recall")
        return scores | {name: float(scores["per_class"][name][1]) for name in of_changed}


class ClassificationMetric(StreamingMetric):
    """Score the scenes of images, see `ClassificationAccumulator`.

    Predictions may be bare scores (K,) or classes, references bare classes.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            partial(ClassificationAccumulator, num_classes),
            "Accuracy of scene classification: of all images, in the first five, and by class.",
            {
                "predictions": {"scores": SCORES},
                "references": {"image_id": IMAGE_ID, "label": datasets.Value("int64")},
            },
        )

    def _update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        found = [_as_dict(each, "scores" if np.ndim(each) else "label") for each in predictions]
        super()._update(found, [_as_dict(each, "label") for each in references])


class CocoMapMetric(StreamingMetric):
    """Score boxes and masks by the protocol of COCO, see `CocoMapAccumulator`.

    Args:
        num_classes: K, without background.
        iou_types: What is compared, of `box` and `mask`.
        max_detections: Number of best detections of a class that count in an image.
    """

    def __init__(
        self,
        num_classes: int,
        iou_types: Sequence[str] = ("box", "mask"),
        max_detections: int = 100,
    ) -> None:
        prediction = {"scores": SCORES, "labels": LABELS, "boxes": BOXES, "masks": MASKS}
        reference = {"image_id": IMAGE_ID, "boxes": BOXES, "class_labels": LABELS}
        super().__init__(
            partial(CocoMapAccumulator, num_classes, iou_types, max_detections),
            "Average precision of boxes and masks by the protocol of COCO.",
            {"predictions": prediction, "references": {**reference, "instance_masks": MASKS}},
        )


class RotatedMapMetric(StreamingMetric):
    """Score rotated boxes by the protocol of DOTA, see `RotatedMapAccumulator`.

    Args:
        num_classes: K, without background.
        iou_threshold: Least IoU of a hit.
        interpolation: `11_points` or `area`.
        ignore_difficult: Let difficult boxes be ignored; False counts them like all others.
    """

    def __init__(
        self,
        num_classes: int,
        iou_threshold: float = 0.5,
        interpolation: str = "11_points",
        *,
        ignore_difficult: bool = True,
    ) -> None:
        reference = {"image_id": IMAGE_ID, "rotated_boxes": BOXES, "rotated_class_labels": LABELS}
        super().__init__(
            partial(
                RotatedMapAccumulator,
                num_classes,
                iou_threshold,
                interpolation,
                ignore_difficult=ignore_difficult,
            ),
            "Mean average precision of rotated boxes by the protocol of DOTA.",
            {
                "predictions": {"scores": SCORES, "labels": LABELS, "rotated_boxes": BOXES},
                "references": reference,
            },
        )


def _as_dict(value: Any, key: str) -> Mapping[str, Any]:
    """Put a bare value under its key."""
    return value if isinstance(value, Mapping) else {key: value}
