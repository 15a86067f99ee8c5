"""DIOR and DIOR-R: both dialects, renamed folders, missing files, and the published sample."""

import logging
import shutil

import datasets
import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import SIOR_CLASSES
from mtp_hf.dataset_scripts.features import detection_features, oriented_detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import (
    BOXES,
    POLYGONS,
    annotation_xml,
    oriented_object,
    voc_object,
    write_dior,
    write_picture,
    write_text,
)

FOLDERS = {
    "hbb": "Annotations/Horizontal Bounding Boxes",
    "obb": "Annotations/Oriented Bounding Boxes",
}
CONFIGS = sorted(FOLDERS)


@pytest.fixture
def root(tmp_path):
    return write_dior(tmp_path / "DIOR")


@pytest.fixture
def load(tmp_path):
    def load(root, config="hbb", split="train", **options):
        return load_dataset(
            "dior", config, data_dir=root, split=split, cache_dir=tmp_path, quiet=True, **options
        )

    return load


@pytest.fixture
def warnings(caplog):
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    datasets.utils.logging.disable_propagation()


# Rows


def test_horizontal_rows_have_boxes_under_either_name(root, load):
    (row,) = load(root)
    assert (row["image_id"], row["width"], row["height"]) == ("00001", 60, 40)
    assert row["objects"] == {
        "id": [0, 1],
        "bbox": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES],
        "category": [6, 8],
        "area": [160, 38 * 14],
        "iscrowd": [False, False],
    }


def test_oriented_rows_have_corners_in_file_order(root, load):
    (row,) = load(root, "obb")
    assert row["objects"]["polygon"] == [list(polygon) for polygon in POLYGONS]
    assert row["objects"]["bbox"] == [[10, 5, 20, 8], [32.5, 18.5, 37, 13]]
    assert (row["objects"]["category"], row["objects"]["difficult"]) == ([6, 8], [1, 0])
    assert row["image_source"] is row["gsd"] is None


def test_a_plain_box_in_an_oriented_file_is_four_corners(root, load):
    (row,) = load(root, "obb", "test")
    assert row["objects"]["polygon"] == [[10, 5, 30, 5, 30, 13, 10, 13]]


@pytest.mark.parametrize("config", CONFIGS)
def test_splits_follow_the_lists_and_an_empty_file_has_no_objects(root, load, config):
    splits = load(root, config, split=None)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["00001"],
        "validation": ["00002"],
        "test": ["00003"],
    }
    assert set(map(tuple, splits["validation"][0]["objects"].values())) == {()}


@pytest.mark.parametrize(
    ("config", "features"), [("hbb", detection_features), ("obb", oriented_detection_features)]
)
def test_columns_have_the_classes_in_the_order_of_the_published_heads(root, load, config, features):
    rows = load(root, config)
    assert rows.features == features(SIOR_CLASSES)
    assert rows.features["objects"]["category"].feature.names[8] == "dam"


@pytest.mark.parametrize("spelling", ["storagetank", "StorageTank", "storage tank", "Storage_Tank"])
def test_class_names_are_read_in_other_spellings(root, load, spelling):
    path = root / FOLDERS["hbb"] / "00001.xml"
    write_text(path, annotation_xml(voc_object(0, spelling)))
    assert load(root)[0]["objects"]["category"] == [15]


@pytest.mark.parametrize("config", CONFIGS)
def test_streamed_rows_are_the_prepared_ones(root, load, config):
    prepared, streamed = load(root, config), load(root, config, streaming=True)
    for left, right in zip(prepared, streamed, strict=True):
        assert np.array_equal(np.asarray(left.pop("image")), np.asarray(right.pop("image")))
        assert left == right


# Layouts


def test_folders_of_other_names_are_found(root, load):
    (root / "JPEGImages-trainval").rename(root / "Images_trainval")
    (root / "JPEGImages-test").rename(root / "images test")
    (root / "ImageSets/Main").rename(root / "Main")
    (root / FOLDERS["obb"]).rename(root / "Annotations/OBB")
    (root / FOLDERS["hbb"]).rename(root / "Annotations/horizontal_bounding_boxes")
    for config in CONFIGS:
        assert load(root, config, split=None).num_rows == {"train": 1, "validation": 1, "test": 1}


