"""Rotated mean average precision over many images, and against a loop over classes and boxes.

A fifth of the detections of an image are its boxes, moved a little; the others lie anywhere.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.report import Row
from benchmarks.rotated_nms import EXTENT, NUM_CLASSES, random_rotated_boxes
from benchmarks.timing import Side, take_turns, use_threads
from mtp_hf.metrics.rotated_map import RotatedMapAccumulator, eleven_point_average
from mtp_hf.modeling.ops_rotated_boxes import rotated_box_iou

THREADS = 1
SECONDS_TARGET = 20.0
SPEEDUP_TARGET = 10.0
ROUNDS = 3
DETECTIONS_PER_IMAGE = 100
BOXES_PER_IMAGE = 20
LOOP_SHARE = 10  # the loop sees one image in so many

Images = list[dict[str, Any]]


def run(quick: bool) -> list[Row]:
    """Measure adding all images and computing, and the loop on a part of them."""
    num_images, rounds = (10, 1) if quick else (1000, ROUNDS)
    predictions, references = make_images(num_images)
    some = max(num_images // LOOP_SHARE, 1)
    part = predictions[:some], references[:some]
    sides: dict[str, Side] = {
        "accumulator": lambda: accumulate(*part),
        "loop": lambda: loop_over_classes(*part),
    }
    with use_threads(THREADS):
        ours, looped, found = accumulate(*part), loop_over_classes(*part), []
        whole = take_turns(
            {"all": lambda: found.append(accumulate(predictions, references))}, rounds
        )
        seconds = take_turns(sides, rounds)
    if abs(looped - ours) > 1e-9:
        raise AssertionError(f"the loop finds AP50 {looped}, the accumulator {ours}")
    count = num_images * DETECTIONS_PER_IMAGE
    return [
        Row(
            case=f"{count:,} detections, {num_images:,} images, {NUM_CLASSES} classes",
            value=whole.median("all"),
            unit="s",
            at_most=SECONDS_TARGET,
            note=f"{BOXES_PER_IMAGE} boxes an image; AP50 {100 * found[0]:.1f}",
        ),
        Row(
            case=f"against a loop over classes, images and detections, {some:,} images",
            value=seconds.ratio("loop", "accumulator"),
            unit="x faster",
            at_least=SPEEDUP_TARGET,
            note=f"{seconds.note('accumulator', 'loop')}, same AP50",
        ),
    ]


def make_images(num_images: int) -> tuple[Images, Images]:
    """Draw predictions and references, the same every time."""
    generator = torch.Generator().manual_seed(0)
    predictions, references = [], []
    for number in range(num_images):
        boxes = random_rotated_boxes(BOXES_PER_IMAGE, EXTENT, generator)
        labels = torch.randint(NUM_CLASSES, (BOXES_PER_IMAGE,), generator=generator)
        others = random_rotated_boxes(DETECTIONS_PER_IMAGE - len(boxes), EXTENT, generator)
        shift = torch.randn(boxes.shape, generator=generator) * torch.tensor([3, 3, 3, 3, 0.05])
        found = torch.cat((boxes + shift, others))
        found[:, 2:4] = found[:, 2:4].clamp(min=1)
        other_labels = torch.randint(NUM_CLASSES, (len(others),), generator=generator)
        predictions.append(
            {
                "rotated_boxes": found,
                "labels": torch.cat((labels, other_labels)),
                "scores": torch.rand(len(found), generator=generator),
            }
        )
        references.append(
            {"image_id": f"{number}", "rotated_boxes": boxes, "rotated_class_labels": labels}
        )
    return predictions, references


def accumulate(predictions: Images, references: Images) -> float:
    """Measure AP50 with the package's accumulator."""
    accumulator = RotatedMapAccumulator(NUM_CLASSES)
    accumulator.update(predictions, references)
    return accumulator.compute()["ap50"]


def loop_over_classes(predictions: Images, references: Images) -> float:
    """Measure AP50 as it is usually written: class by class, image by image, box by box."""
    precisions = []
    for label in range(NUM_CLASSES):
        candidates, num_boxes = [], 0
        for image, (found, truth) in enumerate(zip(predictions, references, strict=True)):
            rows = found["labels"] == label
            boxes = truth["rotated_boxes"][truth["rotated_class_labels"] == label]
            num_boxes += len(boxes)
            overlaps = rotated_box_iou(found["rotated_boxes"][rows], boxes).tolist()
            scores = found["scores"][rows].tolist()
            candidates += [(-s, image, o) for s, o in zip(scores, overlaps, strict=True)]
        candidates.sort(key=lambda candidate: candidate[0])
        if num_boxes:
            precisions.append(_average_precision(candidates, num_boxes))
    return float(np.mean(precisions))


def _average_precision(candidates: list[tuple[float, int, list[float]]], num_boxes: int) -> float:
    taken, hits = set(), []
    for _, image, overlaps in candidates:
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
        is_hit = best is not None and overlaps[best] >= 0.5 and (image, best) not in taken
        hits.append(is_hit)
        if is_hit:
            taken.add((image, best))
    found = np.cumsum(hits)
    return eleven_point_average(found / num_boxes, found / np.arange(1, len(hits) + 1))
