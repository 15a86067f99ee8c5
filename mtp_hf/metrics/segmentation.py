"""Scores of semantic segmentation: IoU, F1, Dice, precision, recall and accuracy.

All values are fractions in [0, 1]. What is unusual: the counts are kept for each image, sparsely,
so that images which a distributed sampler repeats count once after `merge`, and the result does
not depend on the number of processes.

A class that occurs neither in the references nor in the predictions is NaN and leaves the means.

Kept: accuracy, recall and F1 of a class that is never labelled are NaN, as are precision and F1 of
one that is never predicted, and F1 of one that is never hit: they leave the means, as in the
framework of the original. Dice, the same ratio counted from pixels, is 0 in these cases.

Source: specification of the original, 7.10 (mmsegmentation 1.0.0, `IoUMetric`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtp_hf.metrics.arrays import as_array, merge_images, nan_mean
from mtp_hf.metrics.inputs import about_image, image_name


def confusion_matrix(
    prediction: np.ndarray, reference: np.ndarray, num_classes: int, *, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of every pair (reference class, predicted class).

    Args:
        prediction: Integer map (H, W) of classes 0..K-1.
        reference: Integer map (H, W) of classes 0..K-1 or `ignore_index`.
        num_classes: K.
        ignore_index: Reference value of the pixels that do not count.

    Returns:
        int64 (K, K), rows are reference classes, columns predicted classes.

    Raises:
        ValueError: If the sizes differ, a map does not hold whole numbers or a counted pixel a
            class outside 0..K-1.
    """
    for name, labels in {"reference": reference, "predicted": prediction}.items():
        if labels.dtype.kind not in "biu":
            raise ValueError(f"the {name} map holds {labels.dtype}, expected class numbers")
    if prediction.shape != reference.shape:
        raise ValueError(
            f"the predicted map is {prediction.shape}, the reference map {reference.shape}"
        )
    counted = reference != ignore_index
    classes = {"reference": reference[counted], "prediction": prediction[counted]}
    for name, values in classes.items():
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"the {name} holds classes {values.min()}..{values.max()}, "
                f"expected 0..{num_classes - 1}"
            )
    pairs = classes["reference"].astype(np.int64) * num_classes + classes["prediction"]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def segmentation_scores(confusion: np.ndarray) -> dict[str, Any]:
    """Turn a confusion matrix into scores.

    Args:
        confusion: Pixel counts (K, K), rows are reference classes.

    Returns:
        Fractions `miou`, `mean_accuracy`, `mean_precision`, `mean_recall`, `mean_f1`,
        `mean_dice`, `overall_accuracy`, and `per_class` with arrays (K,) `iou`, `accuracy`,
        `precision`, `recall`, `f1`, `dice` and the pixel counts `num_reference` and
        `num_predicted`.
    """
    hits = np.diagonal(confusion).astype(np.float64)
    labelled = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = hits / predicted
        recall = hits / labelled
        classes = {
            "iou": hits / (labelled + predicted - hits),
            "accuracy": recall,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
            "dice": 2 * hits / (labelled + predicted),
        }
        overall = hits.sum() / np.float64(confusion.sum())
    means = {
        "miou" if name == "iou" else f"mean_{name}": nan_mean(values)
        for name, values in classes.items()
    }
    counts = {"num_reference": labelled.astype(int), "num_predicted": predicted.astype(int)}
    return {**means, "overall_accuracy": float(overall), "per_class": {**classes, **counts}}


class SegmentationAccumulator:
    """Gather the confusion of images one batch at a time.

    Args:
        num_classes: K, background included.
        ignore_index: Reference value of the pixels that do not count.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.images: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def update(
        self, predictions: Sequence[Any], references: Sequence[Any], image_ids: Sequence[str]
    ) -> None:
        """Add images; one that was added before is left out.

        Args:
            predictions: Integer maps (H, W), one an image.
            references: Integer maps (H, W), one an image.
            image_ids: Name of each image, unique in the data set.

        Raises:
            ValueError: If the maps of an image differ in size or hold something else than its
                classes.
        """
        for prediction, reference, image_id in zip(predictions, references, image_ids, strict=True):
            name = image_name(image_id)
            if name in self.images:
                continue
            with about_image(name):
                confusion = confusion_matrix(
                    as_array(prediction),
                    as_array(reference),
                    self.num_classes,
                    ignore_index=self.ignore_index,
                )
            cells = np.flatnonzero(confusion)
            self.images[name] = (cells, confusion.ravel()[cells])

    def state(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Give what was gathered, to be sent to another process (picklable).

        Returns:
            For each image the occupied cells of its confusion matrix and their counts.
        """
        return self.images

    def merge(self, states: Iterable[Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
        """Add what other processes gathered; images that are here already count once.

        Args:
            states: Results of `state`.
        """
        self.images = merge_images(self.images, states)

    def compute(self) -> dict[str, Any]:
        """Score all images together.

        Returns:
            See `segmentation_scores`.
        """
        confusion = np.zeros(self.num_classes**2, dtype=np.int64)
        for cells, counts in self.images.values():
            confusion[cells] += counts
        return segmentation_scores(confusion.reshape(self.num_classes, self.num_classes))
