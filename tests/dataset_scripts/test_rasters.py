"""Pixels by window equal those of the whole file, and broken files are named."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mtp_hf.dataset_scripts._rasters import Raster, Window, stretch_to_uint8
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_detection import write_turned_picture

HEIGHT, WIDTH = 70, 90
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write_tiff(path, pixels, **options):
    """A TIFF of any type and number of bands, (H, W, C)."""
    profile = dict(driver="GTiff", height=pixels.shape[0], width=pixels.shape[1])
    with rasterio.open(
        path, "w", count=pixels.shape[2], dtype=pixels.dtype, **profile, **options
    ) as f:
        f.write(pixels.transpose(2, 0, 1))


def write_png_rows(path, rows, num_rows, *, level=1, depth=8):
    """A PNG of any size from an iterator of (n, W, 3) arrays, without holding it."""

    def chunk(file, kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        file.write(struct.pack(">I", len(data)) + kind + data + crc)

    packer = zlib.compressobj(level)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for number, part in enumerate(rows):
            if number == 0:
                header = struct.pack(">IIBBBBB", part.shape[1], num_rows, depth, 2, 0, 0, 0)
                chunk(file, b"IHDR", header)
            values = part.astype(">u2") if depth == 16 else part
            raw = values.reshape(len(part), -1).view(np.uint8)
            lines = np.zeros((len(part), 1 + raw.shape[1]), np.uint8)
            lines[:, 1:] = raw
            chunk(file, b"IDAT", packer.compress(lines.tobytes()))
        chunk(file, b"IDAT", packer.flush())
        chunk(file, b"IEND", b"")


WRITERS = {
    "rgb.png": lambda path: Image.fromarray(PIXELS).save(path),
    "strips.tif": lambda path: write_tiff(path, PIXELS),
    "lzw.tif": lambda path: write_tiff(path, PIXELS, compress="lzw"),
    "tiles.tif": lambda path: write_tiff(path, PIXELS, tiled=True, blockxsize=16, blockysize=32),
    "planes.tif": lambda path: write_tiff(path, PIXELS, interleave="band"),
    "bmp.bmp": lambda path: Image.fromarray(PIXELS).save(path),
    "png_named.tif": lambda path: Image.fromarray(PIXELS).save(path, "PNG"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_window_holds_the_pixels_that_were_written(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with Raster(tmp_path / name) as raster:
        assert (raster.height, raster.width, raster.num_bands) == (HEIGHT, WIDTH, 3)
        assert raster.dtype == np.uint8
        # Down with overlap, back to the top, beyond what was read, the last pixel.
        for x, y, width, height in [
            (0, 0, 40, 30), (50, 0, 40, 30), (0, 20, 40, 30), (30, 20, 60, 50), (5, 1, 7, 3),
            (0, 60, 90, 10), (10, 50, 20, 5), (89, 69, 1, 1), (0, 0, 90, 70),
        ]:  # fmt: skip
            found = raster.read(Window(x, y, width, height))
            np.testing.assert_array_equal(found, PIXELS[y : y + height, x : x + width])
        np.testing.assert_array_equal(raster.read(bands=[3, 1]), PIXELS[..., [2, 0]])
        np.testing.assert_array_equal(raster.read(Window(2, 3, 4, 5), [2]), PIXELS[3:8, 2:6, 1:2])
        np.testing.assert_array_equal(raster.read_rgb(), PIXELS)


def test_rows_shared_by_two_windows_are_decoded_once(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    read = []
    plain = Raster._read_file

    def count(self, window, *args):
        read.append((window.y, window.height))
        return plain(self, window, *args)

    monkeypatch.setattr(Raster, "_read_file", count)
    with Raster(tmp_path / "a.png") as raster:
        for y in (0, 20, 40):
            for x in (0, 30, 60):
                raster.read(Window(x, y, 30, 30))
    assert read == [(0, 30), (30, 20), (50, 20)]


def test_what_was_cut_out_is_no_view_of_what_was_decoded(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with Raster(tmp_path / "a.png") as raster:
        raster.read(Window(0, 0, 10, 10))[:] = 7
        np.testing.assert_array_equal(raster.read(Window(0, 0, 10, 10)), PIXELS[:10, :10])


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        (mode, suffix)
        for mode in ("L", "RGB", "RGBA", "P", "1", "I;16")
        for suffix in (".png", ".tif")
    ]
    + [("LA", ".png"), ("CMYK", ".jpg")],
)
def test_other_modes_become_the_rgb_that_pillow_shows(tmp_path, mode, suffix):
    image = Image.fromarray(PIXELS)
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16))
    else:
        image = image.quantize(16) if mode == "P" else image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(PIXELS[..., 1]))
    image.save(tmp_path / f"a{suffix}")
    with Raster(tmp_path / f"a{suffix}") as raster:
        limits = (0, 255) if mode == "I;16" else None
        found = raster.read_rgb(limits=limits)
        part = raster.read_rgb(Window(3, 4, 50, 60), limits=limits)
    if mode == "I;16":
        expected = np.repeat(PIXELS[..., :1], 3, axis=2)
    else:
        expected = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(part, expected[4:64, 3:53])


def test_a_palette_gives_its_numbers_as_stored(tmp_path):
    image = Image.fromarray(PIXELS).quantize(16)
    for name in ("p.png", "p.tif"):
        image.save(tmp_path / name)
        with Raster(tmp_path / name) as raster:
            np.testing.assert_array_equal(raster.read()[..., 0], np.asarray(image))


def test_an_interlaced_or_jpeg_file_is_decoded_as_pillow_does(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", quality=90)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    with Raster(tmp_path / "a.jpg") as raster:
        np.testing.assert_array_equal(raster.read(Window(3, 4, 5, 6)), expected[4:10, 3:8])


def test_sixteen_bits_of_many_bands_keep_their_values(tmp_path):
    values = RNG.integers(0, 5000, (HEIGHT, WIDTH, 13), dtype=np.uint16)
    write_tiff(tmp_path / "m.tif", values)
    with Raster(tmp_path / "m.tif") as raster:
        assert (raster.num_bands, raster.dtype) == (13, np.uint16)
        np.testing.assert_array_equal(raster.read(Window(1, 2, 3, 4)), values[2:6, 1:4])
        rgb = raster.read_rgb(bands=(4, 3, 2), limits=(0, 2750))
        np.testing.assert_array_equal(rgb, stretch_to_uint8(values[..., [3, 2, 1]], 0, 2750))
        with pytest.raises(AnnotationError, match=r"m\.tif: 13 bands of uint16; expected 1 to 4"):
            raster.read_rgb()


def test_sixteen_bit_png_is_stretched_by_one_rule_for_all_its_windows(tmp_path):
    values = RNG.integers(1000, 3000, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    values[:20] //= 4  # a dark part
    write_png_rows(tmp_path / "a.png", [values], HEIGHT, depth=16)
    with Raster(tmp_path / "a.png") as raster:
        np.testing.assert_array_equal(raster.read(), values)
        whole = raster.read_rgb()
        part = raster.read_rgb(Window(0, 0, 30, 20))
    low, high = map(float, np.percentile(values.astype(np.float32), (2, 98)))
    np.testing.assert_array_equal(whole, stretch_to_uint8(values, low, high))
    np.testing.assert_array_equal(part, whole[:20, :30])


def test_stretch_by_hand():
    values = np.array([[-5.0, 0.0, 50.0, 100.0, 1e9, np.nan]])
    assert stretch_to_uint8(values, 0, 100).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert stretch_to_uint8(np.array([[7]], np.uint16), 7, 7).tolist() == [[0]]


def test_a_window_outside_and_a_band_that_is_not_there_are_refused(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with Raster(tmp_path / "a.png") as raster:
        for window in [(-1, 0, 5, 5), (86, 0, 5, 5), (0, 66, 5, 5), (0, 0, 0, 5)]:
            with pytest.raises(ValueError, match="expected a part of 90 x 70 pixels"):
                raster.read(Window(*window))
        with pytest.raises(
            AnnotationError, match=r"bands \[4\] were asked for; the file has 1 to 3"
        ):
            raster.read(bands=[4])


@pytest.mark.parametrize("name", ["rgb.png", "bmp.bmp", "tiles.tif"])
def test_a_bomb_is_refused_with_its_size_before_it_is_decoded(tmp_path, name):
    WRITERS[name](tmp_path / name)
    message = "claims 90 x 70 pixels; expected at most 6299"
    with pytest.raises(AnnotationError, match=message), Raster(tmp_path / name, max_pixels=6299):
        pass
    with Raster(tmp_path / name, max_pixels=6300) as raster:
        assert raster.width == WIDTH


@pytest.mark.parametrize("name", ["rgb.png", "strips.tif", "lzw.tif", "tiles.tif", "bmp.bmp"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, name, share):
    WRITERS[name](tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    message = rf"{name}: the image file is (no image|damaged)"
    with pytest.raises(AnnotationError, match=message), Raster(tmp_path / name) as raster:
        raster.read()


def test_a_cut_png_is_an_error_by_rows_too(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2] + content[-12:])
    message = r"a\.png: the image file is damaged"
    with pytest.raises(AnnotationError, match=message), Raster(tmp_path / "a.png") as raster:
        for y in range(0, 70, 10):
            raster.read(Window(0, y, 90, 10))


def test_a_picture_that_its_exif_turns_is_read_as_it_is_shown(tmp_path):
    path = write_turned_picture(tmp_path / "a.jpg")
    with Image.open(path) as image, Raster(path) as raster:
        shown = np.asarray(ImageOps.exif_transpose(image))
        assert (raster.height, raster.width) == shown.shape[:2]
        np.testing.assert_array_equal(raster.read_rgb(), shown)


def test_a_missing_file_is_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), Raster(tmp_path / "none.png"):
        pass


def test_a_text_that_gdal_would_follow_elsewhere_is_no_image(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    vrt = (
        '<VRTDataset rasterXSize="90" rasterYSize="70"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{tmp_path}/a.png</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "b.tif").write_text(vrt)
    with rasterio.open(tmp_path / "b.tif") as followed:
        assert followed.shape == (70, 90)
    message = r"b\.tif: the image file is no image"
    with pytest.raises(AnnotationError, match=message), Raster(tmp_path / "b.tif"):
        pass


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["rgb.png", "lzw.tif", "tiles.tif"]))
def test_a_file_with_any_bytes_changed_is_read_or_named(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("broken")
    WRITERS[name](folder / name)
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(bytes(content))
    try:
        with Raster(folder / name, max_pixels=10_000_000) as raster:
            if raster.height * raster.width * raster.num_bands < 10_000_000:
                raster.read(bands=[1])
    except AnnotationError as error:
        assert name in str(error)


MEASURE = """
import sys, resource
from mtp_hf.dataset_scripts._rasters import Raster, Window
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Raster(path) as raster:
        for y in range(0, raster.height - 255, 250):
            for x in range(0, raster.width - 255, 500):
                assert raster.read_rgb(Window(x, y, 256, 256)).shape == (256, 256, 3)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_picture_costs_the_rows_of_a_window(tmp_path):
    num_parts = 20  # 60 MB of pixels
    rows = np.tile(np.arange(1000, dtype=np.uint8)[:, None], (1000, 1, 3))
    write_png_rows(tmp_path / "a.png", (rows for _ in range(num_parts)), 1000 * num_parts)
    write_tiff(tmp_path / "a.tif", np.tile(rows, (num_parts, 1, 1)), compress="lzw")
    paths = [str(tmp_path / name) for name in ("a.png", "a.tif")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True
    )
    # KB: 16 MB for GDAL, some rows, the library's own start.
    assert max(map(int, done.stdout.split())) < 40_000


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_is_0_or_1_and_shown_black_or_white(tmp_path, suffix):
    pixels = np.arange(80).reshape(8, 10) % 3 == 0
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}")
    with Raster(tmp_path / f"x{suffix}") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], pixels)
        np.testing.assert_array_equal(raster.read_rgb(), np.stack([pixels * 255] * 3, axis=2))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_that_its_tag_turns_is_read_as_it_is_shown(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    with Image.open(tmp_path / "a.tif") as image:
        shown = np.asarray(image)
    with Raster(tmp_path / "a.tif") as raster:
        assert (raster.height, raster.width) == shown.shape[:2]
        assert np.array_equal(raster.read_rgb(), shown)
