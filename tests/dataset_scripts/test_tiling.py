"""Tiles lie where the rules say, cover every pixel, and hold the objects that they should."""

import re

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mtp_hf.dataset_scripts._rasters import Window
from mtp_hf.dataset_scripts._tiling import (
    clip_window,
    even_windows,
    grid_windows,
    objects_by_center,
    objects_by_share,
    pad_tile,
    share_inside,
    sliding_windows,
    tile_name,
)


def starts(windows, axis="x"):
    return sorted({getattr(window, axis) for window in windows})


def coverage(windows, height, width):
    count = np.zeros((height, width), int)
    for x, y, w, h in windows:
        count[y : y + h, x : x + w] += 1
    return count


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


# Sliding windows


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (600, [0]),
        (1024, [0]),
        (1025, [0, 1]),  # one step would end at 1848, so the second window is moved back
        (1848, [0, 824]),  # fits exactly
        (1849, [0, 824, 825]),
        (4000, [0, 824, 1648, 2472, 2976]),
    ],
)
def test_windows_start_every_step_and_the_last_is_moved_back(length, expected):
    found = sliding_windows(2000, length, tile_size=1024, overlap=200)
    assert starts(found) == expected
    assert starts(sliding_windows(length, 2000, tile_size=1024, overlap=200), "y") == expected


def test_multi_scale_windows_of_dota_by_hand():
    found = sliding_windows(3000, 3000, tile_size=1024, overlap=500, scales=(0.5, 1.0, 1.5))
    assert starts([w for w in found if w.width == 2048]) == [0, 952]
    assert starts([w for w in found if w.width == 1024]) == [0, 524, 1048, 1572, 1976]
    # int(1024 / 1.5) = 682, int(500 / 1.5) = 333, so every 349 pixels.
    assert starts([w for w in found if w.width == 682]) == [
        0,
        349,
        698,
        1047,
        1396,
        1745,
        2094,
        2318,
    ]
    assert len(found) == 4 + 25 + 64
    assert [w.width for w in found] == sorted((w.width for w in found), reverse=True)
    for size in (2048, 1024, 682):  # from top to bottom, as rows are decoded
        rows = [w.y for w in found if w.width == size]
        assert rows == sorted(rows)


def test_a_window_with_little_image_is_left_out_if_another_has_more():
    # 600 x 600: a window of 2048 is 9 % image, of 1024 34 %, of 682 77 %.
    found = sliding_windows(600, 600, tile_size=1024, overlap=500, scales=(0.5, 1.0, 1.5))
    assert found == [Window(0, 0, 682, 682)]
    # 800 rows of 1024 are 78 %, of 2048 at most 39 %.
    found = sliding_windows(800, 5000, tile_size=1024, overlap=200, scales=(0.5, 1.0))
    assert {w.width for w in found} == {1024}


def test_the_best_windows_are_kept_if_none_has_enough_image():
    assert sliding_windows(300, 300, tile_size=1024, overlap=200) == [Window(0, 0, 1024, 1024)]
    found = sliding_windows(100, 3000, tile_size=1024, overlap=200)
    assert starts(found) == [0, 824, 1648, 1976]  # all alike
    found = sliding_windows(300, 300, tile_size=1024, overlap=200, scales=(0.5, 1.0))
    assert found == [Window(0, 0, 1024, 1024)]


def test_exactly_the_least_share_is_too_little():
    tile = dict(tile_size=10, overlap=0, scales=(1.0, 0.5))
    found = sliding_windows(10, 24, **tile, min_image=0.5)
    assert {w.width for w in found} == {10}  # 20 x 20 on 10 rows is one half
    assert {w.width for w in sliding_windows(10, 24, **tile, min_image=0.49)} == {10, 20}


SIDES = st.integers(1, 700)


@settings(max_examples=100, deadline=None)
@given(height=SIDES, width=SIDES, size=st.integers(20, 200), share=st.floats(0, 0.9), seed=SIDES)
def test_sliding_windows_cover_all_and_hold_whole_what_fits_the_overlap(
    height, width, size, share, seed
):
    overlap = int(size * share)
    windows = sliding_windows(height, width, tile_size=size, overlap=overlap, min_image=0.0)
    assert coverage(windows, height, width).min() >= 1
    assert len(set(windows)) == len(windows)
    for window in windows:
        assert window.x == 0 or window.x + size <= width
        assert window.y == 0 or window.y + size <= height
    rng = np.random.default_rng(seed)
    side = min(overlap, height, width)
    if side:  # an object no larger than the overlap is whole in some tile
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        assert any(
            w.x <= x and x + side <= w.x + size and w.y <= y and y + side <= w.y + size
            for w in windows
        )


