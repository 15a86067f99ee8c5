"""The builder of OSCD: bands to pictures, previews, all bands."""

import datasets
import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts import get_builder
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.oscd import (
    OSCD_BANDS,
    RGB_BANDS,
    OscdConfig,
    oscd_band_features,
    read_rgb,
)
from tests.fakes_change import change_map, pictures, write_oscd, write_picture

IMAGES = "Onera Satellite Change Detection dataset - Images"
LABELS = "Onera Satellite Change Detection dataset - Train Labels"
CONFIGS = ["rgb", "pair", "all_bands"]


@pytest.fixture(scope="module", autouse=True)
def _no_progress_bars():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_oscd(tmp_path_factory.mktemp("oscd"))


@pytest.fixture
def load(tmp_path):
    def load(config, root, split=None, **options):
        cache = tmp_path / "cache"
        return load_dataset(
            "oscd", config, data_dir=root, split=split, cache_dir=cache, quiet=True, **options
        )

    return load


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_has_the_cities_of_both_splits_and_their_maps(root, load, config):
    rows = load(config, root)
    assert rows.num_rows == {"train": 2, "test": 1}
    expected = oscd_band_features() if config == "all_bands" else change_features()
    assert rows["train"].features == expected
    assert rows["train"]["image_id"][:] == ["paris", "saclay_e"]
    row = rows["train"][1]
    assert (row["height"], row["width"]) == (32, 40)
    assert row["mask"].mode == "L"
    assert np.array_equal(np.asarray(row["mask"]), change_map((32, 40)))


def test_red_green_and_blue_are_bands_four_three_and_two_of_each_date(root, load):
    row = load("rgb", root, "test")[0]
    for name, pixels in zip(("image", "image_post"), pictures(2, (32, 48)), strict=True):
        expected = np.round(np.float32(10 * pixels.astype(int)) * np.float32(255 / 2750))
        assert np.array_equal(np.asarray(row[name]), np.minimum(expected, 255).astype(np.uint8))


def test_previews_are_taken_as_they_are(root, load):
    row = load("pair", root, "test")[0]
    for name, pixels in zip(("image", "image_post"), pictures(2, (32, 48)), strict=True):
        assert np.array_equal(np.asarray(row[name]), pixels)


def test_all_bands_keep_sixteen_bits_in_the_order_of_the_table(root, load):
    row = load("all_bands", root, "test")[0]
    found = np.stack(row["image"])
    assert (found.shape, found.dtype) == ((13, 32, 48), np.uint16)
    red, green, blue = 10 * pictures(2, (32, 48))[0].transpose(2, 0, 1).astype(np.uint16)
    for band, name in zip(found, OSCD_BANDS, strict=True):
        number = OSCD_BANDS.index(name)
        shown = dict(zip(RGB_BANDS, (red, green, blue), strict=True)).get(name, red + number)
        assert np.array_equal(band, shown)


def test_the_fixed_stretch_is_the_same_for_both_dates(tmp_path):
    ramp = np.arange(0, 5500, 10, dtype=np.uint16).reshape(10, 55)
    files = [tmp_path / f"{band}.tif" for band in RGB_BANDS]
    for file in files:
        write_picture(file, ramp)
    found = read_rgb([str(file) for file in files], OscdConfig(name="rgb"))
    assert found.shape == (10, 55, 3)
    assert (found[0, 0, 0], found[5, 0, 0], found[-1, -1, 0]) == (0, 255, 255)
    assert np.all(np.diff(found[..., 0].ravel().astype(int)) >= 0)


def test_percentiles_are_those_of_the_picture_and_shared_by_its_bands(tmp_path):
    ramp = np.arange(1000, 2001, dtype=np.uint16)[None]
    files = [str(tmp_path / f"{band}.tif") for band in RGB_BANDS]
    for shift, file in enumerate(files):
        Image.fromarray(ramp + 1000 * shift).save(file)
    config = OscdConfig(name="rgb", stretch="percentile", stretch_range=(0.0, 100.0))
    found = read_rgb(files, config)
    assert [int(v) for v in found[0, 0]] == [0, 85, 170]  # thirds of 1000 to 4000
    assert [int(v) for v in found[0, -1]] == [85, 170, 255]
    cut = read_rgb(files, OscdConfig(name="rgb", stretch="percentile"))
    assert 0.015 < np.mean(cut == 0) < 0.03
    assert 0.015 < np.mean(cut == 255) < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stretch": "gamma"}, r"stretch='gamma'; expected one of \['fixed', 'percentile'\]"),
        ({"stretch_range": (10, 5)}, r"stretch_range=\(10, 5\); expected two growing numbers"),
        ({"stretch_range": [1]}, r"stretch_range=\[1\]; expected two numbers"),
        ({"stretch_range": (-1, 5)}, "of 0 to 65535"),
        ({"stretch": "percentile", "stretch_range": (0, 101)}, "of 0 to 100"),
    ],
)
def test_a_stretch_that_cannot_be_right_is_refused(root, load, options, message):
    with pytest.raises(ValueError, match=message):
        load("rgb", root, **options)


def test_another_stretch_makes_other_pictures_with_a_cache_of_their_own(root, load):
    plain = load("rgb", root, "test")
    other = load("rgb", root, "test", stretch="percentile")
    assert plain.cache_files != other.cache_files
    assert np.asarray(plain[0]["image"]).mean() < np.asarray(other[0]["image"]).mean()


def test_maps_of_one_and_two_are_read_alike(tmp_path, load):
    row = load("rgb", write_oscd(tmp_path / "set", ".tif"), "train")[0]
    assert np.array_equal(np.asarray(row["mask"]), change_map())


