"""Rotated boxes: convention, conversions, geometry, IoU and suppression."""

import math

import pytest
import torch
from torchvision.ops import box_iou, nms

from mtp_hf.modeling.ops_rotated_boxes import (
    batched_rotated_nms,
    boxes_to_rotated_boxes,
    flip_rotated_boxes,
    polygons_to_rotated_boxes,
    regularize_rotated_boxes,
    rescale_rotated_boxes,
    rotate_rotated_boxes,
    rotated_box_iou,
    rotated_boxes_to_boxes,
    rotated_boxes_to_polygons,
    rotated_nms,
    translate_rotated_boxes,
    wrap_angle,
)

PI = math.pi
# Pixels at coordinates up to 600 have a float32 spacing of 6e-5.
PIXELS = {"rtol": 0, "atol": 2e-3}


def random_rotated_boxes(num_boxes, extent=500, side=80):
    values = torch.rand(num_boxes, 5)
    scale = torch.tensor([extent, extent, side, side / 2, PI])
    shift = torch.tensor([0, 0, 4.0 + side / 2, 4, -PI / 2])
    return values * scale + shift  # le90 by construction


def assert_same_boxes(actual, expected):
    torch.testing.assert_close(actual[:, :4], expected[:, :4], **PIXELS)
    assert wrap_angle(actual[:, 4] - expected[:, 4]).abs().max() < 1e-4


def corner_sets(boxes):
    """Corners sorted along an arbitrary direction, so that their order does not matter."""
    points = rotated_boxes_to_polygons(boxes).view(-1, 4, 2)
    order = (points @ torch.tensor([1.0, 0.37])).argsort(1)
    return points.gather(1, order[..., None].expand(-1, -1, 2))


def test_a_positive_angle_turns_the_right_end_of_the_long_side_down():
    corners = rotated_boxes_to_polygons(torch.tensor([[10.0, 20, 8, 2, PI / 6]])).view(4, 2)
    right_end = (corners[0] + corners[1]) / 2
    expected = torch.tensor([10 + 4 * math.cos(PI / 6), 20 + 4 * math.sin(PI / 6)])
    torch.testing.assert_close(right_end, expected)


def test_corners_of_an_upright_box_come_in_the_order_of_the_drawing():
    corners = rotated_boxes_to_polygons(torch.tensor([[10.0, 20, 8, 2, 0]]))
    assert corners.tolist() == [[14.0, 21.0, 14.0, 19.0, 6.0, 19.0, 6.0, 21.0]]


def test_a_tall_box_becomes_a_long_one_turned_by_a_right_angle():
    box = regularize_rotated_boxes(torch.tensor([[0.0, 0, 2, 8, 0.25]]))
    torch.testing.assert_close(box, torch.tensor([[0, 0, 8, 2, 0.25 - PI / 2]]))


def test_regularized_boxes_are_le90_and_cover_the_same_corners():
    wild = random_rotated_boxes(300)[:, [0, 1, 3, 2, 4]] * torch.tensor([1, 1, 1, 1, 20])
    boxes = regularize_rotated_boxes(wild)
    assert (boxes[:, 2] >= boxes[:, 3]).all()
    assert ((boxes[:, 4] >= -PI / 2) & (boxes[:, 4] < PI / 2)).all()
    torch.testing.assert_close(corner_sets(boxes), corner_sets(wild), **PIXELS)


def test_wrapped_angles_never_reach_half_a_turn():
    angles = torch.cat((torch.tensor([PI / 2, -PI / 2, -PI / 2 - 1e-8]), torch.randn(999) * 50))
    wrapped = wrap_angle(angles)
    assert ((wrapped >= -PI / 2 - 1e-6) & (wrapped < PI / 2)).all()


def test_polygons_of_boxes_give_the_boxes_back():
    boxes = random_rotated_boxes(500)
    assert_same_boxes(polygons_to_rotated_boxes(rotated_boxes_to_polygons(boxes)), boxes)


def test_the_order_of_corners_does_not_change_the_rectangle():
    boxes = random_rotated_boxes(100)
    corners = rotated_boxes_to_polygons(boxes).view(-1, 4, 2)[:, torch.randperm(4)]
    assert_same_boxes(polygons_to_rotated_boxes(corners.flatten(1)), boxes)


