"""Folders of pairs: rows, splits, and pairs that are not whole."""

import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_picture
from tests.fakes_own import class_map, write_bands, write_mask

CHANGED = class_map() == 1


@pytest.fixture
def write(tmp_path):
    def write(*folders):
        for folder in folders:
            for stem in "ab":
                for role in ("A", "B"):
                    write_picture(tmp_path / "mine" / folder / role / f"{stem}.png")
                write_mask(tmp_path / "mine" / folder / f"label/{stem}.png", CHANGED * 255)
        return tmp_path / "mine"

    return write


@pytest.fixture
def load(tmp_path):
    def load(root, **options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("pair_folder", data_dir=root, **options)

    return load


def test_pairs_without_splits_are_all_train(load, write):
    rows = load(write("."))["train"]
    assert rows["image_id"][:] == ["a", "b"]
    assert rows.features == change_features()
    np.testing.assert_array_equal(np.asarray(rows[0]["mask"]), CHANGED)
    assert rows[0]["image"].size == rows[0]["image_post"].size == (60, 40)


def test_splits_are_folders(load, write):
    assert load(write("train", "val")).num_rows == {"train": 2, "validation": 2}


def test_a_pair_that_is_not_whole_is_named_or_left_out(load, write):
    root = write(".")
    (root / "B/b.png").unlink()
    with pytest.raises(AnnotationError, match="image 'b': .*B/b: no such file"):
        load(root)
    assert load(root, on_error="skip")["train"]["image_id"][:] == ["a"]


def test_streamed_rows_are_the_prepared_ones(load, write):
    root = write(".")
    streamed = [np.asarray(row["mask"]) for row in load(root, split="train", streaming=True)]
    for mask, row in zip(streamed, load(root, split="train"), strict=True):
        np.testing.assert_array_equal(mask, np.asarray(row["mask"]))


def test_real_pairs_are_read_as_ones_own(load, shared_dir):
    splits = load(shared_dir / "data/samples/levir_cd_256")
    assert splits.num_rows == {"train": 3, "validation": 1, "test": 7}


def test_a_value_of_no_label_can_be_told(load, write):
    rows = load(write("."), ignore_value=255)["train"]
    np.testing.assert_array_equal(np.asarray(rows[0]["mask"]), CHANGED * 255)
    with pytest.raises(ValueError, match="ignore_value=256; expected 0 to 255"):
        load(write("."), ignore_value=256)


def test_bands_can_be_chosen(load, tmp_path):
    for role in ("A", "B"):
        write_bands(tmp_path / f"wide/{role}/a.tif", 6)
    write_mask(tmp_path / "wide/label/a.png", CHANGED * 255)
    row = load(tmp_path / "wide", bands=[6, 4, 2])["train"][0]
    assert row["image"].getpixel((0, 0)) == row["image_post"].getpixel((0, 0)) == (227, 113, 0)
