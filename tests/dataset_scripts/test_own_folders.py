"""Layouts of folders, names of splits, lists, and labels without pictures."""

import logging

import datasets
import pytest

from mtp_hf.dataset_scripts._own_folders import LabelKind, PairingRule, find_pictures, split_of
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_detection import write_picture, write_text

KIND = LabelKind(("labels", "xml"), (".txt",))
MASKS = LabelKind(("masks",), (".png", ".jpg"), endings=("_mask",))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def write(root, *names):
    for name in names:
        if name.endswith((".jpg", ".png")):
            write_picture(root / name)
        else:
            write_text(root / name, "x")


def find(root, kind=KIND, allow_missing=False, on_error="raise"):
    splits = find_pictures(root, kind, PairingRule(allow_missing, on_error))
    return {
        split: {r.image_id: r.annotation and r.annotation.removeprefix(f"{root}/") for r in records}
        for split, records in splits.items()
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"),
        ("instances_val2017", "validation"),
        ("Valid", "validation"),
        ("image_info_test-dev2017", "validation"),
        ("my-test", "test"),
        ("training", "train"),
        ("latest", None),
        ("trainer", None),
    ],
)
def test_words_of_a_name_tell_the_split(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("{}/images/a.jpg", "{}/labels/a.txt"),
        ("images/{}/a.jpg", "labels/{}/a.txt"),
        ("{}/a.jpg", "{}/a.txt"),
        ("deep/er/JPEGImages/{}/a.jpg", "deep/er/XML/{}/a.txt"),
    ],
)
def test_splits_are_folders_above_or_below(root, picture, label):
    for split in ("train", "val"):
        write(root, picture.format(split), label.format(split))
    expected = {"train": {"a": label.format("train")}, "validation": {"a": label.format("val")}}
    assert find(root) == expected


@pytest.mark.parametrize("folders", [("images/", "labels/"), ("", "")])
def test_without_splits_all_is_train(root, folders):
    write(root, f"{folders[0]}a.jpg", f"{folders[1]}a.txt", f"{folders[1]}classes.txt")
    assert find(root) == {"train": {"a": f"{folders[1]}a.txt"}}


def test_lists_tell_the_splits(root, caplog):
    write(root, *(f"images/{stem}.jpg" for stem in "abcd"), *(f"labels/{s}.txt" for s in "abcd"))
    write_text(root / "train.txt", "images/c.jpg\r\na\r\n")
    write_text(root / "val.txt", "b\n")
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        splits = find(root)
    datasets.utils.logging.disable_propagation()
    assert {split: list(found) for split, found in splits.items()} == {
        "train": ["a", "c"],
        "validation": ["b"],
    }
    assert "1 of 4 pictures are in no list and left out" in caplog.text


def test_a_list_that_names_no_picture_is_an_error(root):
    write(root, "images/a.jpg", "labels/a.txt")
    write_text(root / "train.txt", "a\nz\n")
    with pytest.raises(
        AnnotationError, match=r"train.txt: 1 of 2 pictures are not there, first 'z"
    ):
        find(root)


def test_a_picture_without_label_is_an_error_or_left_out_or_empty(root):
    write(root, "images/a.jpg", "images/b.jpg", "labels/a.txt")
    with pytest.raises(
        FileNotFoundError, match="labels: 1 of 2 pictures have no label file, first"
    ):
        find(root)
    assert find(root, on_error="skip") == {"train": {"a": "labels/a.txt"}}
    assert find(root, allow_missing=True) == {"train": {"a": "labels/a.txt", "b": None}}


def test_a_split_without_any_label_is_an_error_though_labels_may_be_missing(root):
    write(root, "images/a.jpg", "labels/z.txt")
    with pytest.raises(
        FileNotFoundError, match="1 of 1 pictures have no label file, first 'a'; ex"
    ):
        find(root, allow_missing=True)


@pytest.mark.parametrize("name", ["train", "test", "classes"])
def test_a_picture_may_be_called_as_a_list_is(root, name):
    write(root, f"images/{name}.jpg", f"labels/{name}.txt")
    assert find(root) == {"train": {name: f"labels/{name}.txt"}}