def test_horizontal_files_may_lie_in_annotations_itself(root, load):
    shutil.rmtree(root / FOLDERS["obb"])
    for path in (root / FOLDERS["hbb"]).iterdir():
        path.rename(root / "Annotations" / path.name)
    (root / FOLDERS["hbb"]).rmdir()
    assert len(load(root)[0]["objects"]["id"]) == 2
    with pytest.raises(FileNotFoundError, match="expected xml files in 'Annotations/Oriented"):
        load(root, "obb")


def test_the_folder_above_is_enough(root, load, tmp_path):
    assert load(tmp_path / "DIOR")[0]["image_id"] == load(tmp_path)[0]["image_id"]


def test_a_split_without_images_is_left_out(root, load, warnings):
    shutil.rmtree(root / "JPEGImages-test")
    assert set(load(root, split=None)) == {"train", "validation"}
    assert "test.txt, test: none of its 1 images is here; left out" in warnings.text


def test_a_test_split_without_annotations_has_images_only(root, load, warnings):
    (root / FOLDERS["hbb"] / "00003.xml").unlink()
    (row,) = load(root, split="test")
    assert row["objects"]["id"] == []
    assert "no image has an annotation file" in warnings.text


def test_a_copy_without_lists_is_read_by_its_folders(root, load, warnings):
    shutil.rmtree(root / "ImageSets")
    splits = load(root, split=None)
    assert splits.num_rows == {"train": 1, "validation": 1, "test": 1}
    assert splits["test"]["image_id"][:] == ["00003"]
    assert load(root, split="train+validation").num_rows == 2
    assert "no lists in 'ImageSets/Main'; 1 train, 1 validation images drawn" in warnings.text


def ids(splits):
    return {split: rows["image_id"][:] for split, rows in splits.items()}


def write_more(root, *stems):
    for stem in stems:
        write_picture(root / f"JPEGImages-trainval/{stem}.jpg")
        for folder in FOLDERS.values():
            write_text(root / folder / f"{stem}.xml", annotation_xml())


def test_lists_of_sior_in_the_same_folder_are_not_those_of_dior(root, load):
    write_more(root, "00004")
    write_text(root / "train.txt", "00001\n00002\n")
    write_text(root / "valid.txt", "00004\n")
    expected = {"train": ["00001"], "validation": ["00002"], "test": ["00003"]}
    assert ids(load(root, split=None)) == expected


def test_lists_anywhere_are_read_where_there_are_no_published_ones(root, load, warnings):
    shutil.rmtree(root / "ImageSets")
    write_text(root / "train.txt", "00001\n")
    write_text(root / "valid.txt", "00002\n")
    assert ids(load(root, split=None)) == {"train": ["00001"], "validation": ["00002"]}
    assert "DIOR: lists train.txt, valid.txt; no split test: no test.txt" in warnings.text


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_missing_list_is_what_the_other_leaves_of_trainval(root, load, name):
    (root / f"ImageSets/Main/{name}.txt").unlink()
    write_text(root / "ImageSets/Main/trainval.txt", "00001\n00002\n")
    expected = {"train": ["00001"], "validation": ["00002"], "test": ["00003"]}
    assert ids(load(root, split=None)) == expected


def test_train_and_validation_are_drawn_from_trainval_alone(root, load, warnings):
    write_more(root, *map(str, range(10, 18)))
    for name in ("train", "val"):
        (root / f"ImageSets/Main/{name}.txt").unlink()
    stems = ["00001", "00002", *map(str, range(10, 18))]
    write_text(root / "ImageSets/Main/trainval.txt", "\n".join(stems))
    splits = load(root, split=None)
    assert splits.num_rows == {"train": 5, "validation": 5, "test": 1}
    assert sorted(ids(splits)["train"] + ids(splits)["validation"]) == sorted(stems)
    assert "'trainval.txt' alone; 5 train, 5 validation images drawn" in warnings.text


