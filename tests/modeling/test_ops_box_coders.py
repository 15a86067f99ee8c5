"""Box coders: encoding against hand-made numbers, and round trips."""

import math

import pytest
import torch

from mtp_hf.modeling.ops_box_coders import (
    MAX_LOG_RATIO,
    DeltaXYWHCoder,
    DeltaXYWHTCoder,
    MidpointOffsetCoder,
)
from mtp_hf.modeling.ops_rotated_boxes import (
    regularize_rotated_boxes,
    rotated_boxes_to_boxes,
    wrap_angle,
)

PI = math.pi


def random_boxes(num_boxes):
    low = torch.rand(num_boxes, 2) * 200
    return torch.cat((low, low + 5 + torch.rand(num_boxes, 2) * 80), dim=1)


def random_rotated_boxes(num_boxes):
    values = torch.rand(num_boxes, 5) * torch.tensor([200, 200, 80, 80, PI])
    return regularize_rotated_boxes(values + torch.tensor([0, 0, 5, 5, -PI / 2]))


def assert_same_boxes(actual, expected):
    torch.testing.assert_close(actual[:, :4], expected[:, :4], rtol=1e-4, atol=5e-3)
    assert wrap_angle(actual[:, 4] - expected[:, 4]).abs().max() < 1e-3


def test_horizontal_deltas_are_shift_per_side_and_log_ratio_over_stds():
    reference, target = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 10]])
    deltas = DeltaXYWHCoder((0.1, 0.1, 0.2, 0.2)).encode(reference, target)
    expected = torch.tensor([[10.0, -2.5, math.log(2) / 0.2, -math.log(2) / 0.2]])
    torch.testing.assert_close(deltas, expected)


def test_horizontal_boxes_survive_the_round_trip():
    reference, target = random_boxes(200), random_boxes(200)
    coder = DeltaXYWHCoder((0.1, 0.1, 0.2, 0.2))
    back = coder.decode(reference, coder.encode(reference, target))
    torch.testing.assert_close(back, target, rtol=1e-4, atol=1e-3)


def test_sides_change_by_at_most_the_limit():
    boxes = DeltaXYWHCoder().decode(
        torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[0, 0, 99.0, -99]])
    )
    sides = boxes[0, 2:] - boxes[0, :2]
    torch.testing.assert_close(sides, torch.tensor([1000 / 16, 16 / 1000]))
    assert math.exp(MAX_LOG_RATIO) == pytest.approx(62.5)


def test_decoded_boxes_are_clipped_to_the_given_size():
    boxes = DeltaXYWHCoder().decode(torch.tensor([[0.0, 0, 9, 9]]), torch.zeros(1, 4), (5, 4))
    assert boxes.tolist() == [[0.0, 0.0, 4.0, 5.0]]


def test_deltas_of_several_classes_decode_class_by_class():
    reference, deltas = random_boxes(20), torch.randn(20, 12)
    coder = DeltaXYWHCoder((0.1, 0.1, 0.2, 0.2))
    expected = torch.cat([coder.decode(reference, part) for part in deltas.split(4, dim=1)], dim=1)
    torch.testing.assert_close(coder.decode(reference, deltas), expected)


def test_a_diamond_touches_the_middles_of_its_hull():
    diamond = torch.tensor([[10.0, 10, 8, 8, PI / 4]])
    deltas = MidpointOffsetCoder().encode(rotated_boxes_to_boxes(diamond), diamond)
    torch.testing.assert_close(deltas, torch.zeros(1, 6), rtol=0, atol=1e-5)


def test_an_upright_box_touches_the_right_top_and_the_right_bottom_corner():
    """Of the two extreme corners the one with the larger coordinate counts; 0.5 over its std."""
    box = torch.tensor([[10.0, 10, 8, 4, 0]])
    deltas = MidpointOffsetCoder().encode(rotated_boxes_to_boxes(box), box)
    torch.testing.assert_close(deltas, torch.tensor([[0.0, 0, 0, 0, 1, 1]]))


def test_corners_within_a_tenth_of_a_pixel_count_as_a_tie():
    box = torch.tensor([[10.0, 10, 8, 4, 0.01]])  # the top corners differ by 0.08 px
    offsets = MidpointOffsetCoder().encode(rotated_boxes_to_boxes(box), box)[0, 4:]
    assert (offsets > 0.98).all()