def test_a_label_that_is_no_text_file_is_never_taken_for_a_list(root):
    write(root, "train.jpg", "train.xml")
    assert find(root, LabelKind(("xml",), (".xml",))) == {"train": {"train": "train.xml"}}


@pytest.mark.parametrize(
    "line", ["a", "a.bmp", "a.webp", "a.TIFF", "a  1", "a -1", "./images/a.png"]
)
def test_a_line_of_a_list_may_have_a_suffix_a_folder_or_a_flag(root, line):
    write(root, "images/a.png", "labels/a.txt")
    write_text(root / "train.txt", f"{line}\n")
    assert list(find(root)["train"]) == ["a"]


def test_a_name_that_ends_like_a_flag_is_a_name(root):
    write(root, "images/a 1.jpg", "labels/a 1.txt", "images/a.jpg", "labels/a.txt")
    write_text(root / "train.txt", "a 1\n")
    assert list(find(root)["train"]) == ["a 1"]


def test_a_label_without_picture_is_told(root, caplog):
    write(root, "images/a.jpg", "labels/a.txt", "labels/z.txt")
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        assert find(root) == {"train": {"a": "labels/a.txt"}}
    datasets.utils.logging.disable_propagation()
    assert "1 of 2 label files have no picture in" in caplog.text


def test_only_a_test_split_may_have_no_labels(root):
    write(root, "images/train/a.jpg", "labels/train/a.txt", "images/test/b.jpg")
    assert find(root) == {"train": {"a": "labels/train/a.txt"}, "test": {"b": None}}
    write(root, "images/val/c.jpg")
    with pytest.raises(
        FileNotFoundError, match="no labels of split 'validation'; expected them in"
    ):
        find(root)


def test_masks_may_have_an_ending_and_never_lie_among_pictures(root):
    write(root, "images/a.jpg", "images/b.jpg", "masks/a_mask.png", "masks/b.png")
    assert find(root, MASKS) == {"train": {"a": "masks/a_mask.png", "b": "masks/b.png"}}
    write(root / "two", "a.jpg", "a_mask.png")
    with pytest.raises(FileNotFoundError, match="expected folders 'images' and 'masks'"):
        find(root / "two", MASKS)


def test_folders_of_one_split_under_two_names_are_an_error(root):
    write(root, "images/val/a.jpg", "images/valid/a.jpg", "labels/val/a.txt")
    with pytest.raises(AnnotationError, match="'val' and 'valid' are both called after split"):
        find(root)


def test_two_pictures_of_one_name_are_an_error(root):
    write(root, "images/a.jpg", "images/a.png", "labels/a.txt")
    with pytest.raises(ValueError, match="image id 'a' is also that of"):
        find(root)


def test_two_sets_in_one_folder_are_an_error(root):
    write(root, "one/images/a.jpg", "one/labels/a.txt", "two/images/a.jpg", "two/labels/a.txt")
    with pytest.raises(AnnotationError, match="several sets, .*one, .*two; expected one"):
        find(root)


def test_a_folder_of_something_else_is_an_error_that_says_what_is_there(root):
    write(root, "notes.txt", "data/things.csv")
    with pytest.raises(
        FileNotFoundError, match=r"mine: found 'data', 'notes.txt'; expected folders"
    ):
        find(root)


def test_two_labels_of_one_picture_are_an_error(root):
    write(root, "images/a.jpg", "masks/a.png", "masks/a_mask.png")
    with pytest.raises(AnnotationError, match=r"a_mask\.png: a label of 'a' as .*a\.png is; expec"):
        find(root, MASKS)


def test_a_picture_whose_name_ends_as_labels_do_has_the_label_of_its_name(root):
    write(root, "images/a_mask.jpg", "masks/a_mask.png", "images/b.jpg", "masks/b_mask.png")
    expected = {"train": {"a_mask": "masks/a_mask.png", "b": "masks/b_mask.png"}}
    assert find(root, MASKS) == expected
