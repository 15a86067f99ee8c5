"""SpaceNet v1: packings, split, masks, archives, broken files."""

import logging
import shutil

import datasets
import numpy as np
import pytest
import rasterio
from rasterio import Affine

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import segmentation_features
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.spacenet_v1 import SpacenetV1, read_grid
from tests.fakes_segmentation import (
    SPACENET_FOLDERS,
    SPACENET_SIZE,
    TRANSFORM,
    write_chip,
    write_spacenet,
)

CHIP = "AOI_1_RIO_img"


@pytest.fixture
def root(tmp_path):
    return write_spacenet(tmp_path / "data")


def load(root, tmp_path, **options):
    return load_dataset(
        "spacenet_v1", data_dir=root, cache_dir=tmp_path / "cache", quiet=True, **options
    )


def image(root, number):
    return next(root.rglob(f"3band_{CHIP}{number}.tif"))


def label(root, number):
    return next(root.rglob(f"Geo_{CHIP}{number}.geojson"))


def all_rows(splits):
    return {row["image_id"]: row for rows in splits.values() for row in rows}


def test_columns_and_configs():
    assert SpacenetV1(config_name="mtp_5000_1940").info.features == segmentation_features()
    assert [config.name for config in SpacenetV1.BUILDER_CONFIGS] == ["mtp_5000_1940"]


@pytest.mark.parametrize("layout", sorted(SPACENET_FOLDERS))
def test_every_packing_gives_the_same_rows(tmp_path, layout):
    splits = load(write_spacenet(tmp_path / "data", layout), tmp_path)
    assert {split: rows.num_rows for split, rows in splits.items()} == {"train": 5, "test": 2}
    rows = all_rows(splits)
    assert sorted(rows) == [f"{CHIP}{n}" for n in range(1, 8)]
    for n in range(1, 8):
        row = rows[f"{CHIP}{n}"]
        expected = np.zeros(SPACENET_SIZE, np.uint8)
        if n % 3:  # the others have no footprints
            expected[2, 1 : 1 + n] = 1
        assert row["mask"].mode == "L"
        assert np.array_equal(np.asarray(row["mask"]), expected)
        assert (row["height"], row["width"]) == SPACENET_SIZE
        assert row["scene"] is None


def test_pixels_are_those_of_the_file(root, tmp_path):
    for image_id, row in all_rows(load(root, tmp_path)).items():
        with rasterio.open(next(root.rglob(f"3band_{image_id}.tif"))) as file:
            assert np.array_equal(np.asarray(row["image"]), file.read().transpose(1, 2, 0))


def test_the_split_is_drawn_from_the_seed_and_logged(tmp_path, caplog):
    root = write_spacenet(tmp_path / "data", num_chips=14)
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        splits = load(root, tmp_path)
    datasets.utils.logging.disable_propagation()
    assert "no split is published; 10 train, 4 test images drawn with seed 0" in caplog.text
    other = load(root, tmp_path, split_seed=1)
    assert splits["test"]["image_id"][:] != other["test"]["image_id"][:]
    numbers = [int(i.removeprefix(CHIP)) for i in splits["train"]["image_id"]]
    assert numbers == sorted(numbers)


def test_streaming_gives_the_same_rows(root, tmp_path):
    rows = load(root, tmp_path, split="train")
    stream = load(root, tmp_path, split="train", streaming=True)
    for streamed, row in zip(stream, rows, strict=True):
        for column in ("image", "mask"):
            assert np.array_equal(*(np.asarray(x.pop(column)) for x in (streamed, row)))
        assert streamed == row


def test_archives_are_read_but_those_of_eight_bands_and_of_the_test(root, tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    shutil.make_archive(str(folder / "processedBuildingLabels"), "gztar", root)
    for name in ("SN1_buildings_train_AOI_1_Rio_8band", "SN1_buildings_test_AOI_1_Rio_3band"):
        (folder / f"{name}.tar.gz").write_bytes(b"not read")
    splits = load(folder, tmp_path)
    assert sum(rows.num_rows for rows in splits.values()) == 7


def test_chips_of_the_other_area_are_left_out(root, tmp_path):
    shutil.copy(image(root, 1), image(root, 1).with_name("3band_AOI_2_RIO_img1.tif"))
    assert len(all_rows(load(root, tmp_path))) == 7


@pytest.mark.parametrize("pattern", ["*.tif", "*.geojson"])
def test_the_wrong_folder_is_an_error(root, tmp_path, pattern):
    for path in root.rglob(pattern):
        path.unlink()
    suffix = pattern.removeprefix("*")
    with pytest.raises(FileNotFoundError, match=rf"data: no file .*_AOI_1_RIO_img<n>{suffix}"):
        load(root, tmp_path)


def test_missing_footprints_are_an_error(root, tmp_path):
    label(root, 4).unlink()
    with pytest.raises(AnnotationError, match=rf"3band_{CHIP}4.tif: no Geo_{CHIP}4.geojson"):
        load(root, tmp_path)
    assert len(all_rows(load(root, tmp_path, on_error="skip"))) == 6


def test_footprints_without_an_image_are_said(root, tmp_path, caplog):
    image(root, 4).unlink()
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        load(root, tmp_path)
    datasets.utils.logging.disable_propagation()
    assert f"1 label files without an image, first {CHIP}4" in caplog.text


def test_two_files_of_one_chip_are_an_error(root, tmp_path):
    (root / "copy").mkdir()
    shutil.copy(image(root, 4), root / "copy")
    with pytest.raises(AnnotationError, match=rf"image id '{CHIP}4' is also that of"):
        load(root, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": "EPSG:32723"}, "coordinates in EPSG:32723; expected EPSG:4326"),
        ({"transform": Affine.identity()}, "the file does not say where it lies"),
        ({"bands": 8}, "8 bands of uint8; expected 1 to 4"),
    ],
)
def test_an_image_that_cannot_be_right_is_an_error(root, tmp_path, options, message):
    write_chip(image(root, 4), **options)
    with pytest.raises(AnnotationError, match=rf"3band_{CHIP}4.tif: {message}"):
        load(root, tmp_path)


def test_an_image_without_a_system_is_taken_to_be_in_degrees(tmp_path):
    grid = read_grid(write_chip(tmp_path / "a.tif", crs=None))
    assert (grid.height, grid.width) == SPACENET_SIZE
    assert grid.transform.almost_equals(TRANSFORM)


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_broken_file_is_an_error(root, tmp_path, kind):
    path = {"image": image, "label": label}[kind](root, 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AnnotationError, match=f"{path.name}: (the image file is|not a readable)"):
        load(root, tmp_path)


def test_footprints_of_another_chip_are_an_error(root, tmp_path):
    label(root, 4).write_text(label(root, 4).read_text().replace("-43.5", "-42.5"))
    with pytest.raises(AnnotationError, match=rf"Geo_{CHIP}4.geojson: none of 1 footprints"):
        load(root, tmp_path)


def test_sample_chips_are_read(shared_dir, tmp_path):
    root = shared_dir / "data/samples/spacenet_v1"
    if not root.is_dir():
        pytest.skip("samples are not here")
    rows = all_rows(load(root, tmp_path))
    assert sorted(rows) == [f"{CHIP}{n}" for n in (1, 2, 3)]
    for row in rows.values():
        assert row["image"].size == row["mask"].size == (439, 406)
        assert 0.001 < np.asarray(row["mask"]).mean() < 0.5
