"""Accuracy of scene classification, overall and of each class.

Source: metric of the original's scene classification (spec 3.1, 7.10): top-1 and top-5 accuracy.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtp_hf.metrics.arrays import as_array, merge_images
from mtp_hf.metrics.inputs import about_image, check_finite, check_keys, reference_name
from mtp_hf.metrics.segmentation import segmentation_scores

_TOP = 5


class ClassificationAccumulator:
    """Gather the predictions of images one batch at a time.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # image id -> label and the best classes, best first
        self.images: dict[str, tuple[int, np.ndarray]] = {}

    def update(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images; one that was added before is left out.

        Args:
            predictions: For each image `scores` (K,), the larger the likelier; or `label`, the
                class alone, which leaves the accuracy in the first five undefined.
            references: For each image `image_id` and `label`, 0..K-1.

        Raises:
            ValueError: If an image has another number of scores than K, a score that is not
                finite, or a label outside.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            name = reference_name(reference)
            with about_image(name):
                check_keys(reference, ("label",), "reference")
                label = self._checked_label(reference["label"])
                self.images.setdefault(name, (label, self._best_classes(prediction)))

    def _best_classes(self, prediction: Mapping[str, Any]) -> np.ndarray:
        """Rank the classes of an image and keep the first ones; of equal ones the first class."""
        if isinstance(prediction, Mapping) and "label" in prediction:
            return np.array([self._checked_label(prediction["label"])])
        check_keys(prediction, ("scores",), "prediction")
        scores = as_array(prediction["scores"], np.float64)
        if scores.shape != (self.num_classes,):
            raise ValueError(f"scores are {scores.shape}, expected {self.num_classes} classes")
        check_finite(scores, "scores")
        return np.argsort(-scores, kind="stable")[:_TOP]

    def _checked_label(self, label: Any) -> int:
        if not 0 <= int(label) < self.num_classes:
            raise ValueError(f"label is {int(label)}, expected {self.num_classes} classes from 0")
        return int(label)

    def state(self) -> dict[str, tuple[int, np.ndarray]]:
        """Give what was gathered, to be sent to another process (picklable)."""
        return self.images

    def merge(self, states: Iterable[Mapping[str, tuple[int, np.ndarray]]]) -> None:
        """Add what other processes gathered; images that are here already count once.

        Args:
            states: Results of `state`.
        """
        self.images = merge_images(self.images, states)

    def compute(self) -> dict[str, Any]:
        """Score all images together.

        F1 is counted from images, so that it is 0 for a class that is never predicted or hit.

        Returns:
            Fractions `accuracy` (top 1), `top5_accuracy`, `mean_accuracy` of the classes,
            `confusion` (K, K) with reference classes in rows, and `per_class` with arrays (K,)
            `accuracy`, `precision`, `f1`, `num_reference` and `num_predicted`.
        """
        confusion = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)
        top5 = 0
        for label, best in self.images.values():
            confusion[label, best[0]] += 1
            top5 += int(label in best)
        is_ranked = all(
            len(best) == min(_TOP, self.num_classes) for _, best in self.images.values()
        )
        scores = segmentation_scores(confusion)
        classes = scores["per_class"]
        names = ("accuracy", "precision", "num_reference", "num_predicted")
        return {
            "accuracy": scores["overall_accuracy"],
            "top5_accuracy": top5 / len(self.images) if self.images and is_ranked else float("nan"),
            "mean_accuracy": scores["mean_accuracy"],
            "confusion": confusion,
            "per_class": {"f1": classes["dice"], **{name: classes[name] for name in names}},
        }
