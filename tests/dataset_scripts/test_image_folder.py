"""Folders of classes: rows, splits, classes, real files."""

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import classification_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_picture
from tests.fakes_own import write_bands


@pytest.fixture
def root(tmp_path):
    return tmp_path / "mine"


@pytest.fixture
def load(root, tmp_path):
    def load(folder=root, **options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("image_folder", data_dir=folder, **options)

    return load


def write(root, *names):
    for name in names:
        write_picture(root / name)


def test_folders_are_classes_in_the_order_of_their_names(load, root):
    write(root, "ship/1.jpg", "harbor/1.png", "harbor/2.jpg", ".cache/x/1.jpg")
    rows = load()["train"]
    assert rows.features == classification_features(["harbor", "ship"])
    assert rows["image_id"][:] == ["harbor/1", "harbor/2", "ship/1"]
    assert rows["label"][:] == [0, 0, 1]
    assert rows[0]["image"].size == (60, 40)


def test_splits_are_folders_above_and_share_the_classes(load, root):
    write(root, "train/ship/1.jpg", "train/harbor/1.jpg", "valid/ship/2.jpg", "test/3.jpg")
    splits = load()
    assert splits.num_rows == {"train": 2, "validation": 1, "test": 1}
    assert splits["validation"]["label"][:] == [1]
    assert splits["test"][0]["label"] is None  # no labels


def test_a_folder_that_is_no_class_of_the_option_is_named(load, root):
    write(root, "ship/1.jpg", "harbor/1.jpg")
    with pytest.raises(AnnotationError, match=r"harbor/1\.jpg: class name 'harbor'; expected one"):
        load(class_names=["ship"])
    assert load(class_names=["ship", "harbor"])["train"]["label"][:] == [1, 0]


def test_a_tiff_of_many_bands_is_shown(load, root):
    write_bands(root / "ship/1.tif", 6)
    image = load(bands=[6, 4, 2])["train"][0]["image"]
    assert image.getpixel((0, 0)) == (227, 113, 0)


def test_a_split_without_classes_is_an_error(load, root):
    write(root, "train/ship/1.jpg", "val/1.jpg")
    with pytest.raises(FileNotFoundError, match=r"val: found '1\.jpg'; expected a folder of pic"):
        load()


def test_a_folder_without_pictures_is_an_error(load, root):
    root.mkdir()
    with pytest.raises(FileNotFoundError, match="mine: found nothing; expected a folder of pictur"):
        load()


def test_a_damaged_picture_is_named_or_left_out(load, root):
    write(root, "ship/1.jpg", "ship/2.jpg")
    (root / "ship/2.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(AnnotationError, match=r"ship/2\.jpg: the image file is"):
        load()
    assert load(on_error="skip")["train"]["image_id"][:] == ["ship/1"]


def test_real_scenes_are_read_as_ones_own(load, shared_dir):
    rows = load(shared_dir / "data/samples/eurosat/2750")["train"]
    assert rows.num_rows == 144
    assert rows.features["label"].names == ["Highway", "Industrial", "Pasture", "River"]


@pytest.mark.parametrize("name", ["train_station", "test-site", "training ground", "train"])
def test_a_class_may_be_called_like_a_split(load, root, name):
    write(root, "airport/1.jpg", f"{name}/1.jpg")
    assert load()["train"].features["label"].names == ["airport", name]


def test_a_class_called_like_a_split_is_one_within_splits(load, root):
    write(root, "train/train_station/1.jpg", "val_2/train_station/2.jpg", "val_2/ship/1.jpg")
    splits = load()
    assert splits.num_rows == {"train": 1, "validation": 2}
    assert splits["train"].features["label"].names == ["ship", "train_station"]


def test_splits_without_a_single_class_are_an_error(load, root):
    write(root, "train/1.jpg", "val/1.jpg")
    with pytest.raises(FileNotFoundError, match="expected a folder of pictures for each class"):
        load()
