"""Columns of detection rows, and which files belong together."""

import logging

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from mtp_hf.dataset_scripts._detection_rows import (
    ClassNumbers,
    DetectionRecord,
    box_columns,
    describe_folder,
    pair_files,
    polygon_columns,
)
from mtp_hf.dataset_scripts._readers import AnnotationError, BoxRecord, PolygonRecord

CLASSES = ClassNumbers(["ship", "small-vehicle"])


def polygon(corners, name="ship", difficult=0) -> PolygonRecord:
    return PolygonRecord("a.txt, line 1", corners, name, difficult, None)


def test_class_numbers_are_those_of_the_list_in_any_spelling():
    for spelling in ("small-vehicle", "Small Vehicle", "SMALL_VEHICLE", "smallvehicle"):
        assert CLASSES.of(spelling, "row") == 1
    with pytest.raises(AnnotationError, match=r"^row: class name 'cat'; expected one of ship, sm"):
        CLASSES.of("cat", "row")


def test_corners_become_width_and_height_and_nothing_is_clipped():
    records = [BoxRecord("r", [-3.0, 1.0, 5.0, 1.0], "ship", 0)]
    columns = box_columns(records, CLASSES)
    assert columns == {
        "id": [0],
        "bbox": [[-3.0, 1.0, 8.0, 0.0]],
        "category": [0],
        "area": [0.0],
        "iscrowd": [False],
    }


def test_images_without_objects_have_empty_lists():
    for columns in (box_columns([], CLASSES), polygon_columns([], CLASSES)):
        assert set(map(tuple, columns.values())) == {()}


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=8, max_size=8), max_size=4))
def test_boxes_are_around_the_corners_which_stay_as_they_are(corners):
    columns = polygon_columns([polygon(c) for c in corners], CLASSES)
    assert columns["polygon"] == corners
    for (x, y, width, height), points in zip(columns["bbox"], corners, strict=True):
        assert (x, y) == (min(points[0::2]), min(points[1::2]))
        # Adding the difference back rounds once more; coordinates are below 2**14.
        assert x + width == pytest.approx(max(points[0::2]), abs=1e-11)
        assert y + height == pytest.approx(max(points[1::2]), abs=1e-11)


def test_areas_of_polygons_are_those_of_shapely_in_both_directions_far_from_the_origin():
    rng = np.random.default_rng(0)
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 4))[:: rng.choice([-1, 1])]
        center = rng.uniform(0, 20_000, 2)
        corners = center + 10 * np.stack([np.cos(angles), np.sin(angles)], 1)
        (area,) = polygon_columns([polygon(corners.ravel().tolist())], CLASSES)["area"]
        assert area == pytest.approx(Polygon(corners).area, rel=1e-9, abs=1e-9)


def test_files_of_equal_stem_are_pairs_sorted_by_stem():
    images, labels = {"b": "b.png", "a": "a.png"}, {"a": "a.txt", "b": "b.txt"}
    assert pair_files(images, labels, "here", "raise") == [
        DetectionRecord("a", "a.png", "a.txt"),
        DetectionRecord("b", "b.png", "b.txt"),
    ]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ("abc", "b", "here: 2 images have no annotation file, first 'a', 'c'; expected one for"),
        ("b", "abc", "here: 2 annotation files have no image, first 'a', 'c'; expected one for"),
    ],
)
def test_files_without_a_partner_are_an_error_or_a_warning(images, labels, message, caplog):
    files = dict.fromkeys(images, "x"), dict.fromkeys(labels, "y")
    with pytest.raises(FileNotFoundError) as error:
        pair_files(*files, "here", "raise")
    assert message in str(error.value)
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        assert [record.image_id for record in pair_files(*files, "here", "skip")] == ["b"]
    datasets.utils.logging.disable_propagation()
    assert message.partition(";")[0] in caplog.text


def test_a_folder_is_described_by_its_first_names(tmp_path):
    assert describe_folder(tmp_path) == "found nothing"
    for name in (".hidden", *map(str, range(10, 22))):
        (tmp_path / name).mkdir()
    assert describe_folder(tmp_path).startswith("found '10', '11'")
    assert describe_folder(tmp_path).endswith("'19' and 2 more")
