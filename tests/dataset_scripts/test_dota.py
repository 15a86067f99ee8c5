"""DOTA: layouts, releases, irregular files, and the published sample."""

import logging
import shutil

import datasets
import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.dota import DOTA_CLASSES, Dota, DotaConfig
from mtp_hf.dataset_scripts.features import oriented_detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import POLYGONS, dota_line, write_dota, write_picture, write_text


@pytest.fixture
def root(tmp_path):
    return write_dota(tmp_path / "DOTA")


@pytest.fixture
def load(tmp_path):
    def load(root, config="v1.0", split="train", **options):
        return load_dataset(
            "dota", config, data_dir=root, split=split, cache_dir=tmp_path, quiet=True, **options
        )

    return load


@pytest.fixture
def warnings(caplog):
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        yield caplog
    datasets.utils.logging.disable_propagation()


# Rows


def test_a_row_has_objects_as_annotated(root, load):
    row = load(root)[0]
    assert (row["image_id"], row["width"], row["height"]) == ("P0", 60, 40)
    assert (row["image_source"], row["gsd"]) == ("GoogleEarth", 0.25)
    objects = row["objects"]
    assert objects["polygon"] == [list(polygon) for polygon in POLYGONS]
    assert objects["bbox"] == [[10, 5, 20, 8], [32.5, 18.5, 37, 13]]
    assert objects["area"] == [160, 18.5 * 13]
    assert objects["category"] == [6, 5]
    assert objects["difficult"] == [1, 0]
    assert (objects["id"], objects["iscrowd"]) == ([0, 1], [False, False])


def test_every_split_that_is_there_is_read(root, load):
    assert load(root, split=None).num_rows == {"train": 2, "validation": 1, "test": 1}
    assert load(root, split="train+validation")["image_id"][:] == ["P0", "P1", "P2"]
    shutil.rmtree(root / "val")
    assert set(load(root, split=None)) == {"train", "test"}


def test_an_empty_file_has_no_objects_and_a_test_image_neither(root, load):
    for row in (load(root)[1], load(root, split="test")[0]):
        assert set(map(tuple, row["objects"].values())) == {()}
        assert row["image_source"] is row["gsd"] is None


def test_gray_images_and_alpha_channels_are_decoded_as_rgb(root, load):
    for row in (load(root)[1], load(root, split="validation")[0]):
        assert row["image"].mode == "RGB"


def test_a_third_header_line_and_a_missing_difficulty_are_read(root, load):
    row = load(root, split="validation")[0]
    assert (row["image_source"], row["gsd"], row["objects"]["difficult"]) == ("GF", None, [0])


@pytest.mark.parametrize(("config", "count"), [("v1.0", 15), ("v1.5", 16), ("v2.0", 18)])
def test_releases_have_their_published_classes(root, load, config, count):
    features = load(root, config).features
    assert features == oriented_detection_features(DOTA_CLASSES[config])
    names = features["objects"]["category"].feature.names
    assert len(names) == count
    assert (names[0], names[5], names[14]) == ("plane", "large-vehicle", "helicopter")


@pytest.mark.parametrize("spelling", ["Large-Vehicle", "largevehicle", "large_vehicle"])
def test_class_names_are_read_in_other_spellings(root, load, spelling):
    write_text(root / "train/labelTxt/P1.txt", dota_line(0, spelling))
    assert load(root)[1]["objects"]["category"] == [5]


def test_objects_of_no_size_are_kept(root, load):
    write_text(root / "train/labelTxt/P1.txt", "5 5 5 5 5 5 5 5 ship 0")
    objects = load(root)[1]["objects"]
    assert (objects["bbox"], objects["area"]) == ([[5, 5, 0, 0]], [0])


def test_streamed_rows_are_the_prepared_ones(root, load):
    prepared, streamed = load(root), load(root, streaming=True)
    for left, right in zip(prepared, streamed, strict=True):
        assert np.array_equal(np.asarray(left.pop("image")), np.asarray(right.pop("image")))
        assert left == right


