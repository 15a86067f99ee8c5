"""What is kept of a row."""

import numpy as np
import pytest

from mtp_hf.datasets_command.families import Family
from mtp_hf.datasets_command.row_summary import (
    LABEL_RANGE,
    LEAVES,
    NO_AREA,
    NO_OBJECT,
    OUTSIDE,
    object_boxes,
    summarize_row,
)
from tests.datasets_command.made_sets import objects_of, picture_row, write_map, write_noise

DETECTION = Family("detection", ("plane", "ship"), ("image",), None, ("objects",))
SEGMENTATION = Family("segmentation", ("ground", "house"), ("image",), "mask", ())


@pytest.fixture
def row(tmp_path):
    """A row of a picture of 48 by 32 pixels."""
    write_noise(tmp_path / "a.png")

    def make(**columns):
        return picture_row("a", **columns) | {"image": str(tmp_path / "a.png")}

    return make


def test_labels_and_boxes_are_kept_as_arrays(row):
    objects = objects_of([[1, 2, 3, 4], [5, 6, 7, 8]], [1, 0])
    summary = summarize_row(row(objects=objects), DETECTION, decode=False)
    assert summary.objects["objects"].labels.tolist() == [1, 0]
    assert summary.objects["objects"].boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert summary.flaws == []
    assert summary.name.endswith("a.png")


@pytest.mark.parametrize(
    ("box", "kinds"),
    [
        ((0, 0, 48, 32), []),  # all of the picture
        ((0, 0, 48.5, 32), [LEAVES]),
        ((-0.5, 0, 2, 2), [LEAVES]),
        ((-2, 0, 2, 2), [OUTSIDE]),  # touches the border from outside
        ((48, 0, 2, 2), [OUTSIDE]),
        ((0, 32, 2, 2), [OUTSIDE]),
        ((3, 3, 0, 4), [NO_AREA]),
        ((3, 3, -1, 4), [NO_AREA]),
    ],
)
def test_each_box_has_the_flaws_of_its_place(row, box, kinds):
    summary = summarize_row(row(objects=objects_of([box], [0])), DETECTION, decode=False)
    assert [flaw.kind for flaw in summary.flaws] == kinds


def test_no_object_is_a_flaw_and_no_annotation_is_none(row):
    empty = summarize_row(row(objects=objects_of([], [])), DETECTION, decode=False)
    assert [flaw.kind for flaw in empty.flaws] == [NO_OBJECT]
    assert empty.objects["objects"].boxes.shape == (0, 4)
    assert summarize_row(row(objects=None), DETECTION, decode=False).flaws == []


def test_pixels_of_a_map_are_counted_by_value(row, tmp_path):
    values = np.zeros((32, 48))
    values[:4], values[4:5] = 1, 255
    write_map(tmp_path / "map.png", values)
    summary = summarize_row(row(mask=str(tmp_path / "map.png")), SEGMENTATION, decode=False)
    assert summary.class_counts[[0, 1, 255]].tolist() == [27 * 48, 4 * 48, 48]
    assert summary.flaws == []


def test_a_map_of_colours_is_out_of_range(row, tmp_path):
    write_noise(tmp_path / "map.png")
    summary = summarize_row(row(mask=str(tmp_path / "map.png")), SEGMENTATION, decode=False)
    assert [flaw.kind for flaw in summary.flaws] == [LABEL_RANGE]
    assert "a map of mode 'RGB'; expected 8-bit gray" in summary.flaws[0].where


def test_a_row_without_labels_has_no_counts(row):
    summary = summarize_row(row(mask=None), SEGMENTATION, decode=False)
    assert summary.class_counts is None
    assert summary.flaws == []


def test_a_picture_without_label_is_of_no_class(row):
    scenes = Family("classification", ("plane", "ship"), ("image",), None, ())
    summary = summarize_row(row(label=None), scenes, decode=False)
    assert (summary.class_counts, summary.flaws) == (None, [])


def test_boxes_lie_around_polygons():
    objects = {"polygon": [[4, 0, 8, 4, 4, 8, 0, 4]], "category": [0]}
    assert object_boxes(objects).tolist() == [[0, 0, 8, 8]]
    assert object_boxes({"polygon": [], "category": []}).shape == (0, 4)
