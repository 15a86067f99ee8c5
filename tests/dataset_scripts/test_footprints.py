"""Outlines of buildings: which pixels they cover, and what is refused."""

import json

import datasets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine
from shapely import Point, Polygon

from mtp_hf.dataset_scripts._footprints import Grid, burn_footprints, read_footprints
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_segmentation import (
    NORTH,
    STEP,
    TRANSFORM,
    WEST,
    feature_collection,
    polygon,
    rectangle,
    ring,
)

GRID = Grid(8, 10, TRANSFORM)


def write(tmp_path, content):
    path = tmp_path / "Geo_img1.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def burn(tmp_path, *geometries, grid=GRID):
    path = write(tmp_path, feature_collection(*geometries))
    return burn_footprints(read_footprints(path), grid, path)


def block(*boxes):
    """Mask with rectangles of pixels (top, bottom, left, right)."""
    mask = np.zeros((GRID.height, GRID.width), np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def test_a_rectangle_covers_the_pixels_whose_centres_it_holds(tmp_path):
    mask = burn(tmp_path, polygon(rectangle(2, 1, 5, 4)))
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, block((1, 4, 2, 5)))
    assert np.array_equal(burn(tmp_path, polygon(rectangle(2.4, 1.4, 4.6, 3.6))), mask)
    smaller = burn(tmp_path, polygon(rectangle(2.6, 1.6, 4.4, 3.4)))
    assert np.array_equal(smaller, block((2, 3, 3, 4)))


def test_holes_are_not_building(tmp_path):
    mask = burn(tmp_path, polygon(rectangle(1, 1, 7, 7), rectangle(3, 3, 5, 5)))
    assert np.array_equal(mask, block((1, 7, 1, 7)) - block((3, 5, 3, 5)))


def test_all_parts_and_all_features_are_burned(tmp_path):
    parts = [[rectangle(0, 0, 2, 2)], [rectangle(4, 4, 6, 6)]]
    many = {"type": "MultiPolygon", "coordinates": parts}
    mask = burn(tmp_path, many, polygon(rectangle(8, 0, 10, 1)), None)
    assert np.array_equal(mask, block((0, 2, 0, 2), (4, 6, 4, 6), (0, 1, 8, 10)))
    collection = {"type": "GeometryCollection", "geometries": [many]}
    expected = block((0, 2, 0, 2), (4, 6, 4, 6))
    assert np.array_equal(burn(tmp_path, collection), expected)


def test_what_leaves_the_image_is_cut_at_its_border(tmp_path):
    mask = burn(tmp_path, polygon(rectangle(-5, -5, 3, 2)))
    assert np.array_equal(mask, block((0, 2, 0, 3)))


def test_rows_that_run_north_are_understood(tmp_path):
    south = NORTH - STEP * GRID.height
    grid = Grid(GRID.height, GRID.width, Affine(STEP, 0, WEST, 0, STEP, south))
    mask = burn(tmp_path, polygon(rectangle(2, 1, 5, 4)), grid=grid)
    assert np.array_equal(mask[::-1], block((1, 4, 2, 5)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 8)), min_size=3, max_size=6, unique=True))
def test_masks_agree_with_an_independent_geometry(tmp_path, points):
    outline = Polygon(points)
    if not outline.is_valid or outline.area < 0.1:
        return
    mask = burn(tmp_path, polygon(ring(*points)))
    for row, column in np.ndindex(mask.shape):
        centre = Point(column + 0.5, row + 0.5)
        if outline.boundary.distance(centre) > 1e-6:
            assert mask[row, column] == outline.contains(centre)


@pytest.mark.parametrize(
    "content",
    ["", " \n", '{"type": "FeatureCollection"}', feature_collection(), feature_collection(None)],
)
def test_an_empty_file_is_all_background(tmp_path, content):
    path = write(tmp_path, content)
    areas = read_footprints(path)
    assert areas == []
    assert not burn_footprints(areas, GRID, path).any()


