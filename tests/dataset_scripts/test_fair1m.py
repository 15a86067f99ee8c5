"""FAIR1M-2.0: parts, ids of two splits that use the same numbers, names, and the sample."""

import logging
import shutil

import datasets
import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import FAST_CLASSES
from mtp_hf.dataset_scripts.features import oriented_detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import POLYGONS, fair1m_xml, write_fair1m, write_picture, write_text

TRAIN_XML = "train/part1/labelXml/0.xml"


@pytest.fixture
def root(tmp_path):
    return write_fair1m(tmp_path / "FAIR1M")


@pytest.fixture
def load(tmp_path):
    def load(root, split="train", **options):
        return load_dataset(
            "fair1m", data_dir=root, split=split, cache_dir=tmp_path, quiet=True, **options
        )

    return load


@pytest.fixture
def warnings(caplog):
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    datasets.utils.logging.disable_propagation()


def test_a_row_has_corners_in_file_order_without_the_repeated_one(root, load):
    row = load(root)[0]
    assert (row["width"], row["height"], row["image"].size) == (60, 40, (60, 40))
    assert (row["image_source"], row["gsd"]) == ("GF2/GF3", None)
    assert row["objects"] == {
        "id": [0, 1],
        "bbox": [[10, 5, 20, 8], [32.5, 18.5, 37, 13]],
        "category": [15, 25],
        "area": [160, 240.5],
        "iscrowd": [False, False],
        "polygon": [list(polygon) for polygon in POLYGONS],
        "difficult": [0, 0],
    }


def test_ids_say_the_split_because_numbers_are_used_twice(root, load):
    splits = load(root, split=None)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["train_0", "train_1"],
        "validation": ["valid_0"],
        "test": ["test_0"],
    }
    both = load(root, split="train+validation")
    assert [row["objects"]["category"] for row in both] == [[15, 25], [], [7]]


def test_test_images_have_no_objects(root, load):
    (row,) = load(root, split="test")
    assert set(map(tuple, row["objects"].values())) == {()}
    assert row["image_source"] is None


def test_columns_have_37_classes_in_the_order_of_the_published_heads(root, load):
    rows = load(root)
    assert rows.features == oriented_detection_features(FAST_CLASSES)
    assert rows.features["objects"]["category"].feature.names[24:27] == [
        "other-airplane",
        "other-ship",
        "other-vehicle",
    ]


@pytest.mark.parametrize("spelling", ["Small Car", "small-car", "SmallCar"])
def test_class_names_are_read_in_other_spellings(root, load, spelling):
    write_text(root / TRAIN_XML, fair1m_xml((0, spelling)))
    assert load(root)[0]["objects"]["category"] == [29]


def test_streamed_rows_are_the_prepared_ones(root, load):
    prepared, streamed = load(root), load(root, streaming=True)
    for left, right in zip(prepared, streamed, strict=True):
        assert np.array_equal(np.asarray(left.pop("image")), np.asarray(right.pop("image")))
        assert left == right


def test_folders_of_other_names_and_the_folder_above_are_found(root, load, tmp_path):
    (root / "validation").rename(root / "val")
    (root / "train/part2/images").rename(root / "train/part2/images-1")
    (root / "train/part1/labelXml").rename(root / "train/part1/labels")
    assert load(tmp_path, split=None).num_rows == {"train": 2, "validation": 1, "test": 1}


def test_only_splits_that_are_there_are_read(root, load):
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "validation")
    assert set(load(root, split=None)) == {"train"}


def test_a_folder_of_something_else_is_an_error_that_says_what_is_there(tmp_path, load):
    write_text(tmp_path / "files/labelTxt/a.txt", "")
    with pytest.raises(FileNotFoundError, match="found 'labelTxt'; expected a folder 'train', 'v"):
        load(tmp_path / "files")


def test_one_number_in_two_parts_is_an_error(root, load):
    write_picture(root / "train/part2/images/0.tif")
    with pytest.raises(ValueError, match="image id '0' is also that of .*part1"):
        load(root)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train/part1/images/0.tif", "train: 1 annotation files have no image, first '0'"),
        (TRAIN_XML, "train: 1 images have no annotation file, first '0'"),
    ],
)
def test_a_missing_file_is_an_error_or_left_out(root, load, warnings, file, message):
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["train_1"]
    assert message in warnings.text


def test_broken_files_are_named_and_left_out_if_asked(root, load, warnings):
    write_text(root / TRAIN_XML, fair1m_xml((0, "Boeing797")))
    with pytest.raises(AnnotationError, match=r"0.xml, object 0: class name 'Boeing797'; expected"):
        load(root)
    write_text(root / TRAIN_XML, "<annotation>")
    with pytest.raises(AnnotationError, match=r"part1/labelXml/0.xml: not a readable xml file"):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["train_1"]
    assert "1 of 2 records left out" in warnings.text


def test_an_image_cut_short_is_named(root, load):
    path = root / "train/part1/images/0.tif"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(AnnotationError, match=r"0.tif: the image file is damaged or cut short"):
        load(root)


def test_the_sample_is_read(shared_dir, load):
    splits = load(shared_dir / "data/samples/fair1m_v2.0", split=None)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["train_2956"],
        "validation": ["valid_0"],
        "test": ["test_0"],
    }
    row = splits["train"][0]
    assert row["image"].size == (row["width"], row["height"]) == (600, 600)
    assert row["objects"]["category"] == [24, 24]
    # Six decimals in the file, float32 in the row.
    expected = [177.295709, 420.137838, 159.599342, 503.414860]
    assert row["objects"]["polygon"][0][:4] == pytest.approx(expected, abs=1e-4)
    assert len(splits["validation"][0]["objects"]["id"]) > 0
