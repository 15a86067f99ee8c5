"""What a data.yaml says, and where its paths lead."""

import logging

import datasets
import pytest
import yaml

from mtp_hf.dataset_scripts._own_folders import PairingRule
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._yolo_files import (
    find_yolo_class_names,
    find_yolo_file,
    find_yolo_pictures,
)
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import write_yolo

EMPTY = PairingRule(allow_missing=True, on_error="raise")


@pytest.fixture
def root(tmp_path):
    return (tmp_path / "mine").resolve()


def write(root, **content):
    return write_yolo(root, "", content)


def pictures(root, rule=EMPTY):
    splits = find_yolo_pictures(root, find_yolo_file(root), rule)
    return {
        split: {r.image_id: r.annotation and r.annotation.removeprefix(f"{root}/") for r in records}
        for split, records in splits.items()
    }


def names(root):
    return find_yolo_class_names(root, find_yolo_file(root))


ALL = {
    "train": {"a": "labels/train/a.txt", "b": None},
    "validation": {"a": "labels/val/a.txt"},
}


@pytest.mark.parametrize(
    "content",
    [
        {"train": "images/train", "val": "images/val"},
        {"train": ["images/train"], "val": "./images/val"},
        {"path": ".", "train": "images/train", "val": "images/val", "test": None},
        {"path": "/data/of/another/machine", "train": "images/train", "val": "images/val"},
        {"path": "images", "train": "train", "val": "val"},
        {"train": "../images/train", "val": "../images/val"},  # as Roboflow writes
        {},  # folders called after splits
    ],
)
def test_paths_lead_to_folders(root, content):
    write(root, **content)
    assert pictures(root) == ALL


def test_a_list_of_pictures_is_a_split(root):
    write(root, train="train.txt", val="images/val")
    write_text(root / "train.txt", "./images/train/a.png\r\n\r\nimages/train/b.png\r\n")
    assert pictures(root) == ALL


def test_folders_below_a_folder_are_read_and_name_their_pictures(root):
    write(root, train="images/train")
    write_picture(root / "images/train/east/a.png")
    write_text(root / "labels/train/east/a.txt", "")
    assert pictures(root)["train"] == ALL["train"] | {"east/a": "labels/train/east/a.txt"}


def test_labels_lie_beside_pictures_that_are_in_no_folder_images(root):
    write(root, train="east")
    write_picture(root / "east/a.jpg")
    write_text(root / "east/a.txt", "")
    assert pictures(root) == {"train": {"a": "east/a.txt"}}


def test_labels_are_found_beside_pictures_in_a_folder_images(root):
    write(root, train="images/train")
    (root / "labels/train/a.txt").rename(root / "images/train/a.txt")
    assert pictures(root)["train"] == {"a": "images/train/a.txt", "b": None}


@pytest.mark.parametrize("folder", ["train", "images/train"])
def test_a_folder_images_above_the_set_says_nothing_about_its_labels(tmp_path, folder):
    root = (tmp_path / "images/mine").resolve()
    write(root, train=folder)
    write_picture(root / "train/a.png")
    write_text(root / "train/a.txt", "")
    label = "train/a.txt" if folder == "train" else "labels/train/a.txt"
    assert pictures(root)["train"]["a"] == label


@pytest.mark.parametrize("content", [{"train": "images/train"}, {}])
def test_a_split_without_any_label_file_is_an_error(root, content):
    write(root, **content)
    (root / "labels/train/a.txt").unlink()
    with pytest.raises(FileNotFoundError, match="2 of 2 pictures have no label file, first 'a', "):
        pictures(root)


@pytest.mark.parametrize("content", [{"train": "images/train"}, {}])
def test_pictures_without_label_file_are_counted_in_a_warning(root, content, caplog):
    write(root, **content)
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        pictures(root)
    datasets.utils.logging.disable_propagation()
    assert "1 of 2 pictures have no label file, first 'b'; read without objects" in caplog.text