def test_empty_polygons_are_no_areas(tmp_path):
    empty = {"type": "MultiPolygon", "coordinates": []}
    assert not burn(tmp_path, {"type": "Polygon", "coordinates": []}, empty).any()


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [0, 0]},
        {"type": "LineString", "coordinates": ring((1, 1), (2, 2))},
        polygon([]),
        polygon(ring((1, 1), (2, 2))),
    ],
)
def test_what_has_no_area_is_left_out_and_said(tmp_path, caplog, geometry):
    datasets.utils.logging.enable_propagation()
    mask = burn(tmp_path, polygon(rectangle(2, 1, 5, 4)), geometry)
    datasets.utils.logging.disable_propagation()
    assert np.array_equal(mask, block((1, 4, 2, 5)))
    assert "img1.geojson, feature 1: a " in caplog.text and "left out" in caplog.text


def test_a_hole_without_area_is_none(tmp_path):
    mask = burn(tmp_path, polygon(rectangle(1, 1, 7, 7), ring((3, 3), (5, 5))))
    assert np.array_equal(mask, block((1, 7, 1, 7)))


def test_footprints_of_another_place_are_an_error(tmp_path):
    with pytest.raises(AnnotationError, match=r"img1.geojson: none of 1 footprints lies in"):
        burn(tmp_path, polygon(rectangle(20, 1, 25, 4)))


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326",
                                  "urn:ogc:def:crs:EPSG::4326"])  # fmt: skip
def test_longitude_and_latitude_have_several_names(tmp_path, name):
    content = {**feature_collection(), "crs": {"type": "name", "properties": {"name": name}}}
    assert read_footprints(write(tmp_path, content)) == []


OUTLINE = ring((0, 0), (1, 0), (1, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"not a readable json file"),
        ("[" * 100_000, r"not a readable json file"),
        ("9" * 5000, r"not a readable json file"),
        ("[1]", "a 'list'; expected a FeatureCollection"),
        ({"type": "Feature"}, "a 'Feature'; expected a FeatureCollection"),
        ({"type": "FeatureCollection", "features": {"a": 1}},
         "'features' is dict; expected a list"),
        ({"type": "FeatureCollection", "features": [3]}, "feature 0: int; expected an object"),
        ({"type": "FeatureCollection", "crs": {"properties": {"name": "EPSG:32723"}}},
         "coordinates in 'EPSG:32723'; expected CRS84"),
        ({"type": "FeatureCollection", "crs": 7}, "coordinates in 7; expected CRS84"),
        (feature_collection(None, {"type": "Circle", "coordinates": [0, 0]}),
         "feature 1: a 'Circle'; expected a Polygon"),
        (feature_collection({"type": "Polygon"}), "feature 0: field 'coordinates' is no list"),
        (feature_collection({"type": "Polygon", "coordinates": [3]}), "feature 0: 3; expected a"),
        (feature_collection({"type": "MultiPolygon", "coordinates": [3]}), "no list of rings"),
        (feature_collection({"type": "GeometryCollection", "geometries": 3}), "is no list"),
        (feature_collection(polygon([*OUTLINE, [1, 91]])), r"point \(1, 91\); expected degrees"),
        (feature_collection(polygon([*OUTLINE, [10**400, 1]])), "expected degrees"),
        (feature_collection(polygon([*OUTLINE, [float("nan"), 1]])), "expected degrees"),
        (feature_collection(polygon([*OUTLINE, [1]])), r"point \[1\]; expected longitude"),
        (feature_collection(polygon([*OUTLINE, ["1", 2]])), "expected longitude and latitude"),
    ],
)  # fmt: skip
def test_what_is_no_outline_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=f"(?s)img1.geojson.*{message}"):
        read_footprints(write(tmp_path, content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "features", "geometry", "coordinates", "crs", "properties"]),
            inner | st.sampled_from(["FeatureCollection", "Polygon", "MultiPolygon"]),
        )
    ),
    max_leaves=30,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON)
def test_any_json_is_read_or_refused_by_name(tmp_path, content):
    path = write(tmp_path, json.dumps({"type": "FeatureCollection", "features": content}))
    try:
        areas = read_footprints(path)
    except AnnotationError as error:
        assert str(path) in str(error)
    else:
        assert all(area["type"] == "Polygon" for area in areas)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON)
def test_any_geometry_is_read_or_refused_by_name(tmp_path, content):
    path = write(tmp_path, feature_collection({"type": "Polygon", "coordinates": content}))
    try:
        assert isinstance(read_footprints(path), list)
    except AnnotationError as error:
        assert f"{path}, feature 0" in str(error)
