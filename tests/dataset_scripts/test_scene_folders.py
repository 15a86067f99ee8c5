"""Finding images of scenes, their classes and splits, in every layout in circulation."""

import datasets
import pytest

from mtp_hf.dataset_scripts._errors import AnnotationError, MissingFileError
from mtp_hf.dataset_scripts._scene_folders import (
    Scene,
    find_scenes,
    read_label_list,
    read_scene,
    split_scenes,
)
from tests.fakes_classification import write_picture

CLASSES = ["beach", "golf_course", "sea_ice"]
SUFFIXES = (".jpg", ".png")
LISTS = {"train": ("train.txt",), "test": ("test.txt", "valid.txt")}
SIZES = {"train": 1.0, "test": 1.0}


@pytest.fixture(autouse=True)
def _propagate():
    datasets.utils.logging.enable_propagation()  # so that caplog hears the warnings
    yield
    datasets.utils.logging.disable_propagation()


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def splits_of(root):
    scenes = find_scenes(root, CLASSES, SUFFIXES)
    found = split_scenes(root, scenes, LISTS, SIZES, 0)
    return {split: [scene.image_id for scene in part] for split, part in found.items()}


@pytest.mark.parametrize(
    "names",
    [
        ("beach/beach_1.jpg", "sea_ice/sea_ice_1.jpg"),
        ("a/b/Beach/beach_1.jpg", "a/b/Sea Ice/sea_ice_1.jpg"),
        ("all/beach_1.jpg", "all/sea_ice_1.jpg"),
        ("beach_1.jpg", "Sea-Ice_1.JPG".replace("JPG", "jpg")),
        ("Sea-Ice/sea_ice_1.PNG", "beach/beach_1.JPG"),
    ],
)
def test_folders_or_names_tell_the_class(tmp_path, names):
    scenes = find_scenes(write(tmp_path, *names), CLASSES, SUFFIXES)
    assert sorted(scene.class_name for scene in scenes.values()) == ["beach", "sea_ice"]
    assert list(scenes) == sorted(scenes)


def test_a_folder_tells_the_class_of_images_of_other_names(tmp_path):
    scenes = find_scenes(write(tmp_path, "beach/0001.jpg", "beach/.hid.jpg"), CLASSES, SUFFIXES)
    assert [scene.class_name for scene in scenes.values()] == ["beach"]


def test_images_of_no_class_and_missing_classes_are_named(tmp_path, caplog):
    write(tmp_path, "beach/beach_1.jpg", "beach/beach_2.jpg", "preview.png", "desert/desert_1.jpg")
    assert list(find_scenes(tmp_path, CLASSES, SUFFIXES)) == ["beach_1", "beach_2"]
    assert "2 images of no class left out, first" in caplog.text
    assert "no image of 2 of 3 classes: golf_course, sea_ice" in caplog.text


def test_a_folder_with_more_images_of_no_class_is_another_data_set(tmp_path):
    write(tmp_path, "beach/beach_1.jpg", "desert/desert_1.jpg", "harbor/harbor_1.jpg")
    with pytest.raises(AnnotationError, match="2 images are in no folder of a class, such as"):
        find_scenes(tmp_path, CLASSES, SUFFIXES)


@pytest.mark.parametrize("names", [(), ("desert/desert_1.jpg",), ("beach/beach_1.tif",)])
def test_a_folder_without_scenes_is_an_error(tmp_path, names):
    with pytest.raises(FileNotFoundError, match=r"no .jpg or .png file .* such as 'beach'"):
        find_scenes(write(tmp_path, *names), CLASSES, SUFFIXES)


def test_two_images_of_one_id_are_an_error(tmp_path):
    write(tmp_path, "x/beach/beach_1.jpg", "y/beach/beach_1.jpg")
    with pytest.raises(AnnotationError, match="image id 'beach_1' is also that of"):
        find_scenes(tmp_path, CLASSES, SUFFIXES)


# Splits


def test_lists_come_first(tmp_path, caplog):
    write(tmp_path, *(f"beach/beach_{i}.jpg" for i in range(4)))
    (tmp_path / "train.txt").write_bytes(b"beach_2.jpg\r\nbeach_0.jpg 0\r\n")
    (tmp_path / "valid.txt").write_text("beach/beach_1.jpg 0\n\n")
    assert splits_of(tmp_path) == {"train": ["beach_0", "beach_2"], "test": ["beach_1"]}
    assert "1 images are in no list and left out, first 'beach_3'" in caplog.text


