"""xView: drawn splits, what is left out and said, missing files, and the sample."""

import logging
import shutil

import datasets
import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import XVIEW_CLASSES
from mtp_hf.dataset_scripts.features import detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import (
    BOXES,
    write_picture,
    write_text,
    write_xview,
    write_xview_labels,
    xview_feature,
)

LABELS = "train_labels/xView_train.geojson"


@pytest.fixture
def root(tmp_path):
    return write_xview(tmp_path / "xView")


@pytest.fixture
def load(tmp_path):
    def load(root, split="train+test", **options):
        return load_dataset(
            "xview", data_dir=root, split=split, cache_dir=tmp_path, quiet=True, **options
        )

    return load


@pytest.fixture
def warnings(caplog):
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    datasets.utils.logging.disable_propagation()


def row_of(rows, image_id):
    return next(row for row in rows if row["image_id"] == image_id)


def test_a_row_has_the_defined_objects_with_boxes_as_annotated(root, load):
    row = row_of(load(root), "10")
    assert (row["width"], row["height"], row["image"].size) == (60, 40, (60, 40))
    assert row["objects"] == {
        "id": [0, 1],
        "bbox": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES],
        "category": [0, 59],
        "area": [160, 38 * 14],
        "iscrowd": [False, False],
    }


def test_what_is_left_out_is_counted_and_named(root, load, warnings):
    load(root)
    for words in (
        "1 features left out: type_id 75, which is no class",
        "1 features left out: type_id 82, which is no class",
        "1 features left out: no box (empty 'bounds_imcoords')",
        "images ['1395'], 1 features, left out: published nowhere",
        "1 images have no label, first '5'; left out",
        "8 train, 2 test images drawn with seed 0",
    ):
        assert words in warnings.text


def test_every_labelled_image_is_in_one_split_that_the_seed_decides(root, load):
    drawn = {seed: load(root, split=None, split_seed=seed) for seed in (0, 1)}
    for splits in drawn.values():
        ids = [rows["image_id"][:] for rows in splits.values()]
        assert [len(part) for part in ids] == [8, 2]
        assert sorted(ids[0] + ids[1]) == [str(number) for number in range(10, 20)]
    assert drawn[0]["test"]["image_id"][:] != drawn[1]["test"]["image_id"][:]


def test_a_whole_copy_has_700_training_images(tmp_path, load):
    root = tmp_path / "xView"
    features = [xview_feature(f"{n}.tif", 11, "0,0,1,1") for n in range(846)]
    write_xview_labels(root / "xView_train.geojson", features)
    picture = write_picture(root / "train_images/0.tif", size=(2, 2))
    for number in range(1, 846):
        shutil.copyfile(picture, root / f"train_images/{number}.tif")
    assert load(root, split=None).num_rows == {"train": 700, "test": 146}
    assert load(root, split=None, num_train=600).num_rows == {"train": 600, "test": 246}


@pytest.mark.parametrize("num_train", [0, 846, -5])
def test_a_split_without_images_is_refused(root, load, num_train):
    with pytest.raises(ValueError, match=rf"num_train={num_train}; expected 1 to 845 of the 846"):
        load(root, num_train=num_train)


def test_two_images_are_one_for_each_split(root, load):
    for number in range(12, 20):
        (root / f"train_images/{number}.tif").unlink()
    rows = load(root, split=None, on_error="skip")
    assert rows.num_rows == {"train": 1, "test": 1}
    (root / "train_images/11.tif").unlink()
    with pytest.raises(AnnotationError, match="1 labelled images; expected two or more"):
        load(root, on_error="skip")


def test_columns_have_the_sixty_classes(root, load):
    assert load(root).features == detection_features(XVIEW_CLASSES)


def test_streamed_rows_are_the_prepared_ones(root, load):
    prepared, streamed = load(root, "train"), load(root, "train", streaming=True)
    for left, right in zip(prepared, streamed, strict=True):
        assert np.array_equal(np.asarray(left.pop("image")), np.asarray(right.pop("image")))
        assert left == right


def test_two_processes_give_the_same_rows(root, load, tmp_path):
    alone = load(root, "train")
    assert load(root, "train", num_proc=2)["objects"][:] == alone["objects"][:]


@pytest.mark.parametrize("place", ["xView_train.geojson", "labels/xview_train.GeoJSON"])
def test_the_label_file_may_lie_elsewhere(root, load, place):
    (root / place).parent.mkdir(exist_ok=True)
    (root / LABELS).rename(root / place)
    assert load(root).num_rows == 10


def test_images_may_lie_deeper_and_in_another_case(root, load):
    (root / "train_images").rename(root / "images")
    (root / "Train_Images").mkdir()
    (root / "images").rename(root / "Train_Images/train_images")
    assert load(root).num_rows == 10


def test_the_folder_above_is_enough(root, load, tmp_path):
    assert load(tmp_path).num_rows == load(root).num_rows


@pytest.mark.parametrize("part", ["train_images", "train_labels"])
def test_a_missing_part_is_an_error_that_says_what_is_there(root, load, part):
    shutil.rmtree(root / part)
    with pytest.raises(FileNotFoundError) as error:
        load(root)
    assert f"{root}: found 'train_" in str(error.value)
    assert "expected a folder 'train_images' and the file 'xView_train.geojson'" in str(error.value)


def test_missing_images_are_an_error_or_left_out(root, load, warnings):
    (root / "train_images/12.tif").unlink()
    message = "1 of 11 images are not in 'train_images', first '12'"
    with pytest.raises(FileNotFoundError, match=message):
        load(root)
    assert load(root, on_error="skip").num_rows == 9
    assert message in warnings.text


def test_broken_files_are_named_and_left_out_if_asked(root, load, warnings):
    (root / "train_images/13.tif").write_bytes(b"no picture")
    features = [
        xview_feature(f"{n}.tif", 11, "0,0,1" if n == 12 else "0,0,1,1") for n in range(10, 16)
    ]
    write_xview_labels(root / LABELS, features)
    with pytest.raises(AnnotationError, match=r"geojson, feature 2: .* is '0,0,1'|13.tif"):
        load(root)
    rows = load(root, on_error="skip")
    assert sorted(rows["image_id"][:]) == ["10", "11", "14", "15"]
    assert "feature 2: field 'bounds_imcoords' is '0,0,1'" in warnings.text
    assert "13.tif: the image file is no image" in warnings.text


def test_a_label_file_that_is_none_is_named(root, load):
    write_text(root / LABELS, "{")
    with pytest.raises(AnnotationError, match=r"xView_train.geojson: not a readable json file"):
        load(root)


def test_the_sample_is_read(shared_dir, load, warnings):
    rows = load(shared_dir / "data/samples/xview")
    assert sorted(rows["image_id"][:]) == ["100", "102"]
    counts = {row["image_id"]: len(row["objects"]["id"]) for row in rows}
    assert counts == {"100": 375, "102": 64}
    assert row_of(rows, "100")["objects"]["bbox"][0] == [600, 109, 23, 22]
    assert "images ['1395'], 1 features, left out" in warnings.text
