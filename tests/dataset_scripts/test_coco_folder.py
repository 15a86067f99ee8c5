"""Folders with COCO json: rows, classes, splits, and what is wrong in one annotation."""

import json

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.coco_folder import CocoFolder
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_turned_picture
from tests.fakes_own import BOXES, coco_content, write_coco, write_json


@pytest.fixture
def root(tmp_path):
    return write_coco(tmp_path / "mine")


@pytest.fixture
def load(root, tmp_path):
    def load(**options):
        return load_dataset(
            "coco_folder", data_dir=root, cache_dir=tmp_path / "cache", quiet=True, **options
        )

    return load


def change(root, kind="annotations", **fields):
    """Change fields of the first annotation, or of another first entry, of the training file."""
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content[kind][0] |= fields
    write_json(path, content)


def test_rows_are_those_of_the_file(load):
    rows = load(split="train")
    assert rows["image_id"][:] == ["a", "b"]
    assert rows.features["objects"]["category"].feature.names == ["harbor", "ship"]  # by id
    first, second = rows
    assert (first["width"], first["height"], first["image"].size) == (60, 40, (60, 40))
    boxes = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES]
    assert first["objects"] == {
        "id": [40, 41],
        "bbox": boxes,
        "category": [1, 0],
        "area": [100.5, 26 * 14],
        "iscrowd": [False, True],
    }
    assert second["objects"]["bbox"] == []


def test_splits_are_told_by_the_names_of_the_files(load):
    assert load().num_rows == {"train": 2, "validation": 1}


def test_columns_are_those_of_published_sets(load, tmp_path):
    from mtp_hf.dataset_scripts.features import detection_features

    assert load(split="train").features == detection_features(["harbor", "ship"])


def test_streamed_and_shared_rows_are_the_prepared_ones(load, root, tmp_path):
    prepared = [row["objects"] for row in load(split="train")]
    assert [row["objects"] for row in load(split="train", streaming=True)] == prepared
    shared = load_dataset("coco_folder", data_dir=root, cache_dir=tmp_path / "b", num_proc=2)
    assert [row["objects"] for row in shared["train"]] == prepared


def test_pictures_travel_into_parquet_and_back(root, tmp_path):
    from mtp_hf.dataset_scripts import get_builder

    builder = get_builder("coco_folder")(data_dir=str(root), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    file = str(tmp_path / "out/coco_folder-train.parquet")
    rows = datasets.load_dataset("parquet", data_files=file, cache_dir=str(tmp_path / "c2"))
    assert rows["train"][0]["image"].size == (60, 40)
    assert rows["train"][0]["objects"]["category"] == [1, 0]


def test_the_option_gives_another_order_of_the_same_names(load):
    rows = load(split="train", class_names=["ship", "tree", "harbor"])
    assert rows[0]["objects"]["category"] == [0, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"category_id": 0}, "annotation 40: category_id 0; expected one of 3, 18"),
        ({"category_id": [18]}, r"category_id \[18\]; expected one of"),
        ({"bbox": [1, 2, 3]}, r"annotation 40: bbox \[1, 2, 3\]; expected x, y, width, height"),
        ({"bbox": [1, 2, -3, 4]}, "of negative size"),
        ({"bbox": [1, 2, 3, float("nan")]}, "expected x, y, width, height"),
        ({"bbox": [1e9, 2, 3, 4]}, "not finite or beyond"),
        ({"bbox": None}, "bbox None"),
        ({"area": "big"}, "area 'big', iscrowd 0; expected a number, and 0 or 1"),
        ({"iscrowd": 2}, "iscrowd 2"),
        ({"id": "x"}, "id 'x'; expected an integer"),
    ],
)
def test_a_broken_annotation_is_named(load, root, fields, message):
    change(root, **fields)
    with pytest.raises(AnnotationError, match=message) as caught:
        load(split="train")
    assert "instances_train2017.json, image 1, annotation" in str(caught.value)


def test_a_broken_annotation_is_left_out_if_asked(load, root):
    change(root, bbox=[])
    assert load(split="train", on_error="skip")["image_id"][:] == ["b"]


def test_a_size_other_than_that_of_the_picture_is_an_error(load, root):
    content = coco_content("ab")
    content["images"][0]["width"] = 61
    write_json(root / "annotations/instances_train2017.json", content)
    with pytest.raises(AnnotationError, match="image 1: 40 x 61 pixels .* has 40 x 60"):
        load()


def test_a_damaged_picture_is_an_error(load, root):
    picture = root / "train2017/b.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    with pytest.raises(AnnotationError, match=r"b\.jpg: the image file is"):
        load()


def test_a_size_that_the_exif_of_the_picture_turns_is_that_of_the_picture_as_shown(load, root):
    write_turned_picture(root / "train2017/a.jpg")
    with pytest.raises(AnnotationError, match="40 x 60 .* has 60 x 40; .* by its EXIF orientation"):
        load()
    change(root, "images", width=40, height=60)
    first = load(split="train")[0]
    assert (first["width"], first["height"]) == first["image"].size == (40, 60)


@pytest.mark.parametrize("value", [None, 0])
def test_a_size_that_is_not_told_is_that_of_the_picture(load, root, value):
    change(root, "images", width=value, height=value)
    assert load(split="train")[0]["width"] == 60


def test_an_area_that_is_not_told_is_that_of_the_box(load, root):
    change(root, area=None)
    assert load(split="train")[0]["objects"]["area"][0] == 20 * 8


def test_an_id_of_a_class_may_be_written_with_a_point(load, root):
    change(root, category_id=18.0)
    assert load(split="train")[0]["objects"]["category"] == [1, 0]


def test_ids_of_one_name_are_one_class(load, root):
    path = root / "annotations/instances_train2017.json"
    content = coco_content("ab")
    content["categories"].append({"id": 0, "name": "ship", "supercategory": "none"})
    content["annotations"][1]["category_id"] = 0
    write_json(path, content)
    rows = load(split="train")
    assert rows.features["objects"]["category"].feature.names == ["ship", "harbor"]
    assert rows[0]["objects"]["category"] == [0, 0]


def test_splits_that_call_a_class_differently_are_an_error(load, root):
    content = coco_content("a")
    content["categories"][0]["name"] = "boat"
    write_json(root / "annotations/instances_val2017.json", content)
    with pytest.raises(AnnotationError, match="category 18 is 'boat', but 'ship' in another split"):
        load()


def test_classes_that_are_not_in_the_option_are_an_error(load):
    with pytest.raises(AnnotationError, match="annotation 40: class name 'ship'; expected one of"):
        load(class_names=["tree", "harbor"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(
    st.sampled_from(["images", "annotations", "categories", "image", "annotation", "category"]),
    st.sampled_from(["id", "bbox", "category_id", "image_id", "area", "iscrowd", "file_name",
                     "width", "height", "name"]),
    VALUES,
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_read_or_refused_with_the_file(root, tmp_path, place, field, value):
    content = coco_content("ab")
    if place in content:
        content[place] = value
    else:
        list_name = {"category": "categories"}.get(place, f"{place}s")
        content[list_name][0][field] = value
    path = write_json(root / "annotations/instances_train2017.json", content)
    try:
        builder = CocoFolder(data_dir=str(root), cache_dir=str(tmp_path / "cache"))
        records = builder.find_records(root)["train"]
        rows = [row for record in records for _, row in builder.read_record(record)]
        assert len(rows) == len(records)
    except ValueError as error:
        assert str(path) in str(error) or "mine" in str(error)
