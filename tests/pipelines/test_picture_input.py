"""Claims about pictures as users give them."""

import base64

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.pipelines.picture_input import read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
SIDEWAYS = 6  # EXIF: turn by a quarter to see it upright


@pytest.fixture
def path(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    Image.fromarray(PIXELS).save(path, exif=exif, quality=95)
    return path


def test_all_ways_to_give_a_picture_are_the_same_pixels(path):
    encoded = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for each in (path, str(path), encoded, Image.fromarray(PIXELS), PIXELS, tensor):
        picture = read_picture(each)
        assert picture.mode == "RGB"
        assert (np.asarray(picture) == PIXELS).all()


@pytest.mark.parametrize("pixels", [PIXELS[..., 0], PIXELS[..., :1]])
def test_gray_arrays_are_repeated_over_the_channels(pixels):
    assert (np.asarray(read_picture(pixels)) == PIXELS[..., :1]).all()


def test_files_of_sixteen_bits_are_stretched_and_not_white(tmp_path):
    values = np.linspace(20_000, 40_000, 600).reshape(20, 30).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "wide.png")
    pixels = np.asarray(read_picture(tmp_path / "wide.png"))
    assert pixels.min() == 0 and pixels.max() == 255
    assert 110 < pixels.mean() < 145


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_pictures_of_more_than_eight_bits_are_refused_without_their_file(mode):
    with pytest.raises(ValueError, match=rf"image mode '{mode}' has no agreed 8-bit RGB form"):
        read_picture(Image.new(mode, (4, 4)))


def test_pictures_are_turned_as_their_orientation_says(tmp_path):
    path = turned(tmp_path / "a.jpg")
    for each in (path, Image.open(path)):
        assert read_picture(each).size == (20, 30)


def test_a_file_that_is_not_there_is_said_to_be_not_there():
    with pytest.raises(FileNotFoundError, match="'nowhere.png': no such file"):
        read_picture("nowhere.png")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (PIXELS.astype(np.float32), "expected values 0 to 255 of uint8, got float32"),
        (PIXELS.transpose(2, 0, 1), r"expected an array \(H, W\) or \(H, W, 3\)"),
    ],
)
def test_arrays_of_other_values_and_shapes_are_refused(picture, message):
    with pytest.raises(ValueError, match=message):
        read_picture(picture)


def test_other_things_are_refused_by_type():
    with pytest.raises(TypeError, match="got <class 'list'>"):
        read_picture([PIXELS])


def test_a_gray_tensor_keeps_its_sides():
    pixels = torch.arange(6, dtype=torch.uint8).reshape(2, 3)
    assert np.array_equal(np.asarray(read_picture(pixels))[..., 0], pixels.numpy())
