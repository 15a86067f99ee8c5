"""What one task adds to a picture, taken from labels or from predictions alike.

What is unusual: labels and predictions name the same things differently (`semantic_labels` and
`semantic_map`, `instance_masks` and `masks`, `class_labels` and `labels`); here they meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtp_hf.metrics.arrays import as_array


@dataclass
class Layer:
    """What one task adds to a picture; absent parts are None.

    Attributes:
        semantic_map: Integers (H, W).
        boxes: x1 y1 x2 y2 (N, 4).
        masks: bool (N, H, W).
        rotated_boxes: cx cy w h angle (N, 5).
        labels: Classes (N,).
        scores: Scores (N,), None for annotations.
    """

    semantic_map: np.ndarray | None = None
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None
    rotated_boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    scores: np.ndarray | None = None

    def classes(self) -> set[int]:
        """List the classes 0..K-1 that occur, without background and ignored pixels."""
        if self.semantic_map is not None:
            return {int(value) - 1 for value in np.unique(self.semantic_map)} - {-1, 254}
        return set() if self.labels is None else {int(label) for label in self.labels}


def read_layer(task: str, annotations: Mapping[str, Any], score_threshold: float = 0.0) -> Layer:
    """Take what belongs to a task from labels or from a prediction.

    Args:
        task: `ss`, `is` or `rd`.
        annotations: Labels of a sample, a prediction of the task, or `{task: prediction}`.
        score_threshold: Detections below it are left out; the best are last.

    Returns:
        The layer, empty where the task is absent.
    """
    source = annotations.get(task, annotations)

    def find(*names: str) -> np.ndarray | None:
        return next((as_array(source[name]) for name in names if name in source), None)

    if task == "ss":
        return Layer(semantic_map=find("semantic_map", "semantic_labels"))
    if task == "is":
        layer = Layer(
            boxes=find("boxes"),
            masks=find("masks", "instance_masks"),
            labels=find("class_labels", "labels"),
        )
    else:
        layer = Layer(
            rotated_boxes=find("rotated_boxes"), labels=find("rotated_class_labels", "labels")
        )
    if layer.boxes is None and layer.rotated_boxes is None:
        return Layer()
    scores = find("scores")
    if scores is not None:
        order = np.argsort(scores, kind="stable")
        order = order[scores[order] >= score_threshold]
        layer.scores = scores
        for name in ("boxes", "masks", "rotated_boxes", "labels", "scores"):
            values = getattr(layer, name)
            setattr(layer, name, None if values is None else values[order])
    return layer