def test_an_image_in_two_lists_is_kept_and_reported(tmp_path, caplog):
    write(tmp_path, "beach/beach_0.jpg", "beach/beach_1.jpg")
    (tmp_path / "train.txt").write_text("beach_0\nbeach_1\n")
    (tmp_path / "test.txt").write_text("beach_1\n")
    assert splits_of(tmp_path)["test"] == ["beach_1"]
    assert "1 images are in several lists" in caplog.text


def test_one_list_of_two_is_an_error(tmp_path):
    write(tmp_path, "beach/beach_0.jpg")
    (tmp_path / "train.txt").write_text("beach_0\n")
    with pytest.raises(FileNotFoundError, match=r"found train.txt but not test.txt; expected all"):
        splits_of(tmp_path)


def test_a_listed_image_that_is_missing_fails_when_it_is_read(tmp_path):
    write(tmp_path, "beach/beach_0.jpg")
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("beach_0\nbeach_7\n")
    scenes = find_scenes(tmp_path, CLASSES, SUFFIXES)
    train = split_scenes(tmp_path, scenes, LISTS, SIZES, 0)["train"]
    assert read_scene(train[0], CLASSES)["image_id"] == "beach_0"
    with pytest.raises(MissingFileError, match="beach_7: listed, but no such image of a class"):
        read_scene(train[1], CLASSES)


def test_links_are_followed(tmp_path):
    disk = write(tmp_path / "disk", "beach/beach_0.jpg", "beach/beach_1.jpg")
    for name in ("train.txt", "test.txt"):
        (disk / name).write_text(f"beach_{int(name == 'test.txt')}\n")
    root = tmp_path / "set"
    root.mkdir()
    (root / "2750").symlink_to(disk)
    assert splits_of(root) == {"train": ["beach_0"], "test": ["beach_1"]}


def test_folders_of_splits_are_used_without_lists(tmp_path):
    write(tmp_path, "Train/beach/beach_0.jpg", "test/beach/beach_1.jpg")
    assert splits_of(tmp_path) == {"train": ["beach_0"], "test": ["beach_1"]}


@pytest.mark.parametrize("name", ["val/beach/beach_1.jpg", "beach/beach_1.jpg"])
def test_folders_of_other_splits_are_an_error(tmp_path, name):
    write(tmp_path, "train/beach/beach_0.jpg", name)
    message = "beach_1.jpg: in a folder of split (validation|None); expected .* train, test"
    with pytest.raises(AnnotationError, match=message):
        splits_of(tmp_path)


def test_else_the_split_is_drawn_per_class_and_logged(tmp_path, caplog):
    write(tmp_path, *(f"{name}/{name}_{i}.jpg" for name in CLASSES for i in range(4)))
    splits = splits_of(tmp_path)
    for ids in splits.values():
        assert [i.rpartition("_")[0] for i in ids] == [n for n in CLASSES for _ in range(2)]
    assert "no lists (train.txt, test.txt) and no folders of splits; 6 train, 6 test" in caplog.text
    assert "drawn with seed 0" in caplog.text


# Lists and rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "the list is empty"),
        (b"a.jpg\na.png 3\n", "line 2: image 'a' is listed twice"),
        (b"a.jpg -1", "line 1: 'a.jpg -1'; expected a file name, or one and a label"),
        (b"a b c", "line 1: 'a b c'; expected"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_broken_list_is_an_error(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=f"list.txt.*{message}"):
        read_label_list(path)


def test_a_list_may_have_paths_marks_and_labels(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfx\\y\\a.jpg 3\r\nb.v2.png\n")
    assert read_label_list(path) == {"a": 3, "b.v2": None}


def test_a_row_has_id_path_and_label(tmp_path):
    path = str(write_picture(tmp_path / "golf_course_7.jpg", 8))
    for scene in (
        Scene(path, None, "golf_course", None, 1),
        Scene(path, "golf_course", None, None),
    ):
        row = read_scene(scene, CLASSES)
        assert row == {"image_id": "golf_course_7", "image": path, "label": 1}


def test_what_disagrees_is_an_error(tmp_path):
    path = str(write_picture(tmp_path / "beach_7.jpg", 8))
    with pytest.raises(
        AnnotationError, match="a file of class 'beach' in the folder of .*'sea_ice'"
    ):
        read_scene(Scene(path, "sea_ice", "beach", None), CLASSES)
    with pytest.raises(AnnotationError, match=r"beach_7.jpg: label 2 in the list; expected 0"):
        read_scene(Scene(path, "beach", "beach", None, 2), CLASSES)
