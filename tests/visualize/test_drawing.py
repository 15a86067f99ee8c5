import math

import numpy as np
import pytest
from PIL import Image

from mtp_hf.visualize.drawing import (
    NamePlates,
    draw_boxes,
    draw_polygons,
    draw_rotated_boxes,
    enlarge,
    ink_on,
    overlay_masks,
    overlay_semantic_map,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)
PALETTE = np.array([RED, GREEN], dtype=np.uint8)


def canvas(height=40, width=60, color="black"):
    return Image.new("RGB", (width, height), color)


def pixels(picture):
    return np.asarray(picture)


def test_enlarged_image_keeps_its_colors_and_order_of_axes():
    image = np.zeros((3, 4, 6), dtype=np.uint8)
    image[0, :, 3:] = 200
    picture = enlarge(image, 4)
    assert picture.size == (24, 16)
    assert picture.getpixel((23, 0)) == (200, 0, 0)
    assert picture.getpixel((0, 15)) == (0, 0, 0)
    np.testing.assert_array_equal(pixels(enlarge(image, 1)), image.transpose(1, 2, 0))


def test_classes_are_tinted_background_stays_and_ignored_pixels_darken():
    semantic_map = np.array([[0, 1], [2, 255]])
    tinted = pixels(overlay_semantic_map(canvas(2, 2, "white"), semantic_map, PALETTE, alpha=0.5))
    assert tinted[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(tinted[0, 1], [255, 127, 127], atol=1)
    np.testing.assert_allclose(tinted[1, 0], [127, 255, 127], atol=1)
    np.testing.assert_allclose(tinted[1, 1], [127, 127, 127], atol=1)


def test_map_grows_with_the_canvas_without_blur():
    tinted = overlay_semantic_map(
        canvas(8, 8, "white"), np.array([[0, 1], [0, 0]]), PALETTE, alpha=1.0
    )
    expected = np.full((8, 8, 3), 255)
    expected[:4, 4:] = RED
    np.testing.assert_array_equal(pixels(tinted), expected)


def test_masks_have_a_full_outline_and_a_pale_inside():
    masks = np.zeros((1, 10, 15), dtype=bool)
    masks[0, 2:8, 3:12] = True
    tinted = pixels(overlay_masks(canvas(40, 60), masks, [RED], alpha=0.4))
    assert tinted[8, 20].tolist() == [255, 0, 0]  # first row of the mask: 2 * 4
    np.testing.assert_allclose(tinted[20, 30], [102, 0, 0], atol=1)
    assert tinted[4, 4].tolist() == [0, 0, 0]


def test_later_masks_cover_earlier_ones():
    masks = np.ones((2, 10, 15), dtype=bool)
    assert pixels(overlay_masks(canvas(), masks, [RED, GREEN], alpha=1.0))[20, 30].tolist() == [
        0,
        255,
        0,
    ]


def test_no_mask_changes_nothing():
    picture = canvas()
    assert overlay_masks(picture, np.zeros((0, 10, 15), dtype=bool), [], alpha=0.5) is picture


def test_pixels_on_the_edge_of_a_box_have_the_color_of_its_class():
    picture = canvas()
    corners = draw_boxes(picture, np.array([[2.0, 3.0, 12.0, 8.0]]), [RED], scale=4)
    drawn = pixels(picture)
    assert drawn[12, 8].tolist() == [255, 0, 0]  # upper left
    assert drawn[31, 47].tolist() == [255, 0, 0]  # lower right, the last pixel inside
    assert drawn[20, 8].tolist() == drawn[12, 30].tolist() == [255, 0, 0]
    assert drawn[20, 30].tolist() == drawn[33, 50].tolist() == [0, 0, 0]
    assert corners == [(8.0, 12.0)]


def test_empty_boxes_are_drawn_as_points():
    picture = canvas()
    draw_boxes(picture, np.array([[5.0, 5.0, 5.0, 5.0]]), [RED], scale=2)
    assert pixels(picture)[10, 10].tolist() == [255, 0, 0]


def test_turned_box_marks_the_side_that_its_angle_points_to():
    picture = canvas()
    # Angle 0 points right: the right side is thick.
    corners = draw_rotated_boxes(picture, np.float32([[15, 10, 20, 10, 0]]), [RED], scale=2)
    drawn = pixels(picture)[:, :, 0] == 255
    right, left = drawn[20, 44:60].sum(), drawn[20, :16].sum()
    assert right == 5
    assert 1 <= left <= 3
    assert drawn[10, 30]
    assert drawn[30, 30]
    assert not drawn[20, 30]
    assert corners[0][1] == pytest.approx(10)


def test_positive_angles_turn_clockwise_on_the_screen():
    picture = canvas(60, 60)
    draw_rotated_boxes(picture, np.float32([[30, 30, 40, 6, math.pi / 4]]), [RED], scale=1)
    drawn = pixels(picture)[:, :, 0] > 0
    assert drawn[42:47, 42:47].any()  # the right end hangs down
    assert not drawn[13:18, 42:47].any()


def test_no_box_draws_nothing():
    picture = canvas()
    assert draw_boxes(picture, np.zeros((0, 4)), [], scale=1) == []
    assert draw_rotated_boxes(picture, np.zeros((0, 5), np.float32), [], scale=1) == []
    assert not pixels(picture).any()


def test_name_plates_never_overlap():
    plates = NamePlates(canvas(100, 200))
    written = [plates.write("ship 0.50", (60.0, 50.0), RED) for _ in range(8)]
    assert written[0]
    assert not written[-1]
    assert len(plates.taken) == sum(written) >= 2
    for number, first in enumerate(plates.taken):
        for second in plates.taken[:number]:
            assert (
                first[2] <= second[0]
                or second[2] <= first[0]
                or first[3] <= second[1]
                or second[3] <= first[1]
            )


@pytest.mark.parametrize("corner", [(-50.0, -50.0), (199.0, 99.0), (199.0, 0.0)])
def test_names_stay_inside_the_picture(corner):
    plates = NamePlates(canvas(100, 200))
    assert plates.write("harbor", corner, RED)
    left, top, right, bottom = plates.taken[0]
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 100


def test_names_are_legible_letters_on_a_plate_of_the_class_color():
    picture = canvas(40, 120)
    NamePlates(picture).write("harbor", (10.0, 30.0), GREEN)
    colors = {tuple(color) for color in pixels(picture)[14:30, 10:40].reshape(-1, 3).tolist()}
    assert GREEN in colors
    assert (0, 0, 0) in colors


def test_letters_contrast_with_their_plate():
    assert ink_on((255, 255, 0)) == (0, 0, 0)
    assert ink_on((0, 0, 200)) == (255, 255, 255)


def test_a_polygon_is_drawn_as_it_is_with_its_first_side_thick():
    picture = canvas(60, 60)
    corners = draw_polygons(picture, np.array([[10, 10, 50, 20, 40, 50, 20.0, 40]]), [RED])
    drawn = pixels(picture)[:, :, 0] > 0
    assert drawn[13:18, 30].sum() > drawn[43:48, 30].sum() >= 2
    assert not drawn[30, 30]
    assert corners == [(10.0, 10.0)]
    assert draw_polygons(picture, np.zeros((0, 8)), []) == []