def test_a_split_without_list_is_told(root, load, warnings):
    (root / "ImageSets/Main/val.txt").unlink()
    assert set(load(root, split=None)) == {"train", "test"}
    assert "no split validation: no val.txt" in warnings.text


def test_an_image_in_two_lists_is_told(root, load, warnings):
    write_text(root / "ImageSets/Main/val.txt", "00001\n00002\n")
    load(root, split=None)
    assert "1 images are in the lists of both train and validation, first '00001'" in warnings.text


# Errors


def test_folders_that_tell_no_split_need_lists(root, load):
    (root / "JPEGImages-trainval").rename(root / "JPEGImages")
    (root / "JPEGImages-test/00003.jpg").rename(root / "JPEGImages/00003.jpg")
    assert load(root, split=None).num_rows == {"train": 1, "validation": 1, "test": 1}
    shutil.rmtree(root / "ImageSets")
    with pytest.raises(FileNotFoundError, match="expected lists 'ImageSets/Main/{train,val,test}"):
        load(root)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("JPEGImages-*", "expected images in 'JPEGImages-trainval'"),
        ("Annotations", "expected xml files in 'Annotations/Horizontal Bounding Boxes'"),
    ],
)
def test_a_missing_part_is_an_error_that_says_what_is_there(root, load, folder, message):
    for path in root.glob(folder):
        shutil.rmtree(path)
    with pytest.raises(FileNotFoundError) as error:
        load(root)
    assert f"{root}: found '" in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("JPEGImages-trainval/00001.jpg", "1 of 2 images are not here, first '00001'"),
        (f"{FOLDERS['hbb']}/00001.xml", "1 of 2 images have no 'hbb' annotation file, first '0000"),
    ],
)
def test_a_missing_file_is_an_error_or_left_out(root, load, warnings, file, message):
    write_text(root / "ImageSets/Main/train.txt", "00001\n00002\n")
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["00002"]
    assert message in warnings.text


def test_oriented_files_are_refused_as_horizontal_ones(root, load):
    path = root / FOLDERS["hbb"] / "00001.xml"
    write_text(path, annotation_xml(oriented_object(0, "ship")))
    with pytest.raises(AnnotationError, match=r"00001.xml, object 0: a rotated box"):
        load(root)


def test_broken_files_are_named_and_left_out_if_asked(root, load, warnings):
    write_text(root / "ImageSets/Main/train.txt", "00001\n00002\n00003\n")
    write_text(root / FOLDERS["hbb"] / "00001.xml", annotation_xml(voc_object(0, "cat")))
    (root / "JPEGImages-trainval/00002.jpg").write_bytes(b"no picture")
    with pytest.raises(AnnotationError, match=r"00001.xml, object 0: class name 'cat'; expected"):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["00003"]
    assert "2 of 3 records left out" in warnings.text
    assert "00002.jpg: the image file is no image" in warnings.text


def test_two_images_of_one_id_are_an_error(root, load):
    write_picture(root / "JPEGImages-test/00001.jpg")
    with pytest.raises(ValueError, match="image id '00001' is also that of"):
        load(root)


# Published files


@pytest.mark.parametrize("config", CONFIGS)
def test_the_sample_is_read(shared_dir, load, config):
    root = shared_dir / "data/samples/dior"
    splits = load(root, config, split=None)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["04133"],
        "validation": ["04444"],
        "test": ["11760", "11765"],
    }
    row = splits["train"][0]
    assert (row["width"], row["height"], row["image"].size) == (800, 800, (800, 800))
    assert row["objects"]["category"] == [2, 2, 2, 2]
    assert row["objects"]["bbox"][0] == [188, 97, 198, 205]


@pytest.mark.parametrize(("config", "kind"), [("hbb", "horizontal"), ("obb", "oriented")])
def test_the_published_values_of_the_first_image_are_read(shared_dir, root, load, config, kind):
    file = f"data/samples/dior/official_values_without_image/{kind}_00001.xml"
    shutil.copyfile(shared_dir / file, root / FOLDERS[config] / "00001.xml")
    objects = load(root, config)[0]["objects"]
    assert (objects["bbox"], objects["category"]) == ([[133, 237, 551, 435]], [9])