def test_midpoint_offsets_survive_the_round_trip():
    reference, target = random_boxes(300), random_rotated_boxes(300)
    target = target[(target[:, 4].remainder(PI / 2) - PI / 4).abs() < PI / 4 - 0.05]  # no ties
    reference = reference[: len(target)]
    coder = MidpointOffsetCoder()
    back = coder.decode(reference, coder.encode(reference, target))
    is_long = target[:, 2] > target[:, 3] * 1.02  # squares may come back turned
    assert_same_boxes(back[is_long], target[is_long])


def test_decoded_midpoint_offsets_are_le90_whatever_the_deltas():
    boxes = MidpointOffsetCoder().decode(random_boxes(200), torch.randn(200, 6) * 5)
    assert boxes.isfinite().all()
    assert (boxes[:, 2] >= boxes[:, 3]).all()
    assert ((boxes[:, 4] >= -PI / 2) & (boxes[:, 4] < PI / 2)).all()


def test_decoded_midpoint_offsets_are_not_clipped():
    reference = torch.tensor([[-50.0, -50, -10, -20]])
    coder, deltas = MidpointOffsetCoder(), torch.zeros(1, 6)
    assert torch.equal(coder.decode(reference, deltas, (8, 8)), coder.decode(reference, deltas))


def test_rotated_shift_is_measured_along_the_proposal():
    proposal = torch.tensor([[10.0, 10, 20, 4, PI / 2 - 1e-7]])  # long side down
    target = torch.tensor([[10.0, 20, 20, 4, PI / 2 - 1e-7]])
    deltas = DeltaXYWHTCoder((1.0,) * 5).encode(proposal, target)
    torch.testing.assert_close(deltas, torch.tensor([[0.5, 0, 0, 0, 0]]), rtol=0, atol=1e-5)


def test_rotated_sides_are_swapped_when_that_turns_less():
    proposal = torch.tensor([[0.0, 0, 10, 8, 0]])
    target = torch.tensor([[0.0, 0, 10, 8, PI / 2 - 0.1]])
    deltas = DeltaXYWHTCoder((1.0,) * 5).encode(proposal, target)
    expected = torch.tensor([[0, 0, math.log(8 / 10), math.log(10 / 8), -0.1]])
    torch.testing.assert_close(deltas, expected, rtol=0, atol=1e-5)


def test_rotated_targets_never_turn_by_more_than_an_eighth():
    deltas = DeltaXYWHTCoder((1.0,) * 5).encode(
        random_rotated_boxes(300), random_rotated_boxes(300)
    )
    assert deltas[:, 4].abs().max() <= PI / 4 + 1e-5


def test_rotated_boxes_survive_the_round_trip():
    proposal, target = random_rotated_boxes(300), random_rotated_boxes(300)
    coder = DeltaXYWHTCoder()
    assert_same_boxes(coder.decode(proposal, coder.encode(proposal, target)), target)


def test_rotated_centres_stay_on_pixels_of_the_given_size():
    proposals = torch.tensor([[-4.0, 3, 8, 2, 0], [90, 99, 8, 2, 0]])
    boxes = DeltaXYWHTCoder().decode(proposals, torch.zeros(2, 5), (50, 60))
    assert boxes[:, :2].tolist() == [[0.0, 3.0], [59.0, 49.0]]


CODERS = [
    (DeltaXYWHCoder(), random_boxes),
    (MidpointOffsetCoder(), random_boxes),
    (DeltaXYWHTCoder(), random_rotated_boxes),
]


@pytest.mark.parametrize(("coder", "references"), CODERS)
def test_decoding_carries_gradients_to_the_deltas(coder, references):
    deltas = torch.randn(20, coder.num_deltas, requires_grad=True)
    coder.decode(references(20), deltas * 0.1).sum().backward()
    assert deltas.grad.isfinite().all()
    assert deltas.grad.count_nonzero() > 0


@pytest.mark.parametrize(("coder", "references"), CODERS)
def test_no_boxes_encode_and_decode_to_nothing(coder, references):
    width = 4 if coder.num_deltas == 4 else 5
    deltas = coder.encode(references(0), torch.zeros(0, width))
    assert deltas.shape == (0, coder.num_deltas)
    assert coder.decode(references(0), deltas).shape == (0, width)


@pytest.mark.parametrize(("coder", "references"), CODERS)
def test_half_precision_deltas_are_decoded_in_float32(coder, references):
    deltas = torch.randn(4, coder.num_deltas).bfloat16()
    boxes = references(4)
    assert torch.equal(coder.decode(boxes, deltas), coder.decode(boxes, deltas.float()))
