"""Rows as pictures: everything lies where it is annotated, whatever the size of the panel."""

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._rle import encode_mask
from mtp_hf.datasets_command.families import Family
from mtp_hf.datasets_command.pictures import PictureError
from mtp_hf.datasets_command.row_panels import CHANGE_COLORS, draw_row
from mtp_hf.visualize.class_colors import default_palette
from tests.datasets_command.made_sets import objects_of, picture_row, write_map

NAMES = ("plane", "ship", "harbor")
DETECTION = Family("detection", NAMES, ("image",), None, ("objects",))
ORIENTED = Family("oriented detection", NAMES, ("image",), None, ("objects",))
SAMRS = Family("samrs", NAMES, ("image",), "semantic_mask", ("objects", "rotated_objects"))
LAND = Family("segmentation", ("background", "house"), ("image",), "mask", ())
STREETS = Family("segmentation", ("road", "house"), ("image",), "mask", ())
CHANGE = Family("change", ("unchanged", "changed"), ("image", "image_post"), "mask", ())
GRAY = 90


@pytest.fixture
def row(tmp_path):
    """A row of gray pictures of 48 by 32 pixels."""
    Image.new("RGB", (48, 32), (GRAY,) * 3).save(tmp_path / "a.png")

    def make(**columns):
        files = {"image": str(tmp_path / "a.png"), "image_post": str(tmp_path / "a.png")}
        return picture_row("a") | files | columns

    return make


@pytest.fixture
def half_map(tmp_path):
    """Left half 0, right half 1, the last eight columns ignored."""
    values = np.zeros((32, 48))
    values[:, 24:], values[:, 40:] = 1, 255
    write_map(tmp_path / "map.png", values)
    return str(tmp_path / "map.png")


def drawn(picture):
    """Where a picture (H, W, 3) is no longer gray."""
    return (np.asarray(picture).astype(int) != GRAY).any(axis=2)


@pytest.mark.parametrize("side", [192, 480, 960])
def test_a_box_is_drawn_where_it_lies_at_every_size(row, side):
    panels = draw_row(row(objects=objects_of([[12, 16, 24, 8]], [1])), DETECTION, side=side)
    assert len(panels.pictures) == 1
    assert panels.pictures[0].size == (side, round(side * 32 / 48))
    factor = side / 48
    rows, columns = np.nonzero(drawn(panels.pictures[0])[round(16 * factor) :])
    assert columns.min() == pytest.approx(12 * factor, abs=2)
    assert rows.max() == pytest.approx(8 * factor, abs=2)
    assert panels.title == "a  48 x 32  1 objects"
    assert panels.classes == {1}


def test_polygons_are_drawn_with_their_first_side_thick(row):
    objects = objects_of([[10, 10, 20, 15]], [0], oriented=True)
    picture = draw_row(row(objects=objects), ORIENTED, side=480).pictures[0]
    is_drawn = drawn(picture)
    assert is_drawn[95:106, 200].sum() > is_drawn[245:256, 200].sum() >= 2


def test_names_are_left_out_where_there_are_many_objects(row):
    few = objects_of([[20, 20, 4, 4]] * 2, [2, 2])
    many = objects_of([[20, 20, 4, 4]] * 30, [2] * 30)
    num_few, num_many = (
        drawn(draw_row(row(objects=objects), DETECTION, side=480).pictures[0]).sum()
        for objects in (few, many)
    )
    assert num_few > num_many > 0


def test_background_stays_clear_and_ignored_pixels_go_dark(row, half_map):
    plain, tinted = draw_row(row(mask=half_map), LAND, side=48).pictures
    assert not drawn(plain).any()
    assert not drawn(tinted)[:, :24].any()
    assert drawn(tinted)[:, 24:].all()
    assert (np.asarray(tinted)[:, 40:] < GRAY).all()


def test_a_first_class_that_is_no_background_is_tinted(row, half_map):
    panels = draw_row(row(mask=half_map), STREETS, side=48)
    assert drawn(panels.pictures[1])[:, :40].all()
    assert panels.classes == {0, 1}


