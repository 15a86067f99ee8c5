"""Claims about moving and merging detections."""

import math

import pytest
import torch

from mtp_hf.modeling.ops_rotated_boxes import rotated_boxes_to_polygons
from mtp_hf.pipelines.detections import (
    box_name,
    flip_detections,
    merge_detections,
    shift_detections,
)

SIZE = (60, 100)


def rotated(boxes, scores, labels):
    return {
        "rotated_boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def upright(boxes, scores, labels):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def test_rotated_boxes_move_and_keep_their_form():
    found = shift_detections(rotated([[5, 6, 8, 4, 0.3]], [0.9], [1]), 100, 200)
    assert found["rotated_boxes"][0].tolist() == pytest.approx([105, 206, 8, 4, 0.3])
    assert found["labels"].tolist() == [1]


def test_upright_boxes_move_with_both_corners():
    found = shift_detections(upright([[1, 2, 3, 4]], [0.9], [1]), 10, 20)
    assert found["boxes"].tolist() == [[11, 22, 13, 24]]


def test_shifting_does_not_change_what_it_was_given():
    found = upright([[1, 2, 3, 4]], [0.9], [1])
    shift_detections(found, 10, 20)
    assert found["boxes"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("horizontal", [80, 5, 90, 25]),
        ("vertical", [10, 35, 20, 55]),
        ("diagonal", [80, 35, 90, 55]),
    ],
)
def test_upright_boxes_are_mirrored_with_their_image(direction, expected):
    found = flip_detections(upright([[10, 5, 20, 25]], [0.9], [0]), SIZE, direction)
    assert found["boxes"].tolist() == [expected]


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_corners_of_rotated_boxes_are_mirrored_with_their_image(direction):
    found = rotated([[30, 20, 16, 6, 0.4]], [0.9], [0])
    corners = rotated_boxes_to_polygons(found["rotated_boxes"]).reshape(4, 2)
    if direction != "vertical":
        corners[:, 0] = SIZE[1] - corners[:, 0]
    if direction != "horizontal":
        corners[:, 1] = SIZE[0] - corners[:, 1]
    mirrored = flip_detections(found, SIZE, direction)
    got = rotated_boxes_to_polygons(mirrored["rotated_boxes"]).reshape(4, 2)
    distances = torch.cdist(got, corners).min(dim=1).values
    assert distances.max() < 1e-4  # the same four corners, in whatever order


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
@pytest.mark.parametrize("make", [rotated, upright])
def test_mirroring_twice_is_nothing(make, direction):
    box = [30, 20, 16, 6, 0.4] if make is rotated else [30, 20, 46, 26]
    found = make([box], [0.9], [0])
    twice = flip_detections(flip_detections(found, SIZE, direction), SIZE, direction)
    name = box_name(found)
    assert torch.allclose(twice[name], found[name], atol=1e-5)


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="'sideways'"):
        flip_detections(upright([[1, 2, 3, 4]], [0.9], [0]), SIZE, "sideways")


def test_the_better_of_two_doubles_stays():
    one = rotated([[50, 50, 20, 10, 0.1]], [0.6], [2])
    other = rotated([[50.5, 50, 20, 10, 0.1]], [0.8], [2])
    merged = merge_detections([one, other], 0.1)
    assert merged["scores"].tolist() == pytest.approx([0.8])
    assert merged["rotated_boxes"][0, 0].item() == pytest.approx(50.5)


def test_doubles_of_different_classes_both_stay():
    one = rotated([[50, 50, 20, 10, 0.1]], [0.6], [2])
    other = rotated([[50, 50, 20, 10, 0.1]], [0.8], [3])
    assert merge_detections([one, other], 0.1)["labels"].tolist() == [3, 2]


def test_overlap_up_to_the_threshold_is_allowed():
    boxes = upright([[0, 0, 10, 10], [5, 0, 15, 10]], [0.9, 0.8], [0, 0])  # IoU 1/3
    assert len(merge_detections([boxes], 0.34)["scores"]) == 2
    assert len(merge_detections([boxes], 0.33)["scores"]) == 1


def test_crossing_thin_boxes_are_no_doubles_although_their_hulls_are():
    crossing = rotated(
        [[50, 50, 40, 2, math.pi / 4], [50, 50, 40, 2, -math.pi / 4]], [0.9, 0.8], [0, 0]
    )
    assert len(merge_detections([crossing], 0.1)["scores"]) == 2


def test_only_the_best_are_kept_where_a_number_is_given():
    boxes = upright(
        [[20 * i, 0, 20 * i + 10, 10] for i in range(5)], [0.1, 0.5, 0.3, 0.9, 0.2], [0] * 5
    )
    assert merge_detections([boxes], 0.5, 2)["scores"].tolist() == pytest.approx([0.9, 0.5])


@pytest.mark.parametrize("make", [rotated, upright])
def test_nothing_merged_is_nothing(make):
    merged = merge_detections([make([], [], []), make([], [], [])], 0.1)
    assert {name: len(values) for name, values in merged.items()} == {
        "scores": 0,
        "labels": 0,
        box_name(merged): 0,
    }


@pytest.mark.parametrize(
    "move",
    [
        lambda found: shift_detections(found, 1, 2),
        lambda found: flip_detections(found, SIZE, "vertical"),
        lambda found: merge_detections([found], 0.5),
    ],
)
def test_masks_are_not_left_behind(move):
    found = upright([[1, 2, 3, 4]], [0.9], [0]) | {"masks": torch.zeros(1, *SIZE)}
    with pytest.raises(ValueError, match="masks of detections are not moved or merged"):
        move(found)


def test_what_has_no_boxes_is_refused():
    with pytest.raises(ValueError, match=r"\['scores'\]"):
        box_name({"scores": torch.zeros(0)})
