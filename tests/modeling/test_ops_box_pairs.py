"""Pairs of touching boxes found by the sweep."""

import pytest
import torch

from mtp_hf.modeling import ops_box_pairs
from mtp_hf.modeling.ops_box_pairs import boxes_touch, touching_pairs


def listed(boxes, labels):
    pairs = torch.cat(list(touching_pairs(boxes, labels)), dim=1)
    return sorted(map(tuple, pairs.T.tolist()))


def compared_all_with_all(boxes, labels):
    touch = boxes_touch(boxes[:, None], boxes) & (labels[:, None] == labels)
    return sorted(map(tuple, touch.triu(1).nonzero().tolist()))


def test_only_the_two_overlapping_boxes_of_three_are_a_pair():
    boxes = torch.tensor([[0, 0, 4, 4], [10, 10, 12, 12], [3, 3, 6, 6]]).float()
    assert listed(boxes, torch.zeros(3).long()) == [(0, 2)]


def test_boxes_with_a_common_edge_do_not_touch():
    left, right = torch.tensor([0.0, 0, 2, 2]), torch.tensor([2.0, 0, 4, 2])
    assert not boxes_touch(left, right)


def test_boxes_of_different_labels_are_no_pair():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [1, 1, 3, 3]]).float()
    assert listed(boxes, torch.tensor([0, 1, 0])) == [(0, 2)]


def random_boxes(num_boxes, extent=100):
    low = torch.rand(num_boxes, 2) * extent
    return torch.cat((low, low + torch.rand(num_boxes, 2) * 20), dim=1)


@pytest.mark.parametrize("num_labels", [1, 4])
def test_the_sweep_finds_the_same_pairs_as_comparing_all(num_labels):
    boxes, labels = random_boxes(200), torch.randint(num_labels, (200,))
    assert listed(boxes, labels) == compared_all_with_all(boxes, labels)


def test_the_sweep_is_right_with_equal_left_sides_and_boxes_without_width():
    boxes = random_boxes(120, extent=10).round()
    labels = torch.randint(3, (120,))
    assert listed(boxes, labels) == compared_all_with_all(boxes, labels)


def test_small_runs_give_the_same_pairs(monkeypatch):
    boxes, labels = random_boxes(150), torch.randint(2, (150,))
    whole = listed(boxes, labels)
    monkeypatch.setattr(ops_box_pairs, "MAX_PAIRS", 50)
    assert len(list(touching_pairs(boxes, labels))) > 5
    assert listed(boxes, labels) == whole


@pytest.mark.parametrize("num_boxes", [0, 1])
def test_fewer_than_two_boxes_have_no_pairs(num_boxes):
    pairs = list(touching_pairs(torch.ones(num_boxes, 4), torch.zeros(num_boxes).long()))
    assert torch.cat(pairs, dim=1).shape == (2, 0)
