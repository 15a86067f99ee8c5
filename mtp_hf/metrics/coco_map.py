"""Average precision of boxes and masks, by the protocol of COCO.

The counting is done by faster-coco-eval, or by pycocotools where that is not installed. What is
unusual: masks are run-length encoded as soon as an image is added, so that a whole validation set
fits in memory; the libraries are kept from printing; no prediction at all scores 0, and classes
without ground truth are NaN and leave the means. Values are fractions in [0, 1].

Source: specification of the original, 7.10; Lin et al., "Microsoft COCO: Common Objects in
Context", section 5 and the evaluation code of its API.
"""

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_api

from mtp_hf.metrics.arrays import as_array, merge_images, nan_mean
from mtp_hf.metrics.inputs import about_image, check_finite, check_keys, reference_name

# Module and name of the data set class, module and name of the evaluation class.
BACKENDS = {
    "faster_coco_eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster"),
    "pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
}
# Result name and COCO name of what is compared.
IOU_TYPES = {"box": "bbox", "mask": "segm"}


def default_backend() -> str:
    """Choose the library that counts.

    Returns:
        faster_coco_eval where it is installed, else pycocotools.
    """
    return next(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def encode_masks(masks: np.ndarray) -> list[dict[str, Any]]:
    """Encode masks by run lengths.

    Args:
        masks: bool (N, H, W).

    Returns:
        N dicts `size`, `counts` as the COCO API takes them.
    """
    columns = np.ascontiguousarray(masks.astype(bool, copy=False).view(np.uint8).swapaxes(1, 2))
    return mask_api.encode(columns.transpose(2, 1, 0))  # (N, W, H) -> (H, W, N), H fastest


def coco_annotations(boxes: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Write the objects of an image as COCO annotations.

    Args:
        boxes: x1 y1 x2 y2 (N, 4).
        labels: Classes (N,) from 0.

    Returns:
        N dicts with `bbox` x y w h, `area` of the box, `category_id` from 0 and `iscrowd` 0.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2]).tolist()
    return [
        {"bbox": [*corner, *size], "area": size[0] * size[1], "category_id": label, "iscrowd": 0}
        for corner, size, label in zip(boxes[:, :2].tolist(), sizes, labels.tolist(), strict=True)
    ]


def check_mask_sizes(masks: Any, instance_masks: Any) -> None:
    """Refuse masks of one image that lie on grids of different sizes.

    Args:
        masks: Predicted masks (N, H, W).
        instance_masks: Masks of the ground truth (G, H, W).

    Raises:
        ValueError: If there are both and H or W differ.
    """
    if len(masks) and len(instance_masks) and masks.shape[1:] != instance_masks.shape[1:]:
        raise ValueError(
            f"the predicted masks are {tuple(masks.shape[1:])}, "
            f"those of the ground truth {tuple(instance_masks.shape[1:])}"
        )


