"""Options and classes of one's own folders, and pictures of any kind of TIFF."""

import numpy as np
import pytest

from mtp_hf.dataset_scripts._own_builder import OwnBoxConfig, check_class_names, read_class_file
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_text
from tests.fakes_own import HEIGHT, WIDTH, dota_lines, voc_xml, write_bands, write_voc


@pytest.fixture
def load(tmp_path):
    def load(name, root, **options):
        return load_dataset(
            name, data_dir=root, cache_dir=tmp_path / "cache", split="train", quiet=True, **options
        )

    return load


def test_the_option_wins_over_the_file_and_the_file_over_the_names_found(load, tmp_path):
    root = write_voc(tmp_path / "mine")

    def names(**options):
        rows = load("voc_folder", root, **options)
        return rows.features["objects"]["category"].feature.names

    assert names() == ["harbor", "ship"]
    write_text(root / "classes.txt", "ship\r\n\r\nharbor\r\ntree\r\n")
    assert names() == ["ship", "harbor", "tree"]
    assert names(class_names=["tree", "harbor", "ship"]) == ["tree", "harbor", "ship"]


@pytest.mark.parametrize(
    ("names", "found"),
    [([], "none"), (["a", "b", "a"], "'a' twice"), (["a", ""], "''"), (["a", 3], "3")],
)
def test_names_that_cannot_be_right_are_refused(names, found):
    with pytest.raises(AnnotationError, match=f"mine: class names: found {found}; expected"):
        check_class_names(names, "mine")


def test_a_class_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00s")
    with pytest.raises(AnnotationError, match=r"classes\.txt: not a text file"):
        read_class_file(tmp_path)
    assert read_class_file(tmp_path / "nowhere") is None


@pytest.mark.parametrize("folder", ["", "labels/", "labels/train/", "train/labels/", "train/"])
def test_a_class_file_may_lie_among_the_labels(tmp_path, folder):
    write_text(tmp_path / f"{folder}classes.txt", "ship\nharbor\n")
    assert read_class_file(tmp_path) == ["ship", "harbor"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing_labels": "skip"}, "missing_labels='skip'; expected one of"),
        ({"bands": [1, 2]}, r"bands=\[1, 2\]; expected the numbers of 3"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_options_that_mean_nothing_are_refused(load, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        OwnBoxConfig(name="all", **options)
    with pytest.raises(ValueError, match=message):
        load("voc_folder", write_voc(tmp_path / "mine"), **options)


def test_names_of_a_file_that_is_skipped_are_not_classes(load, tmp_path):
    root = write_voc(tmp_path / "mine")
    broken = voc_xml(((1, 1, 0, 0),), ("tree",))
    write_text(root / "VOCdevkit/VOC2012/Annotations/b.xml", broken)
    with pytest.raises(AnnotationError, match=r"b\.xml, object 0: the box .* ends before"):
        load("voc_folder", root)
    rows = load("voc_folder", root, on_error="skip")
    assert rows["image_id"][:] == ["a"]
    assert rows.features["objects"]["category"].feature.names == ["harbor", "ship"]


def test_another_set_of_options_is_another_copy_in_the_cache(load, tmp_path):
    root = write_voc(tmp_path / "mine")
    labels = [
        load("voc_folder", root, class_names=names)[0]["objects"]["category"]
        for names in (["ship", "harbor"], ["harbor", "ship"])
    ]
    assert labels == [[0, 1], [1, 0]]


def picture(load, root, num_bands, dtype="uint16", **options):
    write_bands(root / "images/a.tif", num_bands, dtype)
    write_text(root / "labelTxt/a.txt", dota_lines())
    row = load("dota_folder", root, **options)[0]
    assert (row["width"], row["height"]) == (WIDTH, HEIGHT)
    return np.asarray(row["image"])


def test_a_tiff_of_16_bits_becomes_a_picture_of_8(load, tmp_path):
    pixels = picture(load, tmp_path / "mine", 3)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    # Values are 40 to 140: the least becomes 0, the greatest 255.
    assert pixels[0, 0].tolist() == [0, 102, 204]
    assert pixels[0, -1].tolist() == [51, 153, 255]


def test_a_tiff_of_many_bands_shows_those_that_were_chosen(load, tmp_path):
    root = tmp_path / "mine"
    pixels = picture(load, root, 6, bands=[6, 4, 2])
    assert pixels[0, 0].tolist() == [227, 113, 0]
    with pytest.raises(AnnotationError, match="6 bands of uint16; expected 1 to 4, or the"):
        picture(load, root, 6)
    with pytest.raises(AnnotationError, match=r"bands \[9, 1, 2\] were asked for"):
        picture(load, root, 6, bands=[9, 1, 2])


def test_bands_are_those_of_any_picture(load, tmp_path):
    root = write_voc(tmp_path / "mine")
    plain, turned = (
        np.asarray(load("voc_folder", root, bands=b)[0]["image"]) for b in (None, [3, 2, 1])
    )
    np.testing.assert_array_equal(turned, plain[..., ::-1])
    with pytest.raises(AnnotationError, match=r"bands \[4, 3, 2\] were asked for"):
        load("voc_folder", root, bands=[4, 3, 2])


def test_a_tiff_of_8_bits_stays_as_it_is(load, tmp_path):
    pixels = picture(load, tmp_path / "mine", 3, "uint8")
    assert pixels[0, 0].tolist() == [40, 80, 120]


def test_a_picture_beyond_the_limit_is_refused(load, tmp_path):
    with pytest.raises(AnnotationError, match="claims 60 x 40 pixels; expected at most"):
        picture(load, tmp_path / "mine", 3, "uint8", max_pixels=100)
    with pytest.raises(AnnotationError, match="claims 60 x 40 pixels; expected at most"):
        load("voc_folder", write_voc(tmp_path / "voc"), max_pixels=100)
