"""Choosing rows and laying them out."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.datasets_command.families import Family
from mtp_hf.datasets_command.row_panels import Panels
from mtp_hf.datasets_command.sheet import draw_sheet, pick_rows

FAMILY = Family("detection", ("plane", "ship"), ("image",), None, ("objects",))


class Tiles:
    """A builder whose records have so many rows as they say; one of -1 is broken."""

    def __init__(self, on_error="raise"):
        self.config = SimpleNamespace(on_error=on_error)

    def read_record(self, record):
        if record[1] < 0:
            raise AnnotationError(f"record {record[0]}")
        for number in range(record[1]):
            yield f"{record[0]}_{number}", {"image_id": f"{record[0]}_{number}"}


def pick(records, num, seed=0):
    return [row["image_id"] for row in pick_rows(Tiles(), records, num, seed)[0]]


def test_rows_come_from_different_records_as_far_as_there_are_enough():
    records = [(name, 5) for name in "abcdef"]
    names = pick(records, 4)
    assert len({name[0] for name in names}) == 4
    more = pick(records, 10)
    assert {name[0] for name in more} == set("abcdef")
    assert len(set(more)) == 10


def test_the_seed_decides_the_choice():
    records = [(str(number), 1) for number in range(100)]
    assert pick(records, 8) == pick(records, 8)
    assert pick(records, 8) != pick(records, 8, seed=1)


def test_records_without_rows_are_passed_over():
    assert sorted(pick([("a", 0), ("b", 1), ("c", 0), ("d", 2)], 9)) == ["b_0", "d_0", "d_1"]
    assert pick([], 3) == []


def test_a_broken_record_is_left_out_and_told_where_that_is_asked_for():
    records = [("a", 1), ("b", -1)]
    rows, skipped = pick_rows(Tiles("skip"), records, 2, 0)
    assert ([row["image_id"] for row in rows], skipped) == (["a_0"], ["record b"])
    with pytest.raises(AnnotationError, match="record b"):
        pick_rows(Tiles(), records, 2, 0)


def test_every_picture_is_on_the_sheet_without_overlap():
    colors = [(201 + number, 7, 9) for number in range(5)]  # of no class
    sizes = [(60, 40), (30, 60), (60, 60), (60, 20), (10, 10)]
    rows = [
        Panels("title", [Image.new("RGB", size, color)], {index % 2})
        for index, (size, color) in enumerate(zip(sizes, colors, strict=True))
    ]
    sheet = np.asarray(draw_sheet(rows, FAMILY, "heading"))
    for size, color in zip(sizes, colors, strict=True):
        assert (sheet == color).all(axis=2).sum() == size[0] * size[1]


def test_two_pictures_of_a_row_stand_side_by_side():
    pictures = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    sheet = np.asarray(draw_sheet([Panels("a", pictures, set())], FAMILY, ""))
    red, blue = (np.nonzero((sheet == color).all(axis=2)) for color in ((255, 0, 0), (0, 0, 255)))
    assert red[0].min() == blue[0].min()
    assert red[1].max() < blue[1].min()


@pytest.mark.parametrize("title", ["", "a title far too long for a picture of ten pixels"])
def test_titles_never_reach_into_the_next_cell(title):
    rows = [Panels(title, [Image.new("RGB", (10, 10), "red")], set()) for _ in range(2)]
    sheet = np.asarray(draw_sheet(rows, FAMILY, ""))
    columns = np.nonzero((sheet == (255, 0, 0)).all(axis=2).any(axis=0))[0]
    gaps = [column for column in range(columns.min(), columns.max()) if column not in columns]
    assert (sheet[:, gaps] == 255).all()
