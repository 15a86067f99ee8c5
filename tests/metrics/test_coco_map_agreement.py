"""Claims that average precisions are those that pycocotools alone gives for the same objects."""

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mtp_hf.metrics.coco_map import encode_masks
from tests.metrics.test_coco_map import BACKENDS, evaluate_images, random_images

NUM_CLASSES = 3


def own_scores(images, name, **options):
    """AP, AP50, AP75 and those of small, medium and large objects."""
    scores = evaluate_images(images, NUM_CLASSES, **options)
    names = ["", "50", "75", "_small", "_medium", "_large"]
    return np.array([scores[f"{name}_ap{each}"] for each in names])


def pycocotools_scores(truth, found, iou_type):
    """The same by pycocotools alone, undefined ones NaN.

    Args:
        truth: For each image the annotations of its objects.
        found: For each image its detections.
        iou_type: `bbox` or `segm`.
    """
    numbered = [
        [{**each, "image_id": number} for number, part in enumerate(values) for each in part]
        for values in (truth, found)
    ]
    data = COCO()
    data.dataset = {
        "info": {},
        "images": [{"id": n, "height": 64, "width": 64} for n in range(len(truth))],
        "categories": [{"id": n} for n in range(NUM_CLASSES)],
        "annotations": [{"id": n, **each} for n, each in enumerate(numbered[0], start=1)],
    }
    data.createIndex()
    evaluation = COCOeval(data, data.loadRes(numbered[1]), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.where(evaluation.stats[:6] < 0, np.nan, evaluation.stats[:6])


def columns(**lists):
    """Turn equally long lists into dicts, one an object."""
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def xywh(boxes):
    return [[left, top, right - left, bottom - top] for left, top, right, bottom in boxes.tolist()]


def annotated_images(count, seed):
    """Images with crowds and with annotated areas that are not those of the boxes."""
    rng = np.random.default_rng(seed)
    for prediction, reference in random_images(count, NUM_CLASSES, seed):
        num_objects = len(reference["boxes"])
        crowd, area = rng.random(num_objects) < 0.3, rng.uniform(100, 12_000, num_objects)
        extra = {"iscrowd": torch.from_numpy(crowd), "area": torch.from_numpy(area)}
        yield prediction, {**reference, **extra}


def test_masks_score_as_by_pycocotools(capsys):
    images = random_images(10, NUM_CLASSES, seed=5)
    truth, found = [], []
    for prediction, reference in images:
        codes = encode_masks(reference["instance_masks"].numpy())
        truth.append(
            columns(
                category_id=reference["class_labels"].tolist(),
                segmentation=codes,
                area=[float(mask_api.area(code)) for code in codes],
                bbox=[mask_api.toBbox(code).tolist() for code in codes],
                iscrowd=[0] * len(codes),
            )
        )
        found.append(
            columns(
                category_id=prediction["labels"].tolist(),
                segmentation=encode_masks(prediction["masks"].numpy()),
                score=prediction["scores"].tolist(),
            )
        )
    expected = pycocotools_scores(truth, found, "segm")
    np.testing.assert_allclose(own_scores(images, "mask"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_boxes_with_crowds_and_annotated_areas_score_as_by_pycocotools(backend, capsys):
    images = list(annotated_images(10, seed=4))
    truth = [
        columns(
            category_id=reference["class_labels"].tolist(),
            bbox=xywh(reference["boxes"]),
            area=reference["area"].tolist(),
            iscrowd=reference["iscrowd"].int().tolist(),
        )
        for _, reference in images
    ]
    found = [
        columns(
            category_id=prediction["labels"].tolist(),
            bbox=xywh(prediction["boxes"]),
            score=prediction["scores"].tolist(),
        )
        for prediction, _ in images
    ]
    actual = own_scores(images, "box", iou_types=("box",), backend=backend)
    expected = pycocotools_scores(truth, found, "bbox")
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
