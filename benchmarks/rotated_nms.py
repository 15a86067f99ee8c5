"""Suppression among rotated boxes, in V, at the threshold of the published rotated decoder."""

import math

import torch

from benchmarks.report import Row
from benchmarks.timing import forward_of_plain_vit, take_turns, use_threads
from mtp_hf.modeling.ops_rotated_boxes import batched_rotated_nms

THREADS = 2
EXTENT = 1024  # pixels over which the centres are uniform
NUM_CLASSES = 15
IOU_THRESHOLD = 0.1
TARGET = 0.25


def run(quick: bool) -> list[Row]:
    """Measure sparse boxes as in the target, and as many again in one crowded place."""
    count = 50 if quick else 2000
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(count, generator=generator)
    labels = torch.randint(NUM_CLASSES, (count,), generator=generator)
    boxes = random_rotated_boxes(count, EXTENT, generator)
    crowded = random_rotated_boxes(count, EXTENT // 8, generator)
    sides = {
        "V": forward_of_plain_vit(quick=quick),
        "spread": lambda: batched_rotated_nms(boxes, scores, labels, IOU_THRESHOLD),
        "crowded": lambda: batched_rotated_nms(crowded, scores, labels, IOU_THRESHOLD),
    }
    with use_threads(THREADS):
        seconds = take_turns(sides, 2 if quick else 15)
        kept = {name: len(side()) for name, side in sides.items() if name != "V"}
    extents = {"spread": (EXTENT, TARGET), "crowded": (EXTENT // 8, None)}
    return [
        Row(
            case=f"{count} boxes, {NUM_CLASSES} classes, over {extent}² px",
            value=seconds.ratio(name, "V"),
            unit="V",
            at_most=target,
            note=f"{seconds.note(name)}, {kept[name]} kept; V {seconds.note('V')[2:]}",
        )
        for name, (extent, target) in extents.items()
    ]


def random_rotated_boxes(count: int, extent: float, generator: torch.Generator) -> torch.Tensor:
    """Draw boxes (N, 5): centres uniform over a square, sides 10 to 100 pixels, any angle."""
    center = torch.rand(count, 2, generator=generator) * extent
    sides = 10 + 90 * torch.rand(count, 2, generator=generator)
    angle = (torch.rand(count, 1, generator=generator) - 0.5) * math.pi
    return torch.cat((center, sides.sort(dim=1, descending=True).values, angle), dim=1)
