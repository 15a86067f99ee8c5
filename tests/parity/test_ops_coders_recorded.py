"""Box coders, conversions and geometry against the recorded results of the original."""

import math

import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.ops_box_coders import DeltaXYWHCoder, DeltaXYWHTCoder, MidpointOffsetCoder
from mtp_hf.modeling.ops_rotated_boxes import (
    boxes_to_rotated_boxes,
    flip_rotated_boxes,
    polygons_to_rotated_boxes,
    regularize_rotated_boxes,
    rescale_rotated_boxes,
    rotate_rotated_boxes,
    rotated_boxes_to_boxes,
    rotated_boxes_to_polygons,
    translate_rotated_boxes,
    wrap_angle,
)

# "1e-4 relative": of the value, but not of coordinates that happen to be near 0.
RELATIVE = 1e-4
SIZE = (512, 512)
ROI_STDS = (0.1, 0.1, 0.2, 0.2)


@pytest.fixture(scope="module", params=["committed", "full"])
def recorded(request, fixtures_dir):
    if request.param == "committed":
        return load_file(fixtures_dir / "ops_coders.safetensors")
    return load_file(request.getfixturevalue("shared_dir") / "fixtures" / "ops_coders.safetensors")


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=RELATIVE, atol=RELATIVE)


def assert_same_boxes(actual, expected):
    """Compare angles modulo pi, and centres relative to the size of the box."""
    scale = expected[:, 2:4].amax(1, keepdim=True).clamp(min=1)
    assert_close(actual[:, :2] / scale, expected[:, :2] / scale)
    assert_close(actual[:, 2:4], expected[:, 2:4])
    assert wrap_angle(actual[:, 4] - expected[:, 4]).abs().max() < RELATIVE


def test_midpoint_offsets_encode_as_recorded(recorded):
    deltas = MidpointOffsetCoder().encode(recorded["hboxes"], recorded["gt_rboxes"])
    assert_close(deltas, recorded["midpoint/encoded"])


def test_midpoint_offsets_decode_random_deltas_as_recorded(recorded):
    boxes = MidpointOffsetCoder().decode(recorded["hboxes"], recorded["midpoint/deltas"])
    assert_same_boxes(boxes, recorded["midpoint/decoded"])


def test_midpoint_offsets_decode_encoded_boxes_as_recorded(recorded):
    boxes = MidpointOffsetCoder().decode(recorded["hboxes"], recorded["midpoint/encoded"])
    assert_same_boxes(boxes, recorded["midpoint/decoded_of_encoded"])


def test_rotated_deltas_encode_as_recorded(recorded):
    deltas = DeltaXYWHTCoder().encode(recorded["rproposals"], recorded["gt_rboxes"])
    assert_close(deltas, recorded["xywht/encoded"])


@pytest.mark.parametrize(
    ("deltas", "decoded", "size"),
    [("deltas", "decoded", SIZE), ("encoded", "decoded_of_encoded", None)],
)
def test_rotated_deltas_decode_as_recorded(recorded, deltas, decoded, size):
    boxes = DeltaXYWHTCoder().decode(recorded["rproposals"], recorded[f"xywht/{deltas}"], size)
    assert_same_boxes(boxes, recorded[f"xywht/{decoded}"])


@pytest.mark.parametrize(("name", "stds"), [("rpn", (1.0,) * 4), ("roi", ROI_STDS)])
def test_horizontal_deltas_encode_and_decode_as_recorded(recorded, name, stds):
    coder = DeltaXYWHCoder(stds)
    encoded = coder.encode(recorded["hboxes"], recorded["gt_hboxes"])
    assert_close(encoded, recorded[f"xywh/{name}/encoded"])
    decoded = coder.decode(recorded["hboxes"], recorded[f"xywh/{name}/deltas"], (512, 480))
    assert_close(decoded, recorded[f"xywh/{name}/decoded"])


def test_horizontal_deltas_of_three_classes_decode_as_recorded(recorded):
    deltas = recorded["xywh/roi/deltas_3classes"]
    decoded = DeltaXYWHCoder(ROI_STDS).decode(recorded["hboxes"], deltas, (512, 480))
    assert_close(decoded, recorded["xywh/roi/decoded_3classes"])


def test_conversions_of_rotated_boxes_are_as_recorded(recorded):
    boxes = recorded["gt_rboxes"]
    assert_close(rotated_boxes_to_polygons(boxes), recorded["convert/qbox_of_rbox"])
    assert_close(rotated_boxes_to_boxes(boxes), recorded["convert/hbox_of_rbox"])


def test_regularized_boxes_are_as_recorded(recorded):
    actual = regularize_rotated_boxes(recorded["convert/wild_rbox"])
    assert_same_boxes(actual, recorded["convert/regularized_le90"])


def test_upright_boxes_convert_as_recorded_up_to_an_edge_swap(recorded):
    expected = regularize_rotated_boxes(recorded["convert/rbox_of_hbox"])
    assert_same_boxes(boxes_to_rotated_boxes(recorded["hboxes"]), expected)


def test_rectangles_come_back_from_their_corners_as_recorded_up_to_an_edge_swap(recorded):
    actual = polygons_to_rotated_boxes(recorded["convert/qbox_of_rbox"])
    assert_same_boxes(actual, regularize_rotated_boxes(recorded["convert/rbox_of_qbox"]))


@pytest.mark.parametrize("kind", ["noisy_qbox", "integer_qbox"])
def test_rectangles_around_other_polygons_are_the_recorded_ones_or_equally_small(recorded, kind):
    """Two sides of a quadrilateral can give the same area; which one wins is rounding."""
    actual = polygons_to_rotated_boxes(recorded[f"convert/{kind}"])
    expected = regularize_rotated_boxes(recorded[f"convert/rbox_of_{kind}"])
    torch.testing.assert_close(
        actual[:, 2] * actual[:, 3], expected[:, 2] * expected[:, 3], rtol=1e-5, atol=0
    )
    same = (actual - expected)[:, :2].abs().amax(1) < 1e-2
    assert same.float().mean() > 0.9
    assert_same_boxes(actual[same], expected[same])


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_flips_are_as_recorded(recorded, direction):
    actual = flip_rotated_boxes(recorded["gt_rboxes"], (512, 400), direction)
    assert_same_boxes(actual, recorded[f"geometry/flip_{direction}"])


def test_shifts_are_as_recorded(recorded):
    actual = translate_rotated_boxes(recorded["gt_rboxes"], 7, -3)
    assert_same_boxes(actual, recorded["geometry/translate_7_-3"])


def test_turns_are_as_recorded(recorded):
    actual = rotate_rotated_boxes(recorded["gt_rboxes"], math.radians(30), (256, 200))
    assert_same_boxes(actual, recorded["geometry/rotate_30_about_256_200"])


def test_rescaled_boxes_have_the_recorded_centres_and_sides(recorded):
    """Not the recorded angles: the original turns boxes the wrong way under unequal scales."""
    actual = rescale_rotated_boxes(recorded["gt_rboxes"], (100, 100), (75, 150))
    expected = regularize_rotated_boxes(recorded["geometry/rescale_1.5_0.75"])
    assert_close(actual[:, :4], expected[:, :4])
