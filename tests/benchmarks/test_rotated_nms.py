"""The suppression benchmark and its boxes."""

import math

import torch

from benchmarks.rotated_nms import random_rotated_boxes, run


def test_quick_rows_are_spread_and_crowded_boxes():
    spread, crowded = run(quick=True)
    assert spread.case == "50 boxes, 15 classes, over 1024² px" and spread.at_most == 0.25
    assert crowded.case == "50 boxes, 15 classes, over 128² px" and crowded.at_most is None
    assert spread.unit == "V" and spread.value > 0 and crowded.value > 0
    kept = [int(row.note.split(", ")[1].split()[0]) for row in (spread, crowded)]
    assert 0 < kept[1] < kept[0] <= 50


def test_boxes_are_those_of_the_target():
    boxes = random_rotated_boxes(5000, 1024, torch.Generator().manual_seed(0))
    center, sides, angle = boxes.split((2, 2, 1), dim=1)
    assert 0 <= center.min() < 5 and 1019 < center.max() <= 1024
    assert 10 <= sides.min() < 10.2 and 99.8 < sides.max() <= 100
    assert (sides[:, 0] >= sides[:, 1]).all()
    assert -math.pi / 2 <= angle.min() and angle.max() < math.pi / 2


def test_the_same_seed_draws_the_same_boxes():
    first, second = (
        random_rotated_boxes(9, 64, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