def test_missing_labels_are_an_error_if_asked_but_not_in_a_test_split(root):
    write(root, train="images/train", test="images/test")
    write_picture(root / "images/test/c.png")
    with pytest.raises(FileNotFoundError, match="data.yaml, train: 1 of 2 pictures have no label"):
        pictures(root, PairingRule(False, "raise"))
    splits = pictures(root, PairingRule(False, "skip"))
    assert splits == {"train": {"a": "labels/train/a.txt"}, "test": {"c": None}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": "images/none"}, "train 'images/none' is not there; expected a folder"),
        ({"val": "../outside"}, "val '../outside' leads to .*outside, out of"),
    ],
)
def test_a_path_that_leads_nowhere_or_out_is_an_error(root, content, message):
    write(root, **content)
    write_picture(root.parent / "outside/a.png")
    with pytest.raises(FileNotFoundError, match=message):
        pictures(root)


def test_a_list_that_names_no_picture_is_an_error(root):
    write(root, train="train.txt")
    write_text(root / "train.txt", "images/train/a.png\n../outside/a.png\n")
    write_picture(root.parent / "outside/a.png")
    with pytest.raises(AnnotationError, match=r"train.txt, line 2: '../outside/a.png'; expected a"):
        pictures(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"a": 1}}, r"data\.yaml: train is a dict; expected a folder"),
        ({"train": [["images"]]}, "train is a list; expected a folder"),
        ({"train": "data.bin"}, r"data\.bin: not a text file"),
    ],
)
def test_a_split_that_is_no_path_is_an_error(root, content, message):
    write(root, **content)
    (root / "data.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(AnnotationError, match=message):
        pictures(root)


def test_two_pictures_of_one_name_in_two_folders_are_an_error(root):
    write(root, train=["images/train", "images/val"])
    with pytest.raises(AnnotationError, match="image id 'a' is also that of"):
        pictures(root)


@pytest.mark.parametrize(
    "content",
    [
        ["ship", "harbor"],
        {0: "ship", 1: "harbor"},
        {1: "harbor", 0: "ship"},
        {"0": "ship", "1": "harbor"},
    ],
)
def test_names_are_a_list_or_a_table_in_any_order(root, content):
    write(root, names=content, nc=2)
    assert names(root) == ["ship", "harbor"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": {1: "ship", 2: "harbor"}}, r"the numbers \[1, 2\]; expected 0, 1, 2"),
        ({"names": {0: "ship", "0": "harbor"}}, r"the numbers \[0, '0'\]; expected 0, 1, 2"),
        ({"names": "ship"}, "names are 'ship'; expected a list or a table"),
        ({"names": ["ship"], "nc": 2}, "nc is 2, but there are 1 names"),
        ({"names": ["ship"], "nc": ["x"]}, "nc is list, but there are 1 names"),
        ({"names": ["ship", ["x"]]}, "a name is a list; expected words"),
        ({"names": ["ship", False]}, "a name is a bool; expected words .in quotes where yaml"),
    ],
)
def test_names_that_cannot_be_right_are_refused(root, content, message):
    write(root, **content)
    with pytest.raises(AnnotationError, match=message):
        names(root)


def test_names_stand_in_classes_txt_where_no_yaml_has_them(root):
    write(root)
    with pytest.raises(FileNotFoundError, match=r"found 'data.yaml', 'images', 'labels'; expected"):
        names(root)
    write_text(root / "labels/train/classes.txt", "ship\nharbor\n")
    assert names(root) == ["ship", "harbor"]


def test_a_yaml_of_another_name_is_taken_if_it_is_the_only_one(root):
    write(root)
    (root / "data.yaml").unlink()
    write_text(root / "hyper.yaml", "lr: 0.1")
    write_text(root / "ships.yaml", yaml.safe_dump({"names": ["ship"]}))
    assert names(root) == ["ship"]
    write_text(root / "planes.yml", yaml.safe_dump({"names": ["plane"]}))
    with pytest.raises(AnnotationError, match="planes.yml, ships.yaml all have names; expected"):
        find_yolo_file(root)


@pytest.mark.parametrize(
    "text", ["a: [", "- ship", "x: !!python/object/apply:os.system [ls]", "\x00"]
)
def test_a_file_that_is_no_table_is_named(root, text):
    write_text(root / "data.yaml", text)
    with pytest.raises(AnnotationError, match=r"data\.yaml: "):
        find_yolo_file(root)