def test_rows_of_a_split_without_labels_have_no_mask(tmp_path, load):
    other = write_oscd(tmp_path / "set")
    (other / "Onera Satellite Change Detection dataset - Test Labels/rio/cm/cm.png").unlink()
    rows = load("rgb", other)
    assert rows["test"][0]["mask"] is None
    assert rows["train"][0]["mask"] is not None


@pytest.mark.parametrize("config", CONFIGS)
def test_streamed_rows_are_the_prepared_ones(root, load, config):
    for streamed, row in zip(
        load(config, root, "train", streaming=True), load(config, root, "train"), strict=True
    ):
        assert streamed["image_id"] == row["image_id"]
        for name in ("image", "image_post", "mask"):
            assert np.array_equal(np.asarray(streamed[name]), np.asarray(row[name]))


@pytest.mark.parametrize("config", CONFIGS)
def test_parquet_carries_every_band(tmp_path, load, config):
    copy = write_oscd(tmp_path / "set")
    row = load(config, copy, "test")[0]
    before = {name: np.asarray(row[name]) for name in ("image", "image_post", "mask")}
    made = get_builder("oscd")(
        config_name=config, data_dir=str(copy), cache_dir=str(tmp_path / "cache2")
    )
    made.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    for file in [*copy.rglob("*.tif"), *copy.rglob("*.png")]:
        file.unlink()
    rows = datasets.load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "c"))
    assert rows.features == made.info.features
    for name, pixels in before.items():
        assert np.array_equal(np.asarray(rows[0][name]), pixels)


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("rgb", "imgs_1_rect/B03.tif"),
        ("all_bands", "imgs_2_rect/B8A.tif"),
        ("pair", "pair/img2.png"),
    ],
)
def test_a_missing_file_is_named_and_only_that_city_left_out(tmp_path, load, config, file):
    copy = write_oscd(tmp_path / "set")
    (copy / IMAGES / "paris" / file).unlink()
    with pytest.raises(AnnotationError, match=rf"city 'paris': .*{file}: not there.*'{config}'"):
        load(config, copy)
    assert load(config, copy, "train", on_error="skip")["image_id"][:] == ["saclay_e"]


@pytest.mark.parametrize(
    ("config", "file", "pixels", "message"),
    [
        (
            "rgb",
            "imgs_2_rect/B02.tif",
            np.zeros((32, 31), np.uint16),
            "32 x 31 pixels; expected 32",
        ),
        ("pair", "pair/img2.png", np.zeros((31, 32, 3), np.uint8), "31 x 32 pixels; expected 32"),
        ("rgb", "imgs_1_rect/B02.tif", np.zeros((32, 32), np.uint8), "1 bands of type uint8"),
        ("rgb", "imgs_1_rect/B02.tif", np.zeros((32, 32, 3), np.uint8), "3 bands of type uint8"),
    ],
)
def test_a_file_of_another_shape_is_an_error(tmp_path, load, config, file, pixels, message):
    copy = write_oscd(tmp_path / "set")
    write_picture(copy / IMAGES / "paris" / file, pixels)
    with pytest.raises(AnnotationError, match=f"{file}: {message}"):
        load(config, copy)


@pytest.mark.parametrize("name", ["B03.TIF", "b03.tiff"])
def test_names_of_bands_are_read_in_any_case(tmp_path, load, name):
    copy = write_oscd(tmp_path / "set")
    file = copy / IMAGES / "paris/imgs_1_rect/B03.tif"
    file.rename(file.with_name(name))
    assert load("rgb", copy)["train"].num_rows == 2


def test_a_city_without_map_beside_others_is_named_or_left_out(tmp_path, load):
    copy = write_oscd(tmp_path / "set")
    (copy / LABELS / "paris/cm/cm.png").unlink()
    with pytest.raises(AnnotationError, match=r"city 'paris': .*paris/cm/cm\.png: not there"):
        load("rgb", copy)
    assert load("rgb", copy, "train", on_error="skip")["image_id"][:] == ["saclay_e"]


def test_a_map_of_another_size_is_an_error(tmp_path, load):
    copy = write_oscd(tmp_path / "set")
    write_picture(copy / LABELS / "paris/cm/cm.png", 255 * change_map((32, 36)))
    with pytest.raises(AnnotationError, match=r"cm.png: 32 x 36 pixels; expected 32 x 32"):
        load("pair", copy)


def test_a_damaged_band_is_an_error(tmp_path, load):
    copy = write_oscd(tmp_path / "set")
    file = copy / IMAGES / "paris/imgs_1_rect/B04.tif"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(AnnotationError, match="B04.tif: the image file is"):
        load("rgb", copy)


@pytest.mark.parametrize("config", CONFIGS)
def test_sample_cities_are_read(shared_dir, load, config):
    samples = shared_dir / "data/samples/oscd"
    if not samples.is_dir():
        pytest.skip("samples are not here")
    rows = load(config, samples)
    assert rows.num_rows == {"train": 1, "test": 1}
    shares = [np.asarray(rows[split][0]["mask"]).mean() for split in rows]
    assert shares == pytest.approx([0.0405, 0.0516], abs=1.0e-4)
    row = rows["test"][0]
    found = np.stack(row["image"]) if config == "all_bands" else np.asarray(row["image"])
    assert found.shape == ((13, 160, 160) if config == "all_bands" else (160, 160, 3))
    if config != "all_bands":  # the simulated change is the only large difference
        moved = np.abs(found.astype(int) - np.asarray(row["image_post"])).mean(axis=2)
        changed = np.asarray(row["mask"]) == 1
        assert moved[changed].mean() > 3 * moved[~changed].mean()
