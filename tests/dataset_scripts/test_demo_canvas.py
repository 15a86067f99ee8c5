"""Painting tools: frames, shapes, exact masks, markings and shadows."""

import numpy as np
import pytest

from mtp_hf.dataset_scripts._demo_canvas import (
    Canvas,
    Pose,
    ellipse,
    place,
    rectangle,
    rounded,
    shade,
    smooth_noise,
    stroke,
)

GRAY = ((100, 100, 100), (100, 100, 100), (100, 100, 100))


def canvas(size: int = 32, extent: float = 32) -> Canvas:
    return Canvas(np.random.default_rng(0), size, extent)


def area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_a_quarter_turn_is_clockwise_on_the_screen():
    # x points right, y down: turning right by 90 degrees leads from +x to +y.
    np.testing.assert_allclose(
        place(np.array([(1.0, 0.0)]), Pose(5, 7, np.pi / 2)), [(5, 8)], atol=1e-12
    )


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, -2.0])
def test_placing_keeps_lengths(angle):
    moved = place(rectangle(-3, -1, 3, 1), Pose(10, 20, angle))
    sides = np.linalg.norm(np.roll(moved, -1, axis=0) - moved, axis=1)
    np.testing.assert_allclose(sides, [6, 2, 6, 2])
    np.testing.assert_allclose(moved.mean(axis=0), (10, 20))


def test_rectangles_run_clockwise_from_the_top_left():
    assert rectangle(1, 2, 3, 4).tolist() == [[1, 2], [3, 2], [3, 4], [1, 4]]


def test_shapes_have_the_extent_they_are_asked_for():
    for points, width, height in (
        (ellipse(0, 0, 5, 3), 10, 6),
        (rounded(10, 6, 2), 10, 6),
        (stroke((-5, 0), (5, 0), 6), 10, 6),
    ):
        np.testing.assert_allclose(np.ptp(points, axis=0), (width, height), atol=0.05)


def test_rounded_corners_cut_a_little_off():
    assert 10 * 6 - 4 * 4 < area(rounded(10, 6, 2)) < 10 * 6


def test_shade_darkens_below_one_and_brightens_above():
    assert shade((100, 200, 0), 0.5) == (50, 100, 0)
    assert shade((100, 200, 0), 1.0) == (100, 200, 0)
    assert shade((100, 200, 0), 2.0) == (255, 255, 255)


def test_noise_has_mean_zero_and_deviation_one():
    noise = smooth_noise(np.random.default_rng(0), 64, (3, 9))
    assert abs(float(noise.mean())) < 1e-4
    assert abs(float(noise.std()) - 1) < 1e-3


@pytest.mark.parametrize(("size", "extent"), [(32, 32), (64, 32), (48, 60)])
def test_a_mask_covers_the_pixels_of_its_polygon(size, extent):
    scale = size / extent
    mask = canvas(size, extent).mask([rectangle(8, 4, 24, 12) / scale])
    expected = np.zeros((size, size), bool)
    expected[4:12, 8:24] = True
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.5])
def test_the_area_of_a_mask_is_that_of_its_polygon(angle):
    mask = canvas(64, 64).mask([place(rectangle(-20, -8, 20, 8), Pose(32, 32, angle))])
    assert abs(mask.sum() - 640) < 0.03 * 640


def test_several_polygons_of_a_mask_are_united():
    tools = canvas()
    parts = [rectangle(2, 2, 8, 8), rectangle(6, 6, 12, 12)]
    both = tools.mask(parts)
    assert np.array_equal(both, tools.mask(parts[:1]) | tools.mask(parts[1:]))


def test_ground_kinds_follow_the_polygons_filled_last():
    tools = canvas()
    tools.fill_ground(1, tools.texture(GRAY))
    tools.fill_ground(2, tools.texture(GRAY), [rectangle(0, 0, 16, 32)])
    tools.fill_ground(3, tools.texture(GRAY), [rectangle(0, 0, 8, 32)])
    assert np.unique(tools.ground, return_counts=True)[1].tolist() == [16 * 32, 8 * 32, 8 * 32]


def test_sprites_lie_on_shadows_on_markings_on_the_ground():
    tools = canvas()
    tools.fill_ground(0, tools.texture(GRAY))
    tools.add_marking(rectangle(0, 0, 32, 16), (250, 0, 0))
    tools.add_shadow([rectangle(-4, -4, 4, 4)], Pose(16, 8, 0), np.array([8.0, 0.0]))
    tools.start_painting(shadow_strength=0.9)
    tools.paint([(rectangle(-4, -4, 4, 4), (0, 0, 250))], Pose(16, 8, 0))
    pixels = np.asarray(tools.finish()).astype(int)
    assert pixels[8, 4, 0] > 200 > pixels[8, 4, 2]  # marking
    assert pixels[8, 16, 2] > 200 > pixels[8, 16, 0]  # sprite hides the shadow at its foot
    assert pixels[8, 24].max() < 90  # shadow beside it, on the marking
    assert abs(pixels[26].mean() - 105) < 25  # ground


def test_a_shadow_falls_away_from_the_sprite():
    tools = canvas()
    tools.fill_ground(0, tools.texture(GRAY))
    tools.add_shadow([rectangle(-2, -2, 2, 2)], Pose(16, 16, 0), np.array([0.0, 9.0]))
    tools.start_painting(shadow_strength=0.9)
    pixels = np.asarray(tools.finish()).astype(int).sum(axis=2)
    assert pixels[24, 16] + 60 < pixels[8, 16]