# Even windows and grids


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (100, [0]),
        (416, [0]),
        (417, [0, 1]),
        (832, [0, 416]),
        (833, [0, 208, 417]),  # 0, 208.5, 417
        (3000, [0, 369, 738, 1107, 1476, 1845, 2214, 2584]),  # 2584 / 7 = 369.14
    ],
)
def test_even_windows_by_hand(length, expected):
    assert starts(even_windows(416, length, tile_size=416)) == expected
    assert starts(even_windows(length, 416, tile_size=416), "y") == expected


@pytest.mark.parametrize(
    ("height", "width", "size", "count"),
    [(15354, 32507, 256, 7620), (1024, 1024, 256, 16), (96, 97, 96, 2), (5, 5, 96, 1)],
)
def test_grids_have_the_published_number_of_tiles(height, width, size, count):
    windows = grid_windows(height, width, tile_size=size)
    assert len(windows) == count
    assert {(w.width, w.height) for w in windows} == {(size, size)}


@settings(max_examples=50, deadline=None)
@given(height=SIDES, width=SIDES, size=st.integers(20, 200))
def test_even_windows_and_grids_cover_every_pixel(height, width, size):
    assert coverage(even_windows(height, width, tile_size=size), height, width).min() >= 1
    grid = grid_windows(height, width, tile_size=size)
    assert (coverage(grid, height, width) == 1).all()
    for window in even_windows(height, width, tile_size=size):
        assert window.x + size <= max(width, size)
        assert window.y + size <= max(height, size)


# Objects by share


def test_shares_by_hand():
    window = Window(100, 50, 10, 20)
    polygons = [
        square(102, 52, 4),  # inside
        square(96, 52, 8),  # half over the left side
        square(96, 46, 8),  # a quarter, over a corner
        square(0, 0, 300),  # around the window: 200 / 90000
        square(200, 50, 5),  # elsewhere
        [105, 40, 115, 50, 105, 60, 95, 50],  # a diamond, the lower half of which is in
        square(105, 55, 0),  # no area
        [110, 50, 110, 70, 130, 70, 130, 50],  # touches the right side
    ]
    expected = [1, 0.5, 0.25, 200 / 90_000, 0, 0.375, 0, 0]
    # The diamond: its lower half is 100 of 200; right and left 25 each minus nothing stay out.
    np.testing.assert_allclose(share_inside(polygons, window), expected, atol=1e-12)


def test_the_direction_of_a_polygon_does_not_matter():
    polygon = np.array([[3.0, 1, 17, 4, 14, 16, -3, 12]])
    turned = polygon.reshape(1, 4, 2)[:, ::-1].reshape(1, 8)
    window = Window(0, 0, 10, 10)
    assert share_inside(polygon, window) == pytest.approx(share_inside(turned, window), abs=1e-12)


def test_no_objects_is_no_special_case():
    assert share_inside(np.zeros((0, 8)), Window(0, 0, 5, 5)).shape == (0,)
    ((kept, cut),) = objects_by_share(np.zeros((0, 8)), [Window(0, 0, 5, 5)], 0.7)
    assert kept.shape == cut.shape == (0,)
    ((kept, boxes),) = objects_by_center(np.zeros((0, 4)), [Window(0, 0, 5, 5)])
    assert (kept.shape, boxes.shape) == ((0,), (0, 4))


