"""The label file of xView: grouping, irregular features, and what a broken file says."""

import json

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._xview_labels import (
    CLASS_OF_TYPE,
    TYPE_IDS,
    XviewFeature,
    read_xview_geojson,
    xview_boxes,
)
from tests.fakes_detection import write_text, write_xview_labels, xview_feature


@pytest.fixture
def path(tmp_path):
    return tmp_path / "xView_train.geojson"


def test_sixty_class_numbers_rise_and_leave_out_the_undefined():
    assert len(TYPE_IDS) == len(set(TYPE_IDS)) == len(CLASS_OF_TYPE) == 60
    assert sorted(TYPE_IDS) == TYPE_IDS
    assert not {75, 82} & set(TYPE_IDS)


def test_class_numbers_are_those_of_the_official_list(shared_dir):
    text = (shared_dir / "data/samples/xview/xview_class_labels.txt").read_text()
    assert [int(line.split(":")[0]) for line in text.split("\n") if line] == TYPE_IDS


@pytest.mark.parametrize(
    ("type_id", "name"),
    [(11, "Fixed-wing Aircraft"), (13, "Cargo Plane"), (59, "Mobile Crane"), (94, "Tower")],
)
def test_class_numbers_have_the_names_of_the_published_heads(type_id, name):
    assert CLASS_OF_TYPE[type_id] == name


def test_features_are_grouped_by_image_in_file_order(path):
    images = ("2.tif", "1.tif", "2.tif")
    features = [xview_feature(image, 11 + i, f"{i},1,2,3") for i, image in enumerate(images)]
    labels = read_xview_geojson(write_xview_labels(path, features))
    assert labels.features == {
        "2": [XviewFeature(0, 11, "0,1,2,3"), XviewFeature(2, 13, "2,1,2,3")],
        "1": [XviewFeature(1, 12, "1,1,2,3")],
    }
    assert labels.left_out == {}


def test_features_that_are_no_objects_are_counted_by_reason(path):
    values = [(75, "0,0,1,1"), (82, "0,0,1,1"), (82, "0,0,1,1"), (11, []), (11, "")]
    features = [xview_feature("1.tif", *value) for value in values]
    labels = read_xview_geojson(write_xview_labels(path, features))
    assert labels.features == {"1": []}
    assert labels.left_out == {
        "type_id 75, which is no class": 1,
        "type_id 82, which is no class": 2,
        "no box (empty 'bounds_imcoords')": 2,
    }


def test_boxes_have_class_names_and_may_be_empty_or_outside(path):
    features = [XviewFeature(4, 11, "-5,-6,7,8"), XviewFeature(9, 94, " 3, 3, 3, 3.5")]
    assert xview_boxes(features, "f") == [
        ("f, feature 4", [-5.0, -6.0, 7.0, 8.0], "Fixed-wing Aircraft", 0),
        ("f, feature 9", [3.0, 3.0, 3.0, 3.5], "Tower", 0),
    ]


@pytest.mark.parametrize(
    ("type_id", "bounds", "message"),
    [
        (14, "0,0,1,1", "field 'type_id' is 14; expected one of the 60 class numbers"),
        ("11", "0,0,1,1", "field 'type_id' is '11'"),
        (None, "0,0,1,1", "field 'type_id' is None"),
        ([11], "0,0,1,1", r"field 'type_id' is \[11\]"),
        (11, "0,0,1", "field 'bounds_imcoords' is '0,0,1'; expected 'xmin,ymin,xmax,ymax'"),
        (11, "0,0,1,x", "field 'bounds_imcoords' is '0,0,1,x'"),
        (11, "0,0,1,1,2", "field 'bounds_imcoords' is '0,0,1,1,2'"),
        (11, [0, 0, 1, 1], r"field 'bounds_imcoords' is \[0, 0, 1, 1\]"),
        (11, "0,0,1,nan", "a coordinate is not finite"),
        (11, "5,0,1,1", "the box '5,0,1,1' ends before it starts"),
    ],
)
def test_a_broken_feature_is_named(type_id, bounds, message):
    with pytest.raises(AnnotationError, match=f"^f.geojson, feature 3: {message}"):
        xview_boxes([XviewFeature(3, type_id, bounds)], "f.geojson")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable json file"),
        ("{", "not a readable json file"),
        ("\xff", "not a readable json file"),
        ("[" * 100_000, "not a readable json file"),
        ("[]", "no list of 'features'; expected the GeoJSON of xView"),
        ("{}", "no list of 'features'"),
        ('{"features": {}}', "no list of 'features'"),
        ('{"features": [7]}', "feature 0: no image is named; expected 'properties' with image_id"),
        ('{"features": [{}]}', "feature 0: no image is named"),
        ('{"features": [{"properties": null}]}', "feature 0: no image is named"),
        ('{"features": [{"properties": {"type_id": 11}}]}', "feature 0: no image is named"),
        ('{"features": [{"properties": {"image_id": 11}}]}', "feature 0: no image is named"),
        ('{"image_id": "a"}', "no list of 'features'"),
        ('{"coordinates": []}', "no list of 'features'"),
    ],
)
def test_a_broken_file_is_named(path, text, message):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnnotationError) as error:
        read_xview_geojson(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_the_published_values_are_read(shared_dir):
    path = shared_dir / "data/samples/xview/official_values_without_image.geojson"
    labels = read_xview_geojson(path)
    boxes = xview_boxes(labels.features["2355"], "f")
    assert [(record.box, record.name) for record in boxes] == [
        ([2712, 1145, 2746, 1177], "Building"),
        ([2720, 2233, 2760, 2288], "Building"),
    ]


def test_geometry_is_not_kept_in_memory(path):
    feature = xview_feature("1.tif", 11, "0,0,1,1")
    feature["geometry"]["coordinates"] = [[[0.123456789, i] for i in range(1000)]]
    content = json.loads(write_xview_labels(path, [feature] * 3).read_text())
    assert len(content["features"][0]["geometry"]["coordinates"][0]) == 1000
    assert "0.123456789" not in repr(read_xview_geojson(path))


def test_a_file_without_features_is_empty(path):
    assert read_xview_geojson(write_text(path, '{"features": []}')) == ({}, {})
