"""Folders of maps: values, kinds of files, options, broken maps, real files."""

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import segmentation_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_picture
from tests.fakes_own import class_map, write_bands, write_mask, write_masks


@pytest.fixture
def root(tmp_path):
    return write_masks(tmp_path / "mine")


@pytest.fixture
def load(root, tmp_path):
    def load(folder=root, **options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("mask_folder", data_dir=folder, **options)

    return load


def test_maps_are_those_of_the_files(load):
    splits = load()
    assert splits.num_rows == {"train": 2, "validation": 1}
    row = splits["train"][0]
    assert splits["train"].features == segmentation_features()
    assert (row["image_id"], row["width"], row["height"], row["scene"]) == ("a", 60, 40, None)
    assert row["mask"].mode == "L"
    np.testing.assert_array_equal(np.asarray(row["mask"]), class_map())


def test_values_of_the_files_become_classes_in_the_order_of_the_option(load, root):
    for name in ("train/a", "train/b", "val/a"):
        write_mask(root / f"masks/{name}.png", np.where(class_map() == 1, 255, 0))
    values = {"class_names": ["background", "road"], "mask_values": [0, 255]}
    rows = load(root, split="validation", **values)
    np.testing.assert_array_equal(np.asarray(rows[0]["mask"]), class_map() == 1)


def test_another_value_can_mean_no_label(load, root):
    for name in ("train/a", "train/b", "val/a"):
        write_mask(root / f"masks/{name}.png", (class_map() + 1) % 256)  # 0 where there is none
    mask = load(split="train", mask_values=[1, 2, 3], ignore_value=0)[0]["mask"]
    np.testing.assert_array_equal(np.asarray(mask), class_map())


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "LA"])
def test_numbers_of_a_palette_and_equal_bands_are_read(load, root, mode):
    image = Image.fromarray(class_map().astype(np.uint8))
    if mode == "P":
        image.putpalette([10, 20, 30, 40, 50, 60] * 128)
        assert image.mode == "P"
    image.convert(mode).save(root / "masks/train/a.png")
    mask = load(split="train")[0]["mask"]
    np.testing.assert_array_equal(np.asarray(mask), class_map())


def test_a_map_of_16_bits_with_small_numbers_is_read(load, tmp_path):
    write_picture(tmp_path / "wide/images/a.png")
    write_bands(tmp_path / "wide/masks/a.tif", 1)
    rows = load(tmp_path / "wide", class_names=["left", "right"], mask_values=[40, 60])["train"]
    assert np.unique(np.asarray(rows[0]["mask"])).tolist() == [0, 1]


def colors():
    return np.random.default_rng(0).integers(0, 3, (40, 60, 3))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (class_map() + 1, {}, r"values \[3\]; expected some of \[0, 1, 2, 255\], or the option"),
        (class_map(), {"ignore_value": -1}, r"values \[255\]; expected some of \[0, 1, 2\]"),
        (colors(), {}, "3 different bands; expected a map of one number a pixel, not colours"),
        (class_map()[:30], {}, "30 x 60 pixels; expected 40 x 60"),
    ],
)
def test_a_map_that_cannot_be_right_is_named(load, root, values, options, message):
    write_mask(root / "masks/train/b.png", values % 256)
    with pytest.raises(AnnotationError, match=message) as caught:
        load(split="train", **options)
    assert "masks/train/" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_values": [0, 1]}, "expected 3 different ones, one for each class"),
        ({"mask_values": [0, 1, 1]}, "expected 3 different ones"),
        ({"mask_values": [0, 1, 256]}, "expected 0 to 255"),
        ({"ignore_value": -2}, "ignore_value=-2; expected 0 to 255"),
        ({"ignore_value": 256}, "ignore_value=256; expected 0 to 255, or -1 for none"),
    ],
)
def test_options_that_cannot_be_right_are_refused(load, options, message):
    with pytest.raises(ValueError, match=message):
        load(**options)


BINARY = {"class_names": ["background", "building"]}


@pytest.mark.parametrize("values", [(0, 255), (255,)])
def test_255_of_two_classes_is_refused_until_an_option_says_what_it_is(load, root, values):
    for name in ("train/a", "train/b", "val/a"):
        write_mask(root / f"masks/{name}.png", np.resize(values, (40, 60)))
    with pytest.raises(
        AnnotationError, match=r"expected 0 and 1, or an option: mask_values=\[0, 2"
    ):
        load(**BINARY)
    for options, expected in (({"mask_values": [0, 255]}, 1), ({"ignore_value": 255}, 255)):
        mask = np.asarray(load(split="train", **BINARY, **options)[0]["mask"])
        assert np.unique(mask).tolist() == sorted({*values} - {255} | {expected})


def test_255_beside_both_of_two_classes_is_no_label(load, root):
    for name in ("train/a", "train/b", "val/a"):
        write_mask(root / f"masks/{name}.png", np.resize((0, 1, 255), (40, 60)))
    mask = np.asarray(load(split="train", **BINARY)[0]["mask"])
    assert np.unique(mask).tolist() == [0, 1, 255]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_a_pixel_is_class_0_or_1(load, tmp_path, suffix):
    write_picture(tmp_path / "bits/images/a.png")
    (tmp_path / "bits/masks").mkdir()
    Image.fromarray(class_map() == 1).save(tmp_path / f"bits/masks/a{suffix}")
    mask = load(tmp_path / "bits", split="train", **BINARY)[0]["mask"]
    np.testing.assert_array_equal(np.asarray(mask), class_map() == 1)


def test_an_opacity_of_its_own_is_refused(load, root):
    gray = Image.fromarray(class_map().astype(np.uint8))
    Image.merge("LA", (gray, gray.point(lambda value: 9 * value))).save(root / "masks/train/a.png")
    with pytest.raises(AnnotationError, match="2 different bands; expected a map of one number"):
        load(split="train")


def test_names_of_classes_have_to_be_given(load, root):
    (root / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected a classes\.txt or the option class_nam"):
        load()


def test_a_damaged_map_is_named_or_left_out(load, root):
    (root / "masks/train/b.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(AnnotationError, match=r"masks/train/b\.png: the image file is"):
        load()
    assert load(split="train", on_error="skip")["image_id"][:] == ["a"]


def test_a_test_split_may_have_no_maps(load, root):
    (root / "images/val").rename(root / "images/test")
    assert load(split="test")[0]["mask"] is None


def test_real_maps_are_read_as_ones_own(load, shared_dir, tmp_path):
    folder = tmp_path / "loveda"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
        file = shared_dir / f"data/samples/loveda/Train/Rural/{name}_png/0.png"
        (folder / name / "0.png").symlink_to(file)
    names = [f"class {number}" for number in range(7)]
    rows = load(folder, class_names=names, mask_values=list(range(1, 8)), ignore_value=0)
    found = np.unique(np.asarray(rows["train"][0]["mask"]))
    assert set(found) <= {0, 1, 2, 3, 4, 5, 6, 255} and len(found) > 2