def test_the_rectangle_around_any_four_points_is_the_smallest_one():
    shapely = pytest.importorskip("shapely", reason="shapely is the independent reference")
    points = torch.rand(60, 4, 2) * 100
    areas = polygons_to_rotated_boxes(points.flatten(1))[:, 2:4].prod(1)
    best = [shapely.MultiPoint(p.tolist()).minimum_rotated_rectangle.area for p in points]
    torch.testing.assert_close(areas, torch.tensor(best), rtol=1e-4, atol=1e-3)


def test_the_rectangle_around_any_four_points_holds_them():
    points = torch.rand(60, 4, 2) * 100
    cx, cy, w, h, angle = polygons_to_rotated_boxes(points.flatten(1))[..., None].unbind(1)
    x, y = points[..., 0] - cx, points[..., 1] - cy
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    assert (along.abs() <= w / 2 + 1e-3).all()
    assert (across.abs() <= h / 2 + 1e-3).all()


def test_coinciding_and_collinear_corners_give_flat_boxes():
    point = torch.tensor([[3.0, 4.0] * 4])
    line = torch.tensor([[0.0, 0, 2, 2, 4, 4, 1, 1]])
    boxes = polygons_to_rotated_boxes(torch.cat((point, line)))
    expected = torch.tensor([[3, 4, 0, 0, 0], [2, 2, 4 * 2**0.5, 0, PI / 4]])
    torch.testing.assert_close(boxes, expected, rtol=1e-5, atol=1e-5)


def test_the_hull_is_the_range_of_the_corners():
    boxes = random_rotated_boxes(200)
    corners = rotated_boxes_to_polygons(boxes).view(-1, 4, 2)
    expected = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    torch.testing.assert_close(rotated_boxes_to_boxes(boxes), expected, **PIXELS)


def test_upright_boxes_are_their_own_hulls():
    boxes = rotated_boxes_to_boxes(random_rotated_boxes(100))
    back = rotated_boxes_to_boxes(boxes_to_rotated_boxes(boxes))
    torch.testing.assert_close(back, boxes, **PIXELS)


def test_mirroring_left_and_right_mirrors_centre_and_angle():
    flipped = flip_rotated_boxes(torch.tensor([[10.0, 20, 8, 2, 0.5]]), (100, 60), "horizontal")
    assert flipped.tolist() == [[50.0, 20.0, 8.0, 2.0, -0.5]]


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_flipping_twice_changes_nothing(direction):
    boxes = random_rotated_boxes(200)
    twice = flip_rotated_boxes(
        flip_rotated_boxes(boxes, (512, 400), direction), (512, 400), direction
    )
    assert_same_boxes(twice, boxes)


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_flipped_boxes_have_the_flipped_corners(direction):
    boxes = random_rotated_boxes(50)
    corners = rotated_boxes_to_polygons(boxes).view(-1, 4, 2)
    if direction != "vertical":
        corners = torch.stack((400 - corners[..., 0], corners[..., 1]), dim=-1)
    if direction != "horizontal":
        corners = torch.stack((corners[..., 0], 512 - corners[..., 1]), dim=-1)
    expected = polygons_to_rotated_boxes(corners.flatten(1))
    assert_same_boxes(flip_rotated_boxes(boxes, (512, 400), direction), expected)


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="sideways"):
        flip_rotated_boxes(torch.zeros(0, 5), (4, 4), "sideways")


def test_a_quarter_turn_around_a_point_moves_right_to_below():
    turned = rotate_rotated_boxes(torch.tensor([[30.0, 10, 8, 2, 0.25]]), PI / 2, (10, 10))
    torch.testing.assert_close(turned, torch.tensor([[10, 30, 8, 2, 0.25 - PI / 2]]))


def test_turning_there_and_back_changes_nothing():
    boxes = random_rotated_boxes(100)
    back = rotate_rotated_boxes(rotate_rotated_boxes(boxes, 0.7, (99, 5)), -0.7, (99, 5))
    assert_same_boxes(back, boxes)


