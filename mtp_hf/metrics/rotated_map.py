"""Mean average precision of rotated boxes, by the protocol of DOTA.

A detection belongs to the box of its class and image that it overlaps most, and to no other: it
is a hit where the IoU reaches the threshold and no detection of a higher score took that box, it
does not count where that box is difficult, else it is a false alarm.

What is unusual: because a detection looks at one box only, the overlaps are reduced to one number
and one index a detection as soon as an image is added, and matching is a sort, without a loop over
detections.

Differs: difficult boxes of images that have no other box are honoured; the original drops them, so
that detections on them are false alarms (`original_difficult`).
Kept: the 11 recall points are `numpy.arange` floats, so that a recall of exactly 0.3, 0.6 or 0.7
does not reach its point.

Source: specification of the original, 7.10 (mmrotate 1.0.0rc1, `eval_map.py`); Everingham et al.,
"The PASCAL Visual Object Classes (VOC) Challenge", section 4.2.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mtp_hf.metrics.arrays import as_array, merge_images, nan_mean
from mtp_hf.metrics.inputs import about_image, check_finite, check_keys, reference_name
from mtp_hf.modeling.ops_rotated_boxes import rotated_box_iou

RECALL_POINTS = np.arange(0, 1 + 1e-3, 0.1)


def eleven_point_average(recalls: np.ndarray, precisions: np.ndarray) -> float:
    """Average the best precision at or beyond each of the recalls 0, 0.1, ..., 1 (VOC 2007).

    Args:
        recalls: Ascending recalls (N,).
        precisions: Precisions (N,) at these recalls.

    Returns:
        The average precision, 0 where there is no detection.
    """
    best = np.append(np.maximum.accumulate(precisions[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recalls, RECALL_POINTS, side="left")].mean())


def area_average(recalls: np.ndarray, precisions: np.ndarray) -> float:
    """Measure the area under the monotone hull of the precision-recall curve (VOC 2010).

    Args:
        recalls: Ascending recalls (N,).
        precisions: Precisions (N,) at these recalls.

    Returns:
        The average precision, 0 where there is no detection.
    """
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    return float(np.sum(np.diff(recalls, prepend=0.0) * best))


INTERPOLATIONS = {"11_points": eleven_point_average, "area": area_average}


def best_overlaps(
    boxes: np.ndarray, gt_boxes: np.ndarray, *, labels: np.ndarray, gt_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ground truth of its own class that each detection of one image overlaps most.

    Args:
        boxes: Detected rotated boxes (N, 5).
        gt_boxes: Annotated rotated boxes (G, 5).
        labels: Classes (N,) of the detections.
        gt_labels: Classes (G,) of the annotations.

    Returns:
        IoU (N,), zero where there is no box of the class, and index (N,) of the box, the first
        one of equals.
    """
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return np.zeros(len(boxes)), np.zeros(len(boxes), dtype=np.int64)
    iou = rotated_box_iou(torch.from_numpy(boxes), torch.from_numpy(gt_boxes)).numpy()  # (N, G)
    iou = np.where(labels[:, None] == gt_labels[None, :], iou, 0.0)
    best = iou.argmax(axis=1)
    return iou[np.arange(len(boxes)), best], best