def test_parquet_files_carry_their_pictures_and_columns(root, load, tmp_path):
    before = load(root)
    builder = Dota(config_name="v1.0", data_dir=str(root), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare(str(tmp_path / "parquet"), file_format="parquet")
    shutil.rmtree(root / "train/images")
    files = datasets.load_dataset(str(tmp_path / "parquet"), cache_dir=str(tmp_path / "again"))
    assert files["train"].features == before.features
    assert files["train"]["objects"][:] == before["objects"][:]
    assert files["train"][1]["image"].mode == "RGB"


# Layouts


@pytest.mark.parametrize(
    "labels",
    [
        "labelTxt-v1.0/labelTxt",
        "labelTxt-v1.0",
        "annfiles",
        "annotations/version1.0",
        "LabelTxt",
    ],
)
def test_other_names_of_label_folders_are_found(tmp_path, load, labels):
    rows = load(write_dota(tmp_path / "DOTA", labels), split="train+validation")
    assert list(map(len, (row["objects"]["id"] for row in rows))) == [2, 0, 1]


def test_images_in_parts_and_the_folder_above_are_found(root, load, tmp_path):
    part = root / "train/images/part1/images"
    part.mkdir(parents=True)
    (root / "train/images/P0.png").rename(part / "P0.png")
    assert load(root)["image_id"][:] == ["P0", "P1"]
    assert load(tmp_path)["image_id"][:] == ["P0", "P1"]


def test_linked_folders_are_read(root, load, tmp_path):
    (root / "train/images").rename(tmp_path / "disk")
    (root / "train/images").mkdir()
    (root / "train/images/part1").symlink_to(tmp_path / "disk")
    assert load(root)["image_id"][:] == ["P0", "P1"]


def test_trainval_is_the_training_split(root, load):
    shutil.rmtree(root / "val")
    (root / "train").rename(root / "trainval")
    assert load(root).num_rows == 2


def test_each_release_reads_its_own_labels_and_images(tmp_path, load, warnings):
    root = write_dota(tmp_path / "DOTA", "labelTxt-v1.0/labelTxt")
    extra = root / "train/labelTxt-v2.0/DOTA-v2.0_train"
    for stem in ("P0", "P1", "P9"):  # the images of v1.0 and more, labelled anew
        write_text(extra / f"{stem}.txt", dota_line(0, "airport"))
    write_picture(root / "train/images/P9.png")
    shutil.rmtree(root / "val")
    assert load(root, "v1.0")["image_id"][:] == ["P0", "P1"]
    assert "1 images have labels of other releases only" in warnings.text
    assert "first 'P9'" in warnings.text
    second = load(root, "v2.0")
    assert second["image_id"][:] == ["P0", "P1", "P9"]
    assert [row["objects"]["category"] for row in second] == [[16]] * 3


def test_labels_of_horizontal_boxes_are_not_read(tmp_path, load):
    root = write_dota(tmp_path / "DOTA", "labelTxt-v1.0/labelTxt")
    for name in ("trainset_reclabelTxt", "Train_Task2_gt", "DOTA-v1.0_train_hbb"):
        write_text(root / f"train/labelTxt-v1.0/{name}/P0.txt", dota_line(1, "ship"))
    assert len(load(root)[0]["objects"]["id"]) == 2


def test_only_the_second_release_has_a_challenge_split(root, load):
    write_picture(root / "test-challenge/images/P8.png")
    assert "test_challenge" not in load(root, split=None)
    assert load(root, "v2.0", split="test_challenge")["image_id"][:] == ["P8"]


def test_each_release_has_its_own_test_set(root, load):
    write_picture(root / "test-dev/images/P7.png")
    assert load(root, split="test")["image_id"][:] == ["P3"]
    assert load(root, "v2.0", split="test")["image_id"][:] == ["P7"]
    shutil.rmtree(root / "test")
    assert "test" not in load(root, split=None)


def test_the_download_is_read_as_it_is(tmp_path, load):
    root = write_dota(tmp_path / "DOTA", "labelTxt-v1.0/labelTxt")
    for split in ("train", "val"):
        labels = root / split / "labelTxt-v1.0"
        write_text(labels / "gt/P0.txt", "horizontal boxes")
        for folder, name in ((labels / "labelTxt", "labelTxt"), (labels / "gt", "Train_Task2_gt")):
            shutil.make_archive(str(labels / name), "zip", folder)
            shutil.rmtree(folder)
        images = root / split / "images"
        shutil.copytree(images, tmp_path / split / "images")
        shutil.rmtree(images)
        images.mkdir()
        shutil.make_archive(str(images / "part1"), "zip", tmp_path / split, "images")
    rows = load(root, split="train+validation")
    assert rows["image_id"][:] == ["P0", "P1", "P2"]
    assert [len(row["objects"]["id"]) for row in rows] == [2, 0, 1]
    assert not (root / "train/labelTxt-v1.0/Train_Task2_gt").exists()


@pytest.mark.parametrize(
    ("archive", "is_wanted"),
    [
        ("train/images/part1.zip", True),
        ("train/labelTxt-v1.0/labelTxt.zip", True),
        ("train/labelTxt-v1.0/Train_Task2_gt.zip", False),
        ("train/labelTxt-v1.5/DOTA-v1.5_train.zip", False),
        ("train/labelTxt.zip", True),
    ],
)
def test_archives_of_other_labels_stay_packed(root, archive, is_wanted):
    assert DotaConfig(name="v1.0").wants_archive(root / archive) == is_wanted


# Errors


def test_a_folder_of_something_else_is_an_error_that_says_what_is_there(tmp_path, load):
    write_text(tmp_path / "files/JPEGImages/a.txt", "")
    with pytest.raises(FileNotFoundError, match="found 'JPEGImages'; expected a folder 'train'"):
        load(tmp_path / "files")


def test_missing_labels_of_a_release_are_an_error(tmp_path, load):
    root = write_dota(tmp_path / "DOTA", "labelTxt-v1.5")
    with pytest.raises(FileNotFoundError, match=r"label folders \['labelTxt-v1.5'\].*release v1.0"):
        load(root)


def test_a_split_without_image_folder_is_an_error(root, load):
    shutil.rmtree(root / "val/images")
    with pytest.raises(FileNotFoundError, match=r"val: found 'labelTxt'; expected 'images'"):
        load(root)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("images/P0.png", "1 annotation files have no image, first 'P0'"),
        ("labelTxt/P0.txt", "1 images have no annotation file, first 'P0'"),
    ],
)
def test_a_file_without_partner_is_an_error_or_left_out(root, load, warnings, file, message):
    (root / "train" / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["P1"]
    assert message in warnings.text


def test_a_class_of_a_later_release_is_an_error_that_names_the_line(root, load):
    write_text(root / "train/labelTxt/P1.txt", dota_line(0, "container-crane"))
    with pytest.raises(AnnotationError, match=r"P1.txt, line 1: class name 'container-crane'"):
        load(root)
    assert load(root, "v1.5")[1]["objects"]["category"] == [15]


def test_broken_files_are_named_and_left_out_if_asked(root, load, warnings):
    write_text(root / "train/labelTxt/P1.txt", "1 2 3 ship 0")
    (root / "train/images/P0.png").write_bytes(b"no picture")
    with pytest.raises(AnnotationError, match=r"P0.png: the image file is no image"):
        load(root)
    write_picture(root / "train/images/P0.png")
    with pytest.raises(AnnotationError, match=r"P1.txt, line 1: the polygon has 1.5 corners"):
        load(root)
    assert load(root, on_error="skip")["image_id"][:] == ["P0"]
    assert "1 of 2 records left out" in warnings.text


def test_images_over_the_limit_are_refused(root, load):
    with pytest.raises(AnnotationError, match=r"claims 60 x 40 pixels; .* max_pixels=2000"):
        load(root, max_pixels=2000)


# Published files


def test_the_published_sample_is_read(shared_dir, load):
    root = shared_dir / "data/samples/dota"
    train, validation = (load(root, split=split)[0] for split in ("train", "validation"))
    assert (train["image_id"], train["width"], train["height"]) == ("P0706", 1111, 1182)
    assert train["image"].size == (1111, 1182)
    assert (len(train["objects"]["id"]), len(validation["objects"]["id"])) == (536, 64)
    assert train["gsd"] == pytest.approx(0.255589285596, rel=1e-6)
    assert train["objects"]["polygon"][0] == [1054, 1028, 1063, 1011, 1111, 1040, 1112, 1062]
    assert (train["objects"]["category"][0], train["objects"]["difficult"][0]) == (6, 1)
    assert set(validation["objects"]["category"]) == {4, 5}


def test_all_published_label_files_are_read(shared_dir, load, tmp_path):
    files = sorted((shared_dir / "data/samples/dota/extra_labelTxt_without_images").glob("*.txt"))
    for file in files:
        write_picture(tmp_path / f"DOTA/train/images/{file.stem}.png")
        write_text(tmp_path / f"DOTA/train/labelTxt/{file.name}", file.read_text())
    rows = load(tmp_path / "DOTA", "v2.0")
    assert len(rows) == 5
    counts = [len(row["objects"]["id"]) for row in rows]
    lines = [file.read_text().splitlines() for file in files]
    assert counts == [sum(len(line.split()) > 8 for line in of_file) for of_file in lines]
    assert {row["image_source"] for row in rows} == {"GoogleEarth", "GF"}