def test_shifted_boxes_keep_sides_and_angle():
    boxes = random_rotated_boxes(10)
    expected = boxes + torch.tensor([7.0, -3, 0, 0, 0])
    assert torch.equal(translate_rotated_boxes(boxes, 7, -3), expected)


def test_equal_scales_scale_corners():
    boxes = random_rotated_boxes(50)
    corners = rotated_boxes_to_polygons(boxes)
    expected = polygons_to_rotated_boxes(corners * 1.5)
    assert_same_boxes(rescale_rotated_boxes(boxes, (100, 200), (150, 300)), expected)


def test_a_flatter_image_flattens_the_long_side():
    box = torch.tensor([[40.0, 40, 20, 4, PI / 4]])
    rescaled = rescale_rotated_boxes(box, (100, 100), (50, 100))
    torch.testing.assert_close(rescaled[0, :2], torch.tensor([40.0, 20.0]))
    assert rescaled[0, 4].item() == pytest.approx(math.atan2(0.5, 1))


def test_a_square_and_its_eighth_turn_overlap_in_an_octagon():
    boxes = torch.tensor([[5.0, 5, 2, 2, 0], [5, 5, 2, 2, PI / 4]])
    octagon = 8 * (2**0.5 - 1)  # of inradius 1
    expected = octagon / (8 - octagon)
    assert rotated_box_iou(boxes[:1], boxes[1:]).item() == pytest.approx(expected, abs=1e-6)


def test_upright_boxes_overlap_like_horizontal_ones():
    boxes = rotated_boxes_to_boxes(random_rotated_boxes(80))
    rotated = boxes_to_rotated_boxes(boxes)
    torch.testing.assert_close(
        rotated_box_iou(rotated, rotated), box_iou(boxes, boxes), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("turn", [0.0, PI, -PI])
def test_iou_is_one_for_a_box_and_itself_turned_around(turn):
    boxes = random_rotated_boxes(300)
    iou = rotated_box_iou(boxes, boxes + torch.tensor([0, 0, 0, 0, turn])).diagonal()
    torch.testing.assert_close(iou, torch.ones(300), rtol=0, atol=2e-5)


def test_iou_is_one_for_the_same_box_with_swapped_sides():
    boxes = random_rotated_boxes(300)
    swapped = boxes[:, [0, 1, 3, 2, 4]] + torch.tensor([0, 0, 0, 0, PI / 2])
    iou = rotated_box_iou(boxes, swapped).diagonal()
    torch.testing.assert_close(iou, torch.ones(300), rtol=0, atol=2e-5)


def test_iou_is_symmetric():
    boxes = random_rotated_boxes(150, extent=200)
    iou = rotated_box_iou(boxes, boxes)
    torch.testing.assert_close(iou, iou.T, rtol=0, atol=1e-5)


def test_iou_does_not_change_when_everything_turns():
    boxes = random_rotated_boxes(100, extent=200)
    turned = rotate_rotated_boxes(boxes, 0.9, (100, 100))
    expected = rotated_box_iou(boxes, boxes)
    torch.testing.assert_close(rotated_box_iou(turned, turned), expected, rtol=0, atol=2e-5)


def test_iou_equals_the_area_of_polygon_clipping():
    shapely = pytest.importorskip("shapely", reason="shapely is the independent reference")
    boxes = random_rotated_boxes(40, extent=100)
    shapes = [shapely.Polygon(p.view(4, 2).tolist()) for p in rotated_boxes_to_polygons(boxes)]
    expected = torch.tensor(
        [[a.intersection(b).area / a.union(b).area for b in shapes] for a in shapes]
    )
    torch.testing.assert_close(rotated_box_iou(boxes, boxes), expected, rtol=0, atol=1e-5)


def test_iou_equals_the_kernel_of_torchvision_where_boxes_differ():
    boxes1, boxes2 = random_rotated_boxes(200), random_rotated_boxes(150)
    to_degrees = torch.tensor([1, 1, 1, 1, -180 / PI])
    expected = box_iou(boxes1 * to_degrees, boxes2 * to_degrees, fmt="cxcywhr")
    torch.testing.assert_close(rotated_box_iou(boxes1, boxes2), expected, rtol=0, atol=1e-5)


def test_boxes_without_area_have_finite_overlaps():
    flat = torch.tensor([[5.0, 5, 0, 0, 0], [5, 5, 10, 0, 0.3]])
    iou = rotated_box_iou(flat, torch.cat((flat, random_rotated_boxes(5))))
    assert iou.isfinite().all()
    torch.testing.assert_close(iou[:, :2].diagonal(), torch.ones(2), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("num1", "num2"), [(0, 3), (3, 0), (0, 0)])
def test_iou_of_no_boxes_has_the_right_shape(num1, num2):
    iou = rotated_box_iou(random_rotated_boxes(num1), random_rotated_boxes(num2))
    assert iou.shape == (num1, num2)


def test_iou_carries_no_gradient_and_is_float32_in_autocast():
    boxes = random_rotated_boxes(3).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        iou = rotated_box_iou(boxes, boxes)
    assert iou.dtype == torch.float32
    assert not iou.requires_grad


def greedy(boxes, scores, threshold):
    """The definition, box by box."""
    iou, keep = rotated_box_iou(boxes, boxes), []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if all(iou[i, j] <= threshold for j in keep):
            keep.append(i)
    return keep


def test_a_suppressed_box_suppresses_nothing():
    """The second overlaps both others, which do not overlap each other."""
    boxes = torch.tensor([[0.0, 0, 10, 4, 0], [6, 0, 10, 4, 0], [12, 0, 10, 4, 0]])
    assert rotated_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.2).tolist() == [0, 2]


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_suppression_is_the_greedy_definition(threshold):
    boxes, scores = random_rotated_boxes(300, extent=150), torch.rand(300)
    keep = rotated_nms(boxes, scores, threshold)
    assert keep.tolist() == greedy(boxes, scores, threshold)