NUMBERS = st.floats(-30, 60, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(polygon=st.lists(NUMBERS, min_size=8, max_size=8))
def test_shares_equal_those_of_an_independent_clipper(polygon):
    shape = shapely.Polygon(np.reshape(polygon, (4, 2)))
    if not shape.is_valid or shape.area < 1e-3:
        return
    window = Window(3, 5, 20, 15)
    expected = shape.intersection(shapely.box(3, 5, 23, 20)).area / shape.area
    assert share_inside([polygon], window)[0] == pytest.approx(expected, abs=1e-6)


def test_shares_of_the_tiles_of_a_grid_sum_to_one():
    rng = np.random.default_rng(0)
    centers = rng.uniform(100, 900, (50, 1, 2))
    angles = np.sort(rng.uniform(0, 2 * np.pi, (50, 4)))  # star-shaped, so it does not cross
    corners = centers + rng.uniform(5, 90, (50, 4, 1)) * np.stack(
        [np.cos(angles), np.sin(angles)], 2
    )
    polygons = corners.reshape(50, 8)
    windows = grid_windows(1000, 1000, tile_size=130)
    total = sum(share_inside(polygons, window) for window in windows)
    np.testing.assert_allclose(total, 1, atol=1e-9)


def test_an_object_is_kept_from_the_least_share_on_and_marked_where_it_is_cut():
    polygons = np.array([square(0, 0, 10), square(-3, 0, 10), square(-4, 0, 10), square(40, 0, 5)])
    ((kept, cut),) = objects_by_share(polygons, [Window(0, 0, 20, 20)], 0.7)
    assert kept.tolist() == [0, 1]  # 0.7 exactly is enough, 0.6 is not
    assert cut.tolist() == [False, True]


def test_a_polygon_that_leaves_the_image_is_cut_by_the_window_as_well():
    polygons = np.array([square(15, 15, 10)])
    ((kept, cut),) = objects_by_share(polygons, [Window(0, 0, 20, 20)], 0.2)
    assert (kept.tolist(), cut.tolist()) == ([0], [True])
    ((kept, cut),) = objects_by_share(polygons, [Window(0, 0, 30, 30)], 0.7)  # padded
    assert (kept.tolist(), cut.tolist()) == ([0], [False])


def test_an_object_without_area_is_in_no_tile_and_none_is_with_a_share_of_nothing():
    polygons = np.array([square(5, 5, 0), square(50, 50, 5)])
    ((kept, _),) = objects_by_share(polygons, [Window(0, 0, 20, 20)], 0.0)
    assert kept.tolist() == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_objects_by_share_equal_the_shares_of_each_window(seed):
    rng = np.random.default_rng(seed)
    polygons = np.concatenate(
        [[square(*rng.uniform(-20, 300, 2), rng.uniform(1, 60))] for _ in range(20)]
    )
    windows = sliding_windows(250, 300, tile_size=100, overlap=20)
    for window, (kept, cut) in zip(windows, objects_by_share(polygons, windows, 0.7), strict=True):
        shares = share_inside(polygons, window)
        assert kept.tolist() == np.flatnonzero(shares >= 0.7 - 1e-9).tolist()
        assert cut.tolist() == (shares[kept] < 1 - 1e-9).tolist()


# Objects by centre


def test_objects_by_center_by_hand():
    boxes = np.array(
        [
            [10, 10, 20, 20],
            [90, 10, 108, 20],  # centre 99: left tile, clipped at 99
            [90, 10, 110, 20],  # centre 100: right tile, clipped at 0
            [-5, -5, 9, 9],  # beyond the image
            [30, 30, 30, 40],  # no extent
        ]
    )
    windows = [Window(0, 0, 100, 100), Window(100, 0, 100, 100)]
    (left, left_boxes), (right, right_boxes) = objects_by_center(boxes, windows)
    assert left.tolist() == [0, 1, 3]
    assert left_boxes.tolist() == [[10, 10, 20, 20], [90, 10, 99, 20], [0, 0, 9, 9]]
    assert right.tolist() == [2]
    assert right_boxes.tolist() == [[0, 10, 10, 20]]


def test_a_centre_in_the_overlap_is_in_both_tiles():
    windows = even_windows(416, 600, tile_size=416)
    assert starts(windows) == [0, 184]
    found = list(objects_by_center(np.array([[290, 10, 310, 30]]), windows))
    assert [kept.tolist() for kept, _ in found] == [[0], [0]]
    assert [boxes.tolist() for _, boxes in found] == [[[290, 10, 310, 30]], [[106, 10, 126, 30]]]


# Pixels and names


def test_padding_fills_the_right_and_lower_part():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    window = Window(5, 5, 3, 4)
    assert clip_window(window, 7, 7) == Window(5, 5, 2, 2)
    padded = pad_tile(pixels, window, (124, 116, 104))
    assert padded.shape == (4, 3, 3)
    np.testing.assert_array_equal(padded[:2, :2], pixels)
    assert (padded[2:] == (124, 116, 104)).all()
    assert (padded[:, 2] == (124, 116, 104)).all()
    mask = pad_tile(np.ones((2, 2), np.uint8), window, 255)
    assert mask.tolist() == [[1, 1, 255], [1, 1, 255], [255] * 3, [255] * 3]


def test_a_whole_tile_is_not_copied():
    pixels = np.zeros((4, 3, 3), np.uint8)
    assert pad_tile(pixels, Window(0, 0, 3, 4), 0) is pixels


def test_names_are_those_that_merging_tools_parse():
    name = tile_name("P0706", Window(824, 0, 1024, 1024))
    assert name == "P0706__1024__824___0"
    assert re.findall(r"__(\d+)___(\d+)", name) == [("824", "0")]
    assert name.split("__")[0] == "P0706"