def precision_recall(hits: np.ndarray, num_gts: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow recall and precision down the ranked detections of a class.

    Args:
        hits: +1 hit, 0 false alarm, -1 does not count, (N,), in the order of descending scores.
        num_gts: Number of boxes to be found, at least 1.

    Returns:
        Recalls (N,) and precisions (N,).
    """
    found = np.cumsum(hits == 1)
    counted = np.cumsum(hits >= 0)
    return found / num_gts, found / np.maximum(counted, 1)


def rank_hits(
    scores: np.ndarray,
    overlaps: np.ndarray,
    matches: np.ndarray,
    *,
    difficult: np.ndarray,
    iou_threshold: float,
) -> np.ndarray:
    """Decide over the detections of a class, from the highest score to the lowest.

    Args:
        scores: Scores (N,); the first one of equals goes first.
        overlaps: IoU (N,) with the box that each detection overlaps most.
        matches: Index (N,) of that box among the G boxes of all images.
        difficult: Whether each of the G boxes is difficult, bool (G,).
        iou_threshold: Least IoU of a hit.

    Returns:
        int (N,) in the order of descending scores: +1 hit, 0 false alarm, -1 does not count.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps, matches = overlaps[order], matches[order]
    close = np.flatnonzero(overlaps >= iou_threshold)
    first = np.unique(matches[close], return_index=True)[1]
    hits = np.zeros(len(scores), dtype=np.int64)
    hits[close[first]] = 1
    hits[close[difficult[matches[close]]]] = -1
    return hits


class RotatedMapAccumulator:
    """Gather detections of rotated boxes one batch at a time.

    Args:
        num_classes: K, without background.
        iou_threshold: Least IoU of a hit.
        interpolation: `11_points` (VOC 2007, DOTA) or `area` (VOC 2010).
        ignore_difficult: Let difficult boxes be ignored; False counts them like all others.
        original_difficult: Drop the difficult boxes of images without any other box, as the
            original does.
    """

    def __init__(
        self,
        num_classes: int,
        iou_threshold: float = 0.5,
        interpolation: str = "11_points",
        *,
        ignore_difficult: bool = True,
        original_difficult: bool = False,
    ) -> None:
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation is {interpolation!r}, expected one of {sorted(INTERPOLATIONS)}"
            )
        self.num_classes = num_classes
        self.iou_threshold = iou_threshold
        self.interpolation = interpolation
        self.ignore_difficult = ignore_difficult
        self.original_difficult = original_difficult
        self.images: dict[str, dict[str, np.ndarray]] = {}

    def update(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images; one that was added before is left out.

        Args:
            predictions: For each image `scores` (N,), `labels` (N,) and `rotated_boxes` (N, 5).
            references: For each image `image_id`, `rotated_boxes` (M, 5),
                `rotated_class_labels` (M,) and, where some are difficult, `rotated_difficult`
                (M,): 1 or True; 2, cut by the border of a tile, is not.

        Raises:
            ValueError: If an image lacks something, has a class outside 0..K-1, a number that is
                not finite or lists of different lengths.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            name = reference_name(reference)
            if name not in self.images:
                with about_image(name):
                    self.images[name] = self._reduce(prediction, reference)

    def _reduce(
        self, prediction: Mapping[str, Any], reference: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Keep of one image what matching needs: one overlap a detection."""
        check_keys(prediction, ("scores", "labels", "rotated_boxes"), "prediction")
        check_keys(reference, ("rotated_boxes", "rotated_class_labels"), "reference")
        gt_boxes = as_array(reference["rotated_boxes"], np.float32).reshape(-1, 5)
        gt_labels = as_array(reference["rotated_class_labels"], np.int64)
        difficult = as_array(reference.get("rotated_difficult", np.zeros(len(gt_boxes)))) == 1
        difficult &= self.ignore_difficult
        boxes = as_array(prediction["rotated_boxes"], np.float32).reshape(-1, 5)
        labels = as_array(prediction["labels"], np.int64)
        scores = as_array(prediction["scores"], np.float64)
        for name, lists in {
            "predictions": (boxes, labels, scores),
            "references": (gt_boxes, gt_labels, difficult),
        }.items():
            if len({len(values) for values in lists}) != 1:
                lengths = [len(values) for values in lists]
                raise ValueError(f"{name} have lists of lengths {lengths}")
        for name, values in {"predictions": labels, "references": gt_labels}.items():
            if values.size and not 0 <= values.min() <= values.max() < self.num_classes:
                raise ValueError(
                    f"{name} hold classes {values.min()}..{values.max()}, "
                    f"expected 0..{self.num_classes - 1}"
                )
        check_finite(scores, "scores")
        check_finite(boxes, "rotated_boxes")
        check_finite(gt_boxes, "rotated_boxes of the reference")
        if self.original_difficult and difficult.all():
            gt_boxes, gt_labels, difficult = gt_boxes[:0], gt_labels[:0], difficult[:0]
        order = np.argsort(difficult, kind="stable")  # of equal boxes a normal one comes first
        gt_boxes, gt_labels, difficult = gt_boxes[order], gt_labels[order], difficult[order]
        overlaps, matches = best_overlaps(boxes, gt_boxes, labels=labels, gt_labels=gt_labels)
        return {
            "scores": scores,
            "labels": labels,
            "overlaps": overlaps,
            "matches": matches,
            "gt_labels": gt_labels,
            "difficult": difficult,
        }

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """Give what was gathered, to be sent to another process (picklable).

        Returns:
            For each image the reduced detections and boxes.
        """
        return self.images

    def merge(self, states: Iterable[Mapping[str, dict[str, np.ndarray]]]) -> None:
        """Add what other processes gathered; images that are here already count once.

        Args:
            states: Results of `state`.
        """
        self.images = merge_images(self.images, states)

    def _concatenate(self) -> dict[str, np.ndarray]:
        """Join the images in the order of their names, matches counted over all boxes."""
        names = ("scores", "labels", "overlaps", "matches", "gt_labels", "difficult")
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        first_box = 0
        for image_id in sorted(self.images):
            image = self.images[image_id]
            for name in names:
                parts[name].append(image[name] + first_box if name == "matches" else image[name])
            first_box += len(image["gt_labels"])
        dtypes = {"scores": float, "overlaps": float, "difficult": bool}
        return {
            name: np.concatenate([np.zeros(0, dtypes.get(name, np.int64)), *values])
            for name, values in parts.items()
        }

    def compute(self) -> dict[str, Any]:
        """Score all images together.

        Returns:
            The mean `ap50` (the number is the IoU threshold in percent) over the classes that
            have boxes, NaN where none has, and `per_class` with arrays (K,) of that name,
            `recall` (NaN for classes without boxes), `num_gts` and `num_detections`; and `curves`,
            for each class recalls and precisions down its ranking, empty where it has no boxes.
        """
        data = self._concatenate()
        name = f"ap{round(100 * self.iou_threshold)}"
        average = INTERPOLATIONS[self.interpolation]
        normal = data["gt_labels"][~data["difficult"]]
        num_gts = np.bincount(normal, minlength=self.num_classes)
        num_detections = np.bincount(data["labels"], minlength=self.num_classes)
        precision = np.full(self.num_classes, np.nan)
        recall = np.full(self.num_classes, np.nan)
        curves = [(np.zeros(0), np.zeros(0))] * self.num_classes
        by_class = np.argsort(data["labels"], kind="stable")
        groups = np.split(by_class, np.cumsum(num_detections)[:-1])
        for label in np.flatnonzero(num_gts):
            rows = groups[label]
            hits = rank_hits(
                data["scores"][rows],
                data["overlaps"][rows],
                data["matches"][rows],
                difficult=data["difficult"],
                iou_threshold=self.iou_threshold,
            )
            recalls, precisions = precision_recall(hits, num_gts[label])
            curves[label] = (recalls, precisions)
            precision[label] = average(recalls, precisions)
            recall[label] = recalls[-1] if len(recalls) else 0.0
        classes = {"recall": recall, "num_gts": num_gts, "num_detections": num_detections}
        per_class = {name: precision, **classes}
        return {name: nan_mean(precision), "per_class": per_class, "curves": curves}
