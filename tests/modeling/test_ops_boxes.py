"""Clipping and rescaling of horizontal boxes."""

import torch

from mtp_hf.modeling.ops_boxes import clip_boxes, rescale_boxes


def test_corners_outside_move_to_the_edges_of_the_image():
    boxes = torch.tensor([[-5.0, 3.0, 30.0, 50.0]])
    assert clip_boxes(boxes, (40, 20)).tolist() == [[0.0, 3.0, 20.0, 40.0]]


def test_boxes_inside_stay_as_they_are():
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert torch.equal(clip_boxes(boxes, (40, 20)), boxes)


def test_rows_of_one_box_per_class_are_clipped_box_by_box():
    rows = torch.randn(6, 12) * 40
    expected = torch.cat([clip_boxes(part, (40, 20)) for part in rows.split(4, dim=1)], dim=1)
    assert torch.equal(clip_boxes(rows, (40, 20)), expected)


def test_gradients_pass_through_clipping():
    boxes = torch.tensor([[1.0, 2.0, 30.0, 4.0]], requires_grad=True)
    clip_boxes(boxes, (40, 20)).sum().backward()
    assert boxes.grad.tolist() == [[1.0, 1.0, 0.0, 1.0]]


def test_boxes_scale_with_their_image_in_each_direction():
    boxes = torch.tensor([[2.0, 4.0, 6.0, 8.0]])
    assert rescale_boxes(boxes, (10, 20), (5, 40)).tolist() == [[4.0, 2.0, 12.0, 4.0]]


def test_rescaling_there_and_back_changes_nothing():
    boxes = torch.rand(50, 4) * 300
    there = rescale_boxes(boxes, (300, 200), (777, 123))
    torch.testing.assert_close(rescale_boxes(there, (777, 123), (300, 200)), boxes)


def test_no_boxes_give_no_boxes():
    empty = torch.zeros(0, 4)
    assert clip_boxes(empty, (4, 4)).shape == (0, 4)
    assert rescale_boxes(empty, (4, 4), (8, 8)).shape == (0, 4)


def test_half_precision_boxes_come_back_as_float32():
    assert clip_boxes(torch.ones(1, 4).half(), (4, 4)).dtype == torch.float32
    assert rescale_boxes(torch.ones(1, 4).half(), (4, 4), (8, 8)).dtype == torch.float32
