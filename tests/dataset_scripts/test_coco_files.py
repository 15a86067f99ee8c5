"""Where COCO files and their pictures may lie, and files that are none."""

import logging

import datasets
import pytest

from mtp_hf.dataset_scripts._coco_files import find_coco_files, find_picture, read_coco_file
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import coco_content, write_coco, write_json


@pytest.fixture
def root(tmp_path):
    return (tmp_path / "mine").resolve()


def found(root):
    """Splits of a folder with the files of their pictures, relative to it."""
    splits = {}
    for split, path in find_coco_files(root).items():
        pictures = read_coco_file(path, root, split).pictures
        splits[split] = [find_picture(p, root).removeprefix(f"{root}/") for p in pictures]
    return splits


def test_the_layout_of_coco(root):
    write_coco(root)
    write_json(root / "annotations/captions_train2017.json", coco_content(""))
    assert found(root) == {
        "train": ["train2017/a.jpg", "train2017/b.jpg"],
        "validation": ["val2017/a.jpg"],
    }


def test_the_layout_of_roboflow(root):
    for split in ("train", "valid", "test"):
        write_picture(root / split / "a.jpg")
        write_json(root / split / "_annotations.coco.json", coco_content("a"))
    assert found(root) == {
        "train": ["train/a.jpg"],
        "validation": ["valid/a.jpg"],
        "test": ["test/a.jpg"],
    }


def test_one_file_beside_a_folder_of_pictures_is_all_train(root):
    write_picture(root / "images/a.jpg")
    write_json(root / "annotations.json", coco_content("a"))
    assert found(root) == {"train": ["images/a.jpg"]}


@pytest.mark.parametrize("subset", ["default", "Harbours"])
def test_the_layout_of_cvat(root, subset):
    write_picture(root / f"images/{subset}/a.jpg")
    write_json(root / f"annotations/instances_{subset}.json", coco_content("a"))
    assert found(root) == {"train": [f"images/{subset}/a.jpg"]}


def test_pictures_that_differ_in_their_suffix_alone_are_an_error(root):
    content = coco_content("ab")
    names = ["a.png", "a b.jpg"]  # between these two names when sorted
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    content["images"].append({"id": 3, "file_name": "a.jpg"})
    path = write_json(root / "annotations.json", content)
    with pytest.raises(
        AnnotationError, match=r"images 3 and 1 are 'a\.jpg' and 'a\.png'; expected"
    ):
        read_coco_file(path, root, "train")


def test_annotations_of_unknown_images_are_left_out_and_counted_if_asked(root, caplog):
    content = coco_content("ab")
    content["annotations"][1]["image_id"] = 9
    path = write_json(root / "annotations.json", content)
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        pictures = read_coco_file(path, root, "train", on_error="skip").pictures
    datasets.utils.logging.disable_propagation()
    assert [len(picture.annotations) for picture in pictures] == [1, 0]
    assert "1 annotations of images that are not among the images, first annotations[1]" in (
        caplog.text
    )


def test_pictures_below_folders_of_splits_are_those_of_the_split(root):
    for split in ("train", "val"):
        write_picture(root / f"images/{split}/a.jpg")
        write_json(root / f"annotations/{split}.json", coco_content("a"))
    assert found(root) == {"train": ["images/train/a.jpg"], "validation": ["images/val/a.jpg"]}


def test_other_json_in_the_folder_is_not_read(root):
    write_picture(root / "images/a.jpg")
    write_json(root / "annotations.json", coco_content("a"))
    write_json(root / "images/a.json", {"shapes": [], "imagePath": "a.jpg"})
    assert found(root) == {"train": ["images/a.jpg"]}


def test_names_with_folders_are_followed(root):
    write_picture(root / "harbours/east/a.jpg")
    content = coco_content("a")
    content["images"][0]["file_name"] = "harbours/east/a.jpg"
    write_json(root / "annotations.json", content)
    assert found(root) == {"train": ["harbours/east/a.jpg"]}


@pytest.mark.parametrize("name", ["../secret.jpg", "link.jpg"])
def test_a_name_that_leads_out_of_the_folder_is_refused(root, name):
    secret = write_picture(root.parent / "secret.jpg")
    root.mkdir(exist_ok=True)
    (root / "link.jpg").symlink_to(secret)
    content = coco_content("a")
    content["images"][0]["file_name"] = name
    write_json(root / "annotations.json", content)
    with pytest.raises(AnnotationError, match="leads out of"):
        found(root)


def test_a_missing_picture_is_named_with_the_places(root):
    write_coco(root)
    (root / "train2017/b.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"image 2: no file 'b.jpg'; looked in .*/train2017"):
        found(root)


def test_two_files_of_one_split_are_an_error(root):
    for name in ("one", "two"):
        write_json(root / f"{name}.json", coco_content("a"))
    with pytest.raises(AnnotationError, match=r"two.json: split 'train' is also that of .*one"):
        find_coco_files(root)


def test_a_folder_without_annotations_is_an_error(root):
    write_picture(root / "images/a.jpg")
    write_text(root / "list.json", "[1, 2]")
    write_text(root / "empty.json", "")
    with pytest.raises(FileNotFoundError, match="mine: no annotations of COCO; expected"):
        find_coco_files(root)


def broken(**changes):
    return {**coco_content("ab"), **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken(images=None), "not a COCO file"),
        ({"images": []}, "not a COCO file .KeyError: 'categories'"),
        (broken(images=[{"id": 1}]), "not a COCO file .*file_name"),
        (broken(images=[{"id": 1, "file_name": 2}]), "file_name 2; expected a text"),
        (broken(images=[{"id": "1", "file_name": "a"}]), "images: id '1'; expected an integer"),
        (broken(images=[{"id": 1, "file_name": "a"}] * 2), "images: id 1 is there twice"),
        (
            broken(images=[{"id": i, "file_name": "a"} for i in (1, 2)]),
            "images 1 and 2 are 'a' and 'a'; expected one entry a file",
        ),
        (broken(categories=[{"id": 3, "name": "x"}] * 2), "categories: id 3 is there twice"),
        (
            broken(annotations=[{"id": 1, "image_id": 9}]),
            r"annotations\[0\]: image_id 9 is not among the images",
        ),
    ],
)
def test_a_file_that_is_none_is_named(root, content, message):
    path = write_json(root / "annotations.json", content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_coco_file(path, root, "train")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["{", '{"images": [', "{\xff", "[" * 100_000])
def test_text_that_is_no_json_is_named(root, text):
    path = write_text(root / "annotations.json", text)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"annotations.json: not a readable json file"):
        read_coco_file(path, root, "train")
