"""Folders of YOLO: rows, missing labels, streaming."""

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import BOXES, NAMES, write_yolo, yolo_boxes


@pytest.fixture
def root(tmp_path):
    return write_yolo(tmp_path / "mine", yolo_boxes())


@pytest.fixture
def load(root, tmp_path):
    def load(**options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("yolo_folder", data_dir=root, **options)

    return load


def test_shares_of_the_picture_become_pixels(load):
    splits = load()
    assert splits.num_rows == {"train": 2, "validation": 1}
    assert splits["train"].features == detection_features(list(NAMES))
    first = splits["train"][0]
    assert (first["image_id"], first["image"].size) == ("a", (60, 40))
    expected = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES]
    for box, values in zip(first["objects"]["bbox"], expected, strict=True):
        assert box == pytest.approx(values, abs=1e-5)
    assert first["objects"]["category"] == [0, 1]
    assert first["objects"]["area"] == pytest.approx([160, 364], abs=1e-3)


def test_a_picture_without_label_file_has_no_object_unless_that_is_an_error(load):
    row = load(split="train")[1]
    assert (row["image_id"], row["objects"]["category"]) == ("b", [])
    with pytest.raises(FileNotFoundError, match="1 of 2 pictures have no label file, first 'b'"):
        load(missing_labels="error")


def test_streamed_rows_are_the_prepared_ones(load):
    streamed = [row["objects"] for row in load(split="train", streaming=True)]
    assert streamed == [row["objects"] for row in load(split="train")]


def test_a_broken_line_is_named_or_left_out(load, root):
    write_text(root / "labels/train/a.txt", "0 0.5 0.5 0.1 0.1\n0 30 20 12 8\n")
    with pytest.raises(AnnotationError, match=r"train/a\.txt, line 2: coordinate '30'"):
        load()
    assert load(split="train", on_error="skip")["image_id"][:] == ["b"]


def test_a_picture_that_is_none_is_named(load, root):
    write_text(root / "images/train/b.png", "not a picture")
    with pytest.raises(AnnotationError, match=r"b\.png: the image file is no image"):
        load()


def test_a_folder_without_yaml_needs_names(load, root):
    (root / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected a data\.yaml with names, a classes"):
        load()
    assert load(class_names=list(NAMES)).num_rows == {"train": 2, "validation": 1}


def test_an_empty_split_is_an_error(load, root):
    for name in ("a", "b"):
        (root / f"images/train/{name}.png").unlink()
    with pytest.raises(AnnotationError, match="no image for train"):
        load()


def test_a_changed_label_is_read_anew(load, root):
    assert len(load(split="train")[0]["objects"]["id"]) == 2
    write_text(root / "labels/train/a.txt", "1 0.5 0.5 0.1 0.1")
    assert load(split="train")[0]["objects"]["category"] == [1]


def test_pictures_of_many_kinds_are_read(load, root):
    write_picture(root / "images/train/c.bmp")
    write_picture(root / "images/train/d.webp")
    write_picture(root / "images/train/e.JPG", "L")
    assert [row["image"].mode for row in load(split="train")] == ["RGB"] * 5