class CocoMapAccumulator:
    """Gather boxes and masks one batch at a time.

    Args:
        num_classes: K, without background.
        iou_types: What is compared, of `box` and `mask`.
        max_detections: Number of best detections of a class that count in an image.
        backend: faster_coco_eval or pycocotools; None takes the first that is installed.
    """

    def __init__(
        self,
        num_classes: int,
        iou_types: Sequence[str] = ("box", "mask"),
        max_detections: int = 100,
        *,
        backend: str | None = None,
    ) -> None:
        backend = backend or default_backend()
        if backend not in BACKENDS:
            raise ValueError(f"backend is {backend!r}, expected one of {sorted(BACKENDS)}")
        if not set(iou_types) <= set(IOU_TYPES):
            raise ValueError(f"iou_types are {iou_types}, expected some of {sorted(IOU_TYPES)}")
        self.num_classes = num_classes
        self.iou_types = tuple(iou_types)
        self.max_detections = max_detections
        self.backend = backend
        self.images: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def update(
        self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add images; one that was added before is left out.

        Args:
            predictions: For each image `scores` (N,), `labels` (N,), `boxes` x1 y1 x2 y2 (N, 4)
                and, where masks are compared, `masks` bool (N, H, W).
            references: For each image `image_id`, `boxes` (G, 4), `class_labels` (G,) and, where
                masks are compared, `instance_masks` bool (G, H, W); optionally `iscrowd` (G,),
                regions that are not to be found and where any number of detections is allowed, and
                `area` (G,), the sizes as annotated, by which small, medium and large are told
                apart; without it the areas of the masks, or else of the boxes.

        Raises:
            ValueError: If an image lacks something, has a class outside 0..K-1, a number that is
                not finite, lists of different lengths or masks of different sizes.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            name = reference_name(reference)
            if name not in self.images:
                with about_image(name):
                    self.images[name] = self._reduce(prediction, reference)

    def _reduce(
        self, prediction: Mapping[str, Any], reference: Mapping[str, Any]
    ) -> dict[str, list[dict[str, Any]]]:
        """Keep of one image its annotations."""
        ground_truth = self._annotations(reference, "reference", "class_labels", "instance_masks")
        detections = self._annotations(prediction, "prediction", "labels", "masks")
        check_keys(prediction, ("scores",), "prediction")
        scores = as_array(prediction["scores"], np.float64)
        check_finite(scores, "scores")
        annotated = {
            key: as_array(reference[key], dtype)
            for key, dtype in (("iscrowd", np.int64), ("area", np.float64))
            if key in reference
        }
        check_finite(annotated.get("area", np.zeros(0)), "area of the reference")
        _write_values(detections, {"score": scores})
        _write_values(ground_truth, annotated)
        if "mask" in self.iou_types:
            check_mask_sizes(prediction["masks"], reference["instance_masks"])
        return {"ground_truth": ground_truth, "detections": detections}

    def _annotations(
        self, objects: Mapping[str, Any], what: str, label_key: str, mask_key: str
    ) -> list[dict[str, Any]]:
        """Write the objects of an image as annotations, with masks where they are compared."""
        masks = (mask_key,) if "mask" in self.iou_types else ()
        check_keys(objects, ("boxes", label_key, *masks), what)
        labels = as_array(objects[label_key], np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"{label_key} hold classes {labels.min()}..{labels.max()}, "
                f"expected 0..{self.num_classes - 1}"
            )
        boxes = as_array(objects["boxes"], np.float64).reshape(-1, 4)
        check_finite(boxes, f"boxes of the {what}")
        annotations = coco_annotations(boxes, labels)
        if "mask" in self.iou_types and annotations:
            codes = encode_masks(as_array(objects[mask_key]))
            for annotation, code in zip(annotations, codes, strict=True):
                annotation["segmentation"] = code
                annotation["area"] = int(mask_api.area(code))
        return annotations

    def state(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Give what was gathered, to be sent to another process (picklable).

        Returns:
            For each image the annotations of its ground truth and its detections.
        """
        return self.images

    def merge(self, states: Iterable[Mapping[str, dict[str, list[dict[str, Any]]]]]) -> None:
        """Add what other processes gathered; images that are here already count once.

        Args:
            states: Results of `state`.
        """
        self.images = merge_images(self.images, states)

    def _flatten(self, kind: str) -> list[dict[str, Any]]:
        """List the annotations of all images, in the order of their names, with numbers."""
        # Copies: the libraries write into annotations. Numbers start at 1 because 0 means
        # "unmatched" in the libraries.
        annotations = [
            {**annotation, "image_id": number}
            for number, image_id in enumerate(sorted(self.images), start=1)
            for annotation in self.images[image_id][kind]
        ]
        return [{**annotation, "id": n} for n, annotation in enumerate(annotations, start=1)]

    def compute(self) -> dict[str, Any]:
        """Score all images together.

        Returns:
            For each `iou_type` `{iou_type}_ap` (IoU 0.5 to 0.95), `{iou_type}_ap50`,
            `{iou_type}_ap75` and the AP of the objects under 32^2, to 96^2 and over 96^2 pixels
            `{iou_type}_ap_small`, `_medium`, `_large`; and `per_class` with arrays (K,)
            `{iou_type}_ap`, `{iou_type}_ap50`, `num_gts` and `num_detections`; and `curves`, for
            each class recalls (R,) and precisions (R,) at IoU 0.5 of the first `iou_type`, empty
            where there is no ground truth.
        """
        ground_truth, detections = self._flatten("ground_truth"), self._flatten("detections")
        counts = {
            name: np.bincount(
                np.array([a["category_id"] for a in annotations if not a["iscrowd"]], np.int64),
                minlength=self.num_classes,
            )
            for name, annotations in {"num_gts": ground_truth, "num_detections": detections}.items()
        }
        scores: dict[str, Any] = {}
        curves: list[tuple[np.ndarray, np.ndarray]] = []
        classes: dict[str, np.ndarray] = {}
        for name in self.iou_types:
            precision = self._precision(IOU_TYPES[name], ground_truth, detections)
            # (T, R, K, A) -> (T, K, A): mean over recalls; NaN where a class has no ground truth.
            average = np.where(precision < 0, np.nan, precision).mean(axis=1)
            curves = curves or [_curve(values) for values in precision[0, :, :, 0].T]  # (R, K)
            classes |= {f"{name}_ap": average[:, :, 0].mean(axis=0)}
            classes |= {f"{name}_ap50": average[0, :, 0]}
            scores[f"{name}_ap"] = nan_mean(average[:, :, 0])
            scores[f"{name}_ap50"] = nan_mean(average[0, :, 0])
            scores[f"{name}_ap75"] = nan_mean(average[5, :, 0])
            for index, size in enumerate(("small", "medium", "large"), start=1):
                scores[f"{name}_ap_{size}"] = nan_mean(average[:, :, index])
        return {**scores, "per_class": {**classes, **counts}, "curves": curves}

    def _precision(
        self,
        iou_type: str,
        ground_truth: list[dict[str, Any]],
        detections: list[dict[str, Any]],
    ) -> np.ndarray:
        """Run the library: precision (T IoUs, R recalls, K classes, A areas), -1 undefined."""
        if not ground_truth:
            return np.full((10, 101, self.num_classes, 4), -1.0)
        if iou_type == "bbox":  # by COCO a detection's size is that of what is compared
            detections = [{**d, "area": d["bbox"][2] * d["bbox"][3]} for d in detections]
        data_module, data_name, eval_module, eval_name = BACKENDS[self.backend]
        data_class = getattr(importlib.import_module(data_module), data_name)
        eval_class = getattr(importlib.import_module(eval_module), eval_name)
        images = [
            {"id": number, "height": 0, "width": 0} for number in range(1, len(self.images) + 1)
        ]  # sizes serve polygons only; masks carry their own
        data_sets = []
        with contextlib.redirect_stdout(io.StringIO()):
            for annotations in (ground_truth, detections):
                data_set = data_class()
                data_set.dataset = {
                    "images": images,
                    "categories": [{"id": n, "name": str(n)} for n in range(self.num_classes)],
                    "annotations": annotations,
                }
                data_set.createIndex()
                data_sets.append(data_set)
            evaluation = eval_class(*data_sets, iouType=iou_type)
            evaluation.params.maxDets = [self.max_detections]
            evaluation.evaluate()
            evaluation.accumulate()
        return np.asarray(evaluation.eval["precision"])[..., 0]


def _write_values(annotations: list[dict[str, Any]], values: Mapping[str, np.ndarray]) -> None:
    """Write one value of each list into each annotation."""
    for key, each in values.items():
        if len(each) != len(annotations):
            raise ValueError(f"{key} has {len(each)} values, expected {len(annotations)}")
        for annotation, value in zip(annotations, each.tolist(), strict=True):
            annotation[key] = value


def _curve(precisions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair the precisions (R,) of a class with their recalls, evenly spread from 0 to 1."""
    if (precisions < 0).any():  # undefined
        return np.zeros(0), np.zeros(0)
    return np.linspace(0.0, 1.0, len(precisions)), precisions
