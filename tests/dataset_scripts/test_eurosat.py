"""EuroSAT: classes, splits, bands, archives, broken files."""

import shutil
from collections import Counter

import datasets
import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import EUROSAT_CLASSES
from mtp_hf.dataset_scripts.eurosat import Eurosat
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_classification import (
    EUROSAT_FOLDERS,
    bands,
    write_bands,
    write_eurosat,
    write_lists,
    write_picture,
)


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return write_eurosat(tmp_path_factory.mktemp("eurosat"))


def load(root, tmp_path, config="rgb", **options):
    return load_dataset(
        "eurosat", config, data_dir=root, cache_dir=tmp_path / "cache", quiet=True, **options
    )


def test_classes_are_in_alphabetical_order():
    assert sorted(EUROSAT_CLASSES) == EUROSAT_CLASSES
    assert Eurosat(config_name="rgb").info.features["label"].names == EUROSAT_CLASSES
    assert [c.name for c in Eurosat.BUILDER_CONFIGS] == ["rgb", "all_bands"]


def test_without_lists_every_class_is_divided_60_20_20(fake, tmp_path):
    splits = load(fake, tmp_path)
    assert {split: rows.num_rows for split, rows in splits.items()} == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }
    for rows, count in zip(splits.values(), (3, 1, 1), strict=True):
        assert Counter(rows["label"]) == dict.fromkeys(range(10), count)
        assert rows["image_id"][:] == sorted(rows["image_id"])


def test_labels_are_those_of_the_folders_and_pixels_those_of_the_files(fake, tmp_path):
    for row in load(fake, tmp_path, split="test"):
        name = EUROSAT_CLASSES[row["label"]]
        assert row["image_id"].startswith(f"{name}_")
        file = fake / "2750" / name / f"{row['image_id']}.jpg"
        assert np.array_equal(np.asarray(row["image"]), np.asarray(Image.open(file)))


def test_another_seed_draws_another_split(fake, tmp_path):
    first, second = (load(fake, tmp_path, split="test", split_seed=seed) for seed in (0, 1))
    assert first["image_id"][:] != second["image_id"][:]


def test_lists_of_jpegs_name_the_tiffs_too(tmp_path):
    write_eurosat(tmp_path, "all_bands", per_class=3, classes=["Forest", "River"])
    names = {s: [f"Forest_{n}", f"River_{n}"] for n, s in enumerate(("train", "val", "test"), 1)}
    write_lists(tmp_path, "eurosat", names)
    splits = load(tmp_path, tmp_path, "all_bands")
    assert splits["validation"]["image_id"][:] == ["Forest_2", "River_2"]


def test_all_bands_are_arrays_in_the_order_of_the_file(tmp_path):
    write_eurosat(tmp_path, "all_bands", per_class=5, classes=["AnnualCrop"])
    rows = load(tmp_path, tmp_path, "all_bands", split="train")
    assert rows.features["image"] == datasets.Array3D((13, 64, 64), "uint16")
    for row in rows.with_format("numpy"):
        assert np.array_equal(row["image"], bands(int(row["image_id"].rpartition("_")[2])))


@pytest.mark.parametrize("config", ["rgb", "all_bands"])
def test_streaming_gives_the_same_rows(tmp_path, config):
    write_eurosat(tmp_path, config, per_class=5, classes=["Forest"])
    rows = load(tmp_path, tmp_path, config, split="train")
    stream = load(tmp_path, tmp_path, config, split="train", streaming=True)
    for streamed, row in zip(stream, rows, strict=True):
        assert streamed["image_id"] == row["image_id"]
        assert np.array_equal(np.asarray(streamed["image"]), np.asarray(row["image"]))


def test_each_config_reads_its_files_and_extracts_its_archive_alone(tmp_path):
    for config, name in (("rgb", "EuroSAT"), ("all_bands", "EuroSATallBands")):
        write_eurosat(tmp_path / config, config, per_class=5, classes=["Forest"])
        shutil.make_archive(str(tmp_path / "data" / name), "zip", tmp_path / config)
    load(tmp_path / "data", tmp_path, "rgb")
    assert (tmp_path / "data" / EUROSAT_FOLDERS["rgb"]).is_dir()
    assert not (tmp_path / "data/ds").exists()
    rows = load(tmp_path / "data", tmp_path, "all_bands", split="train")
    assert rows["image_id"][:] == load(tmp_path / "data", tmp_path, split="train")["image_id"][:]
    assert (tmp_path / "data" / EUROSAT_FOLDERS["all_bands"]).is_dir()


@pytest.mark.parametrize("folder", ["EuroSAT_RGB", "x/EuroSAT", "."])
def test_the_folder_of_the_classes_may_have_any_name(tmp_path, folder):
    write_eurosat(tmp_path, per_class=5, classes=["Forest"], folder=folder)
    assert load(tmp_path, tmp_path, split="train").num_rows == 3


def test_the_wrong_folder_is_an_error(tmp_path):
    write_picture(tmp_path / "cats/cat_1.jpg", 8)
    with pytest.raises(FileNotFoundError, match=r"no .jpg .* such as 'AnnualCrop', found .*cat_1"):
        load(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (bands(0)[:3], r"\(3, 64, 64\) of uint16; expected \(13, 64, 64\) of uint16"),
        (bands(0)[:, :32], r"\(13, 32, 64\) of uint16"),
        (bands(0).astype(np.float32), r"\(13, 64, 64\) of float32"),
    ],
)
def test_tiffs_of_other_bands_are_an_error(tmp_path, pixels, message):
    write_eurosat(tmp_path, "all_bands", per_class=5, classes=["Forest"])
    for path in tmp_path.rglob("*.tif"):
        write_bands(path, pixels)
    with pytest.raises(AnnotationError, match=rf"Forest_\d.tif: bands.*{message}"):
        load(tmp_path, tmp_path, "all_bands")


def test_a_picture_above_the_limit_of_pixels_is_refused(fake, tmp_path):
    with pytest.raises(AnnotationError, match=r".jpg: the image claims 64 x 64 pixels"):
        load(fake, tmp_path, max_pixels=64 * 64 - 1)


@pytest.mark.parametrize("config", ["rgb", "all_bands"])
def test_a_broken_file_stops_the_reading_or_is_left_out(tmp_path, config):
    write_eurosat(tmp_path, config, per_class=5, classes=["Forest"])
    path = next(tmp_path.rglob("Forest_1.*"))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(AnnotationError, match=r"Forest_1\.(jpg|tif): the image file is damaged"):
        load(tmp_path, tmp_path, config)
    splits = load(tmp_path, tmp_path, config, on_error="skip")
    assert sum(rows.num_rows for rows in splits.values()) == 4


def test_real_patches_are_read(shared_dir, tmp_path):
    root = shared_dir / "data/samples/eurosat"
    if not root.is_dir():
        pytest.skip("samples are not here")
    splits = load(root, tmp_path)
    assert [rows.num_rows for rows in splits.values()] == [88, 28, 28]
    names = {EUROSAT_CLASSES[label] for label in splits["test"]["label"]}
    assert names == {"Highway", "Industrial", "Pasture", "River"}
    assert isinstance(splits, datasets.DatasetDict)
