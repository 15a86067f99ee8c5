import math

import numpy as np
import pytest
import torch

from mtp_hf.data.geometry import flip
from mtp_hf.data.geometry_rotation import rotate, turn_quarters
from mtp_hf.data.masks import MapView, decode_map
from mtp_hf.modeling.ops_rotated_boxes import polygons_to_rotated_boxes, rotate_rotated_boxes


def _noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))


def _pair(height, width):
    image = _noise(height, width)
    return {"image": image, "image_post": 255 - image, "change_labels": image[0] % 2}


def test_a_positive_quarter_turns_clockwise_on_the_screen():
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    image[:, 0, 0] = 1  # top left goes to top right
    assert rotate({"image": image}, 90.0)["image"][0].nonzero().tolist() == [[0, 3]]
    assert turn_quarters({"image": image}, 1)["image"][0].nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize("angle", [-180.0, -90.0, 0.0, 90.0, 180.0, 270.0])
@pytest.mark.parametrize("size", [(6, 6), (5, 5), (4, 8), (7, 3)])
def test_quarter_turns_move_pixels_exactly(angle, size):
    """Sides that differ by an even number of pixels: the turned image, cut to the canvas."""
    pair = _pair(*size)
    out = rotate(pair, angle)
    turned = turn_quarters(pair, int(angle // 90))
    height, width = size
    found, expected = out["image"], turned["image"]
    if expected.shape[1:] != size:
        side = min(size)
        top, left = ((length - side) // 2 for length in size)
        found = found[:, top : top + side, left : left + side]
        top, left = ((length - side) // 2 for length in size[::-1])
        expected = expected[:, top : top + side, left : left + side]
        assert (out["change_labels"] == 255).sum() == height * width - side * side
    else:
        assert torch.equal(out["change_labels"], turned["change_labels"])
    assert torch.equal(found, expected)


def test_four_quarters_and_two_halves_do_nothing():
    pair = _pair(5, 8)
    for out in (turn_quarters(pair, 4), turn_quarters(turn_quarters(pair, 3), 1)):
        for key, value in pair.items():
            assert torch.equal(out[key], value)


def test_a_half_turn_is_a_diagonal_flip():
    pair = _pair(5, 8)
    flipped = flip(pair, "diagonal")
    for out in (rotate(pair, 180.0), turn_quarters(pair, 2)):
        assert torch.equal(out["image"], flipped["image"])
        assert torch.equal(out["change_labels"], decode_map(flipped["change_labels"]))


def test_outside_is_black_in_pictures_and_ignored_in_maps():
    pair = {
        "image": torch.full((3, 20, 20), 200, dtype=torch.uint8),
        "image_post": torch.full((3, 20, 20), 100, dtype=torch.uint8),
        "change_labels": torch.ones(20, 20, dtype=torch.uint8),
    }
    out = rotate(pair, 45.0)
    assert (out["image"][:, 0, 0] == 0).all()
    assert (out["image_post"][:, 0, 0] == 0).all()
    assert out["change_labels"][0, 0] == 255
    assert out["change_labels"][10, 10] == 1
    assert set(out["change_labels"].unique().tolist()) == {1, 255}


@pytest.mark.parametrize("angle", [7.3, -20.0, 133.0])
@pytest.mark.parametrize("size", [(40, 40), (30, 52)])
def test_maps_turn_with_their_pictures(angle, size):
    """A picture of its own map: where the map says 1 the picture is white, up to the border."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    labels = torch.from_numpy(((x // 12 + y // 12) % 2).astype(np.uint8))
    picture = (labels * 255).expand(3, -1, -1).contiguous()
    out = rotate({"image": picture, "semantic_labels": labels}, angle)
    map_, gray = out["semantic_labels"], out["image"][0]
    # Nearest takes the pixel with the largest weight of the four that bilinear blends, at least a
    # quarter; beside the border the weights of both classes may be near to a half.
    assert (gray[map_ == 1] >= 63).all()
    assert (gray[map_ == 0] <= 192).all()
    assert (gray[map_ == 1] == 255).float().mean() > 0.6
    assert (gray[map_ == 0] == 0).float().mean() > 0.6


@pytest.mark.parametrize("angle", [30.0, -75.0, 90.0, 180.0])
def test_polygons_turn_as_rotated_boxes_do(angle):
    polygons = torch.tensor([[20.0, 20, 34, 24, 32, 30, 18, 26], [30, 25, 40, 25, 40, 29, 30, 29]])
    sample = {
        "image": torch.zeros(3, 50, 60, dtype=torch.uint8),
        "polygons": polygons,
        "rotated_class_labels": torch.tensor([1, 2]),
    }
    out = rotate(sample, angle)
    expected = rotate_rotated_boxes(
        polygons_to_rotated_boxes(polygons), math.radians(angle), (30.0, 25.0)
    )
    # Pixels up to 60 in float32; both rectangles are fitted anew.
    torch.testing.assert_close(
        polygons_to_rotated_boxes(out["polygons"]), expected, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("angle", [0.0, 90.0, 17.0, 64.5, 180.0, -111.0])
def test_objects_stay_on_their_pixels(angle, draw_scene):
    """A drawn polygon is turned with the picture: the turned corners enclose its colour."""
    row = draw_scene(1, size=(96, 96), num_objects=1)
    image = torch.from_numpy(np.array(row["image"])).permute(2, 0, 1)
    polygons = torch.tensor(row["rotated_objects"]["polygon"])
    sample = {"image": image, "polygons": polygons, "rotated_class_labels": torch.tensor([0])}
    # Moved to the middle, so that no part leaves the image.
    shift = (torch.tensor([48.0, 48.0]) - polygons.reshape(4, 2).mean(0)).round().int().tolist()
    sample["image"] = image.roll((shift[1], shift[0]), dims=(1, 2))
    sample["polygons"] = polygons + torch.tensor(shift * 4)
    out = rotate(sample, angle)
    cx, cy, w, h, theta = polygons_to_rotated_boxes(out["polygons"])[0].tolist()
    y, x = np.mgrid[0:96, 0:96] + 0.5
    along = np.abs((x - cx) * np.cos(theta) + (y - cy) * np.sin(theta)) - w / 2
    across = np.abs((y - cy) * np.cos(theta) - (x - cx) * np.sin(theta)) - h / 2
    distance = np.maximum(along, across)
    painted = out["image"][0].numpy() > 127
    # Drawn on pixel centres and interpolated: half a pixel of both, along the diagonal.
    assert painted[distance < -(2**0.5)].all()
    assert not painted[distance > 2**0.5].any()


def test_objects_whose_centre_leaves_the_image_are_dropped():
    polygons = torch.tensor([[0.0, 0, 6, 0, 6, 4, 0, 4], [28, 28, 34, 28, 34, 32, 28, 32]])
    sample = {
        "image": torch.zeros(3, 60, 60, dtype=torch.uint8),
        "polygons": polygons,
        "rotated_class_labels": torch.tensor([1, 2]),
        "rotated_difficult": torch.tensor([0, 1]),
    }
    out = rotate(sample, 45.0)
    assert out["rotated_class_labels"].tolist() == [2]
    assert out["rotated_difficult"].tolist() == [1]
    assert len(rotate(sample, 90.0)["polygons"]) == 2


def test_input_is_left_alone_and_views_are_decoded():
    labels = torch.arange(16, dtype=torch.uint8).reshape(4, 4)
    view = MapView(labels, np.array([1, 2]), np.array([0, 1]))
    sample = {"image": _noise(2, 2), "change_labels": view}
    out = turn_quarters(sample, 1)
    assert out["change_labels"].tolist() == [[8, 4], [9, 5]]
    assert sample["change_labels"] is view


def test_what_cannot_be_turned_is_an_error():
    boxed = {"image": _noise(4, 4), "boxes": torch.zeros(0, 4)}
    for turn in (lambda: rotate(boxed, 5.0), lambda: turn_quarters(boxed, 1)):
        with pytest.raises(ValueError, match="horizontal boxes"):
            turn()
    with pytest.raises(ValueError, match="polygons"):
        turn_quarters({"image": _noise(4, 4), "polygons": torch.zeros(0, 8)}, 1)


def test_a_map_of_another_size_than_the_picture_is_not_rotated():
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"change_labels is \(8, 8\), the image \(4, 4\)"):
        rotate({"image": _noise(4, 4), "change_labels": labels}, 5.0)
