"""Claims about numbers and places of objects."""

import pytest

from mtp_hf.submissions.places import (
    area_of,
    box_problem,
    distance_problem,
    hull_of,
    polygon_problem,
    read_numbers,
)


def test_the_hull_of_corners_is_the_smallest_upright_box():
    assert hull_of([5, 0, 10, 5, 5, 11, 0, 5]) == [0, 0, 10, 11]


def test_the_area_of_corners_does_not_depend_on_their_place():
    assert area_of([0, 0, 2, 0, 2, 3, 0, 3]) == 6
    assert area_of([20000, 0, 20002, 0, 20002, 3, 20000, 3]) == 6


@pytest.mark.parametrize("words", [["1", "x"], ["nan"], ["inf"], ["1_0"], ["1e999"]])
def test_what_is_no_finite_number_gives_none(words):
    assert read_numbers(words) == []


def test_boxes_on_the_padding_beside_an_image_are_no_mistake():
    assert box_problem([15, 12, 18, 15], (10, 12)) is None
    assert "far from the image of 12 x 10" in distance_problem([25, 2, 30, 4], (10, 12))


def test_corners_in_the_image_are_fine():
    assert polygon_problem([1, 2, 8, 2, 8, 9, 1, 9], (10, 12)) is None