def test_a_row_without_labels_is_the_picture_alone(row):
    assert len(draw_row(row(mask=None), LAND, side=48).pictures) == 1
    panels = draw_row(row(mask=None), CHANGE, side=48)
    assert len(panels.pictures) == 2
    assert panels.title.endswith("no labels")


def test_change_is_outlined_in_both_pictures(row, tmp_path):
    values = np.zeros((32, 48))
    values[10:20, 10:30] = 1
    write_map(tmp_path / "map.png", values)
    panels = draw_row(row(mask=str(tmp_path / "map.png")), CHANGE, side=48)
    before, after, change = (np.asarray(picture) for picture in panels.pictures)
    for picture in (before, after):
        yellow = (picture == CHANGE_COLORS[0]).all(axis=2)
        assert yellow[10:20, 10:30].sum() == 2 * 20 + 2 * 8
        assert yellow.sum() == 56
    assert (change[..., 0] == 255 * values).all()
    assert panels.title.endswith("13.0 % changed")


def test_all_annotations_of_samrs_have_a_panel(row, tmp_path):
    mask = np.zeros((32, 48), bool)
    mask[4:12, 8:20] = True
    gray = np.full((32, 48), 255)
    gray[mask] = 2
    write_map(tmp_path / "gray.png", gray)
    rle = encode_mask(mask)
    rle["counts"] = rle["counts"] if isinstance(rle["counts"], str) else rle["counts"].decode()
    objects = objects_of([[8, 4, 12, 8]], [2]) | {"segmentation": [rle]}
    turned = {"category": [0], "polygon": [[30, 20, 40, 20, 40, 26, 30, 26]]}
    columns = {"objects": objects, "rotated_objects": turned}
    panels = draw_row(row(semantic_mask=str(tmp_path / "gray.png"), **columns), SAMRS, side=48)
    instances, polygons, semantic = map(drawn, panels.pictures)
    assert instances[4:12, 8:20].all()
    assert polygons[20, 30:40].all() and not polygons[:10, :10].any()
    assert (semantic == mask).all()
    assert panels.classes == {0, 2}
    tint = np.asarray(panels.pictures[2])[6, 10].astype(float)
    expected = 0.55 * GRAY + 0.45 * default_palette(3)[2].astype(float)
    np.testing.assert_allclose(tint, expected, atol=2)  # rounding of 8-bit opacity


@pytest.mark.parametrize("num_bands", [1, 13])
def test_arrays_of_bands_are_stretched_to_colours(row, num_bands):
    bands = np.linspace(100, 3000, num_bands * 32 * 48).reshape(num_bands, 32, 48)
    family = Family("classification", NAMES, ("image",), None, ())
    panels = draw_row(row(image=bands.astype(np.uint16), label=1), family, side=48)
    pixels = np.asarray(panels.pictures[0])
    assert pixels.shape == (32, 48, 3)
    assert pixels.min() < 20 and pixels.max() > 235
    assert panels.title.startswith("ship  ")


def test_bands_in_files_are_the_array_of_them(row, tmp_path):
    bands = np.random.default_rng(0).integers(0, 3000, (4, 32, 48)).astype(np.uint16)
    for number, band in enumerate(bands):
        Image.fromarray(band).save(tmp_path / f"{number}.tif")
    files = [str(tmp_path / f"{number}.tif") for number in range(4)]
    family = Family("classification", NAMES, ("image",), None, ())
    pictures = [
        np.asarray(draw_row(row(image=image, label=0), family, side=48).pictures[0])
        for image in (bands, files)
    ]
    assert (pictures[0] == pictures[1]).all()


def test_a_broken_picture_is_an_error_that_names_it(row, tmp_path):
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(PictureError, match=r"b\.png: no picture"):
        draw_row(row(image=str(tmp_path / "b.png")), DETECTION, side=48)


@pytest.mark.parametrize(
    ("label", "title"), [(1, "ship  a  48 x 32"), (None, "no label  a  48 x 32")]
)
def test_the_class_of_a_scene_begins_its_title(row, label, title):
    scenes = Family("classification", NAMES, ("image",), None, ())
    assert draw_row(row(label=label), scenes, side=96).title == title