def test_suppression_of_upright_boxes_is_that_of_torchvision():
    boxes = rotated_boxes_to_boxes(random_rotated_boxes(300, extent=150))
    scores = torch.rand(300)
    keep = rotated_nms(boxes_to_rotated_boxes(boxes), scores, 0.4)
    assert keep.tolist() == nms(boxes, scores, 0.4).tolist()


def test_a_long_chain_of_overlaps_is_decided_in_order():
    boxes = torch.zeros(101, 5) + torch.tensor([0.0, 0, 10, 4, 0])
    boxes[:, 0] = torch.arange(101) * 5
    keep = rotated_nms(boxes, -torch.arange(101.0), 0.2)
    assert keep.tolist() == list(range(0, 101, 2))


def test_equal_scores_keep_the_first_of_equal_boxes():
    boxes = random_rotated_boxes(1).repeat(4, 1)
    assert rotated_nms(boxes, torch.full((4,), 0.5), 0.5).tolist() == [0]


def test_classes_do_not_suppress_each_other():
    boxes, scores = random_rotated_boxes(200, extent=100), torch.rand(200)
    labels = torch.randint(5, (200,))
    keep = batched_rotated_nms(boxes, scores, labels, 0.2)
    one_by_one = torch.cat(
        [
            index[rotated_nms(boxes[index], scores[index], 0.2)]
            for index in ((labels == k).nonzero().squeeze(1) for k in range(5))
        ]
    )
    expected = one_by_one[scores[one_by_one].argsort(descending=True)]
    assert keep.tolist() == expected.tolist()


@pytest.mark.parametrize("num_boxes", [0, 1])
def test_fewer_than_two_boxes_are_all_kept(num_boxes):
    keep = rotated_nms(random_rotated_boxes(num_boxes), torch.ones(num_boxes), 0.5)
    assert keep.tolist() == list(range(num_boxes))


@pytest.mark.parametrize(
    ("convert", "width", "result_width"),
    [
        (regularize_rotated_boxes, 5, 5),
        (rotated_boxes_to_polygons, 5, 8),
        (polygons_to_rotated_boxes, 8, 5),
        (rotated_boxes_to_boxes, 5, 4),
        (boxes_to_rotated_boxes, 4, 5),
    ],
)
def test_conversions_of_no_boxes_have_the_right_shape(convert, width, result_width):
    assert convert(torch.zeros(0, width)).shape == (0, result_width)
