"""Change maps in every coding in circulation, and files that are none."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mtp_hf.dataset_scripts._change_maps import (
    encode_png,
    find_change_classes,
    read_change_map,
    read_gray_values,
)
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_change import change_map

CHANGED = change_map()


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def counts(**pixels):
    """Histogram from `v0=5` for five pixels of value 0."""
    histogram = np.zeros(256, np.int64)
    for name, number in pixels.items():
        histogram[int(name[1:])] = number
    return histogram


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("high", [255, 1, 2, 50, 100, 128, 200])
def test_zero_and_any_code_of_change_are_read_alike(tmp_path, suffix, high):
    file = save(tmp_path / f"m{suffix}", high * CHANGED)
    assert np.array_equal(read_change_map(file), CHANGED)


def test_one_and_two_mean_unchanged_and_changed(tmp_path):
    file = save(tmp_path / "city-cm.tif", 1 + CHANGED)
    for sure in (False, True):
        assert np.array_equal(read_change_map(file, is_one_unchanged=sure), CHANGED)


@pytest.mark.parametrize(("value", "expected"), [(1, 0), (2, 1)])
def test_a_map_of_one_class_needs_its_coding_told(tmp_path, value, expected):
    file = save(tmp_path / "city-cm.tif", np.full((4, 6), value, np.uint8))
    assert np.all(read_change_map(file, is_one_unchanged=True) == expected)
    assert np.all(read_change_map(file) == 1)  # 1 is change in 0 / 1 maps


@pytest.mark.parametrize("value", [0, 3, 255])
def test_another_value_in_a_map_of_classes_is_an_error(tmp_path, value):
    pixels = 1 + CHANGED
    pixels[0, 0] = value
    file = save(tmp_path / "city-cm.tif", pixels)
    with pytest.raises(AnnotationError, match=rf"city-cm.tif: values \[.*{value}.*\]; expected 1"):
        read_change_map(file, is_one_unchanged=True)


@pytest.mark.parametrize(
    ("color", "mode"),
    [
        ((255, 255, 255), "RGB"),
        ((255, 0, 0), "RGB"),
        ((0, 255, 0, 255), "RGBA"),
        ((255, 255), "LA"),
    ],
)
def test_colours_mean_change_and_opacity_nothing(tmp_path, color, mode):
    picture = Image.new(mode, (32, 32), (0, 0, 0, 255)[: len(color)])
    picture.paste(color, (12, 8, 22, 18))
    if mode in ("RGBA", "LA"):
        picture.putalpha(255)
    picture.save(tmp_path / "cm.png")
    assert np.array_equal(read_change_map(str(tmp_path / "cm.png")), CHANGED)


@pytest.mark.parametrize("palette", [[0, 0, 0, 255, 255, 255], [0, 0, 0, 1, 1, 1]])
def test_a_palette_is_looked_up(tmp_path, palette):
    picture = Image.fromarray(CHANGED).convert("P")
    picture.putdata(CHANGED.ravel().tolist())
    picture.putpalette(palette)
    picture.save(tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").mode == "P"
    assert np.array_equal(read_change_map(str(tmp_path / "m.png")), CHANGED)


def test_one_bit_a_pixel_is_enough(tmp_path):
    Image.fromarray(255 * CHANGED).convert("1").save(tmp_path / "m.png")
    assert np.array_equal(read_change_map(str(tmp_path / "m.png")), CHANGED)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_jpeg_noise_is_cut_at_the_middle(tmp_path, quality):
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8), np.uint8), np.ones((7, 7)))
    expected = blocks.astype(np.uint8)
    file = save(tmp_path / "m.jpg", 255 * expected, quality=quality)
    assert len(np.unique(read_gray_values(file)[0])) > 2
    assert np.mean(read_change_map(file) != expected) < 0.01


@pytest.mark.parametrize("black", range(9))
def test_a_black_jpeg_is_unchanged_however_its_black_was_rounded(tmp_path, black):
    file = save(tmp_path / "m.jpg", np.full((16, 16), black, np.uint8), quality=95)
    assert read_change_map(file).sum() == 0


def test_a_jpeg_of_zero_and_one_counts_classes(tmp_path):
    pixels = np.zeros((32, 32), np.uint8)
    pixels[8:16, 8:24] = 1  # whole blocks, so that the values survive
    file = save(tmp_path / "m.jpg", pixels, quality=100)
    assert np.array_equal(read_change_map(file), pixels)


def test_a_photograph_is_no_change_map(tmp_path, shared_dir):
    for file in sorted((shared_dir / "data/samples/levir_cd_256/A").glob("*.png")):
        with pytest.raises(AnnotationError, match="gray values, .*neither dark nor bright"):
            read_change_map(str(file))


@pytest.mark.parametrize("share", [1, 30, 99])
@pytest.mark.parametrize("codes", [(0, 128), (0, 200), (50, 250), (3, 7)])
def test_of_two_values_the_larger_is_change_however_often_it_is_there(tmp_path, codes, share):
    expected = (np.arange(100) < share).astype(np.uint8).reshape(10, 10)
    file = save(tmp_path / "m.png", np.array(codes, np.uint8)[expected])
    assert np.array_equal(read_change_map(file), expected)


@pytest.mark.parametrize("absent", [(), (0,), (255,), (0, 255)])
def test_one_is_change_and_255_no_label_where_both_may_be(tmp_path, absent):
    expected = np.resize(np.setdiff1d([0, 1, 255], absent), (8, 6)).astype(np.uint8)
    file = save(tmp_path / "m.png", expected)
    assert np.array_equal(read_change_map(file), expected)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 127, 255), (5,), (0, 1, 2, 3)])
def test_more_classes_than_two_are_an_error(tmp_path, values):
    file = save(tmp_path / "m.png", np.resize(values, (8, 60)).astype(np.uint8))
    with pytest.raises(AnnotationError, match=r"m.png: .*; expected a change map of two"):
        read_change_map(file)


@pytest.mark.parametrize("noise", [1, 2, 254])
def test_a_noisy_pixel_changes_no_meaning(tmp_path, noise):
    pixels = 255 * np.kron(CHANGED, np.ones((4, 4), np.uint8))
    expected = (pixels > 0).astype(np.uint8)
    pixels[0, 0], expected[0, 0] = noise, noise > 128
    assert np.array_equal(read_change_map(save(tmp_path / "m.png", pixels)), expected)


@pytest.mark.parametrize("resampling", [Image.Resampling.BOX, Image.Resampling.BILINEAR])
def test_a_map_made_smaller_is_cut_at_the_middle(tmp_path, resampling):
    large = Image.fromarray(255 * np.kron(CHANGED, np.ones((9, 9), np.uint8)))
    pixels = np.asarray(large.resize((115, 115), resampling))
    assert len(np.unique(pixels)) > 2
    file = save(tmp_path / "m.png", pixels)
    assert np.array_equal(read_change_map(file), pixels >= 128)


def test_a_png_made_from_a_jpeg_is_cut_at_the_middle(tmp_path):
    pixels = np.asarray(Image.open(save(tmp_path / "m.jpg", 255 * CHANGED, quality=75)))
    file = save(tmp_path / "m.png", pixels)
    assert len(np.unique(pixels)) > 8
    assert np.array_equal(read_change_map(file), pixels >= 128)


def test_sixteen_bits_are_an_error(tmp_path):
    file = save(tmp_path / "m.png", 1000 * CHANGED.astype(np.uint16))
    with pytest.raises(
        AnnotationError, match="m.png: values of type uint16; expected a change map of 8 bits"
    ):
        read_change_map(file)


@pytest.mark.parametrize(
    ("histogram", "is_jpeg", "changed"),
    [
        (counts(v0=9, v255=1), False, [255]),
        (counts(v0=9), False, []),
        (counts(v1=9), False, [1]),
        (counts(v2=9), False, [2]),
        (counts(v255=9), False, [255]),
        (counts(v254=5, v255=4), False, [254, 255]),
        (counts(v1=9), True, []),
        (counts(v0=5, v1=3, v2=1), True, [1, 2]),
        (counts(v1=5, v2=3), False, [2]),
        (counts(v0=800, v30=100, v90=50, v255=50), True, [255]),
        (counts(v0=90, v3=5, v40=5), True, []),  # a change too small to come through
    ],
)
def test_what_is_change_follows_from_the_histogram(histogram, is_jpeg, changed):
    classes = find_change_classes(histogram, "m", is_jpeg=is_jpeg)
    assert np.flatnonzero((classes == 1) & (histogram > 0)).tolist() == changed


def test_a_map_that_claims_too_many_pixels_is_refused(tmp_path):
    file = save(tmp_path / "m.png", CHANGED)
    assert read_change_map(file, max_pixels=1024).shape == (32, 32)
    with pytest.raises(AnnotationError, match="m.png: the image claims 32 x 32 pixels"):
        read_change_map(file, max_pixels=1023)


def test_no_pixels_are_an_error():
    with pytest.raises(AnnotationError, match="m: the change map has no pixels"):
        find_change_classes(counts(), "m")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0, 255), (0, 1), (1, 2), (0, 255)]),
)
def test_every_map_of_both_classes_comes_back(height, width, seed, codes):
    expected = np.random.default_rng(seed).integers(0, 2, (height, width), np.uint8)
    expected.flat[0], expected.flat[-1] = 0, 1
    if height * width == 1:
        return  # one pixel holds one class only
    written = np.array(codes, np.uint8)[expected]
    histogram = np.bincount(written.ravel(), minlength=256)
    assert np.array_equal(find_change_classes(histogram, "m")[written], expected)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(expected)))), expected)


def broken_files():
    files = {}
    for suffix, format_name in ((".png", "PNG"), (".jpg", "JPEG"), (".tif", "TIFF")):
        buffer = io.BytesIO()
        Image.fromarray(255 * CHANGED).save(buffer, format_name)
        files[suffix] = buffer.getvalue()
    return files


FILES = broken_files()


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL tells what it finds before it gives up
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.integers(0, 2000),
)
def test_a_broken_file_is_an_annotation_error_or_a_map(tmp_path, suffix, edits, length):
    content = bytearray(FILES[suffix])
    for position, value in edits:
        content[position % len(content)] = value
    file = tmp_path / f"m{suffix}"
    file.write_bytes(content[: max(1, length)])
    try:
        found = read_change_map(str(file))
    except AnnotationError as error:
        assert str(file) in str(error)
    else:
        assert found.dtype == np.uint8
        assert set(np.unique(found)) <= {0, 1, 255}


def test_a_missing_file_is_missing_not_broken(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_change_map(str(tmp_path / "m.png"))


def test_a_value_of_no_label_is_told_whatever_the_others_say(tmp_path):
    for pixels in (255 * CHANGED, np.full((3, 3), 255, np.uint8)):
        file = save(tmp_path / "m.png", pixels)
        assert np.array_equal(read_change_map(file, ignore_value=255), pixels)
