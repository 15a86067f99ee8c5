"""Columns of pictures: which files stay as they are, and what becomes of the others."""

import io

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps

from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_fair1m, write_picture, write_turned_picture
from tests.fakes_own import HEIGHT, WIDTH, write_bands

LIMIT = 10_000
SIXTEEN_BITS = np.linspace(0, 4000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)


def pixels_of(columns) -> np.ndarray:
    with Image.open(io.BytesIO(columns["image"]["bytes"])) as image:
        return np.asarray(image)


def save_png(path, values):
    """A PNG of 16 bits, gray or RGB."""
    bands = values.transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
    with rasterio.open(path, "w", driver="PNG", height=HEIGHT, width=WIDTH, count=len(bands),
                       dtype="uint16", transform=rasterio.Affine.scale(2.0)) as file:  # fmt: skip
        file.write(bands)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_a_file_of_8_bits_is_given_as_it_is(tmp_path, suffix):
    path = str(write_picture(tmp_path / f"a{suffix}", size=(30, 20)))
    assert picture_columns("train_a", path, max_pixels=LIMIT) == {
        "image_id": "train_a",
        "image": path,
        "width": 30,
        "height": 20,
    }


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_a_png_of_few_colors_is_given_as_it_is(tmp_path, mode):
    path = str(write_picture(tmp_path / "a.png", mode))
    assert picture_columns("a", path, max_pixels=LIMIT)["image"] == path


def test_a_picture_over_the_limit_is_refused(tmp_path):
    path = str(write_picture(tmp_path / "a.png", size=(30, 20)))
    with pytest.raises(AnnotationError, match="max_pixels=599"):
        picture_columns("a", path, max_pixels=599)


@pytest.mark.parametrize("num_bands", [1, 3])
def test_a_png_of_16_bits_is_stretched_to_8(tmp_path, num_bands):
    path = save_png(tmp_path / "a.png", np.stack([SIXTEEN_BITS] * num_bands, 2))
    pixels = pixels_of(picture_columns("a", str(path), max_pixels=LIMIT))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    # A ramp of which 2 % at either end are cut off.
    assert pixels.mean() == pytest.approx(127.5, abs=0.5)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("num_bands", [1, 3, 4])
def test_a_tiff_of_more_than_8_bits_is_stretched(tmp_path, num_bands, dtype):
    path = write_bands(tmp_path / "a.tif", num_bands, dtype)
    pixels = pixels_of(picture_columns("a", str(path), max_pixels=LIMIT))
    assert (pixels.shape, pixels.min(), pixels.max()) == ((HEIGHT, WIDTH, 3), 0, 255)


def test_bands_choose_the_colours_of_a_tiff_of_many(tmp_path):
    path = str(write_bands(tmp_path / "a.tif", 6, "uint8"))
    pixels = pixels_of(picture_columns("a", path, bands=[5, 1, 3], max_pixels=LIMIT))
    assert pixels[0, 0].tolist() == [200, 40, 120]


def test_a_tiff_of_many_bands_needs_them_chosen(tmp_path):
    path = str(write_bands(tmp_path / "a.tif", 6, "uint8"))
    with pytest.raises(AnnotationError, match=r"6 bands of uint8; .*option bands=\[3, 2, 1"):
        picture_columns("a", path, max_pixels=LIMIT)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(AnnotationError, match=r"a\.png: the image file is no image"):
        picture_columns("a", str(tmp_path / "a.png"), max_pixels=LIMIT)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_that_its_exif_turns_is_stored_as_it_is_shown(tmp_path, suffix, orientation):
    path = write_turned_picture(tmp_path / f"a{suffix}", orientation)
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    columns = picture_columns("a", str(path), max_pixels=LIMIT)
    assert (columns["height"], columns["width"]) == shown.shape[:2]
    np.testing.assert_array_equal(pixels_of(columns), shown)


def test_a_picture_that_is_upright_by_its_exif_is_given_as_it_is(tmp_path):
    path = str(write_turned_picture(tmp_path / "a.jpg", 1))
    assert picture_columns("a", path, max_pixels=LIMIT)["image"] == path


def test_bands_of_a_picture_that_its_exif_turns_are_those_of_the_picture_as_shown(tmp_path):
    path = write_turned_picture(tmp_path / "a.jpg")
    columns = picture_columns("a", str(path), bands=[1, 2, 3], max_pixels=LIMIT)
    assert pixels_of(columns).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize("bands", [[1], [1, 2, 3, 4]])
def test_bands_are_three(bands):
    with pytest.raises(ValueError, match="expected the numbers of 3"):
        PicturesConfig(name="all", bands=bands)


@pytest.mark.parametrize(("num_bands", "options"), [(4, {}), (8, {"bands": [5, 3, 2]})])
def test_a_whole_picture_and_its_tile_look_alike(tmp_path, num_bands, options):
    root = write_fair1m(tmp_path / "FAIR1M")
    for path in root.rglob("*.tif"):
        write_bands(path, num_bands)
    whole, tile = (
        load_dataset("fair1m", config, data_dir=root, split="train", cache_dir=tmp_path, quiet=True,
                     **options)[0]
        for config in ("v2.0", "v2.0_tiles")
    )  # fmt: skip
    np.testing.assert_array_equal(
        np.asarray(whole["image"]), np.asarray(tile["image"])[:HEIGHT, :WIDTH]
    )


PUBLISHED = [("dota", "v1.0"), ("dior", "obb"), ("xview", "all_tiles")]


@pytest.mark.parametrize(("name", "config"), PUBLISHED)
def test_every_published_set_of_objects_takes_bands(tmp_path, name, config):
    with pytest.raises(ValueError, match=r"bands=\[1\]; expected the numbers of 3"):
        load_dataset(name, config, data_dir=tmp_path, bands=[1])
