"""Claims about numbers of images and classes in COCO results."""

import json

import pytest

from mtp_hf.submissions.coco_numbers import count_from_zero, path_of, read_coco_numbers


@pytest.fixture
def file(tmp_path):
    """Write a COCO file of some names, whose numbers go down from 9."""

    def write(*names, categories=("ship",)):
        content = {
            "images": [{"id": 9 - i, "file_name": name} for i, name in enumerate(names)],
            "categories": [{"id": 20 + i, "name": name} for i, name in enumerate(categories)],
            "annotations": [],
        }
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_the_folders_in_a_file_need_not_be_known(file):
    assert read_coco_numbers(file("val/00012.jpg")).of_image("00012", "00012.jpg") == 9


def test_images_of_one_name_are_told_apart_by_their_folders(file):
    numbers = read_coco_numbers(file("a/1.jpg", "b/1.jpg"))
    assert numbers.of_image("b/1", "1.jpg") == 8
    with pytest.raises(ValueError, match="no image 1.jpg among 2"):
        numbers.of_image("1", "1.jpg")


def test_leading_zeros_are_part_of_a_name(file):
    numbers = read_coco_numbers(file("1.jpg", "01.jpg"))
    assert (numbers.of_image("1", "1.jpg"), numbers.of_image("01", "01.jpg")) == (9, 8)


def test_an_id_that_is_no_name_does_not_stand_for_another_image(file):
    assert read_coco_numbers(file("1.jpg", "2.jpg")).of_image("2", "1.jpg") == 9


def test_classes_may_be_spelled_another_way(file):
    numbers = read_coco_numbers(file("1.jpg", categories=["Small-Car", "ship"]))
    assert numbers.of_classes(["ship", "small car"]) == [21, 20]


def test_classes_that_a_file_lacks_are_named(file):
    with pytest.raises(ValueError, match="no category for the classes harbor of the model"):
        read_coco_numbers(file("1.jpg")).of_classes(["ship", "harbor"])


def test_two_categories_of_one_name_are_refused(file):
    with pytest.raises(ValueError, match="two categories share a name"):
        read_coco_numbers(file("1.jpg", categories=["small car", "small-car"]))


def test_another_json_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ValueError, match="not a COCO file"):
        read_coco_numbers(tmp_path / "a.json")


def test_without_a_file_images_and_classes_count_from_zero():
    numbers = count_from_zero(["00003.jpg", "a/1.jpg"])
    assert numbers.of_image("a/1", "1.jpg") == 1
    assert numbers.of_classes(["ship", "harbor"]) == [0, 1]


def test_two_images_of_one_name_need_a_file():
    with pytest.raises(ValueError, match="several images are called 1.jpg"):
        count_from_zero(["1.jpg", "1.jpg"])


@pytest.mark.parametrize(
    ("image_id", "name"), [("1", "1.jpg"), ("a/1", "a/1.jpg"), ("train_1", "1.jpg")]
)
def test_a_name_has_the_folders_of_the_id(image_id, name):
    assert path_of(image_id, "1.jpg") == name
