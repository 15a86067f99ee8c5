"""The benchmark of data sets: what it measures is there, and is what it says."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import datasets as benchmark
from mtp_hf.dataset_scripts._rasters import Raster


@pytest.fixture(scope="module")
def rows():
    return benchmark.run(quick=True)


def test_every_number_has_its_target(rows):
    found = [(row.unit, row.at_least, row.at_most) for row in rows]
    assert found == [
        ("tiles/s", 12.0, None),
        ("MB", None, 1000.0),
        ("MB", None, 1000.0),
        ("MB", None, 2500.0),
        ("s", None, 120.0),
    ]
    assert all(row.value > 0 for row in rows)


def test_notes_say_what_was_read(rows):
    tiles, tiled, by_rows, png, labels = rows
    assert "20 objects a tile" in tiles.note
    for row, kind in ((tiled, "tiled TIFF"), (by_rows, "TIFF of rows"), (png, "PNG")):
        assert row.case == f"peak memory, 2,048 x 2,048 RGB {kind} to tiles"
        assert "; 9 tiles in" in row.note
    assert (labels.case, labels.note) == (
        "20 label files of DOTA, listed and read",
        "2,000 objects, one process",
    )


def test_the_written_pictures_are_those_that_were_meant(tmp_path):
    expected = np.concatenate(list(benchmark._parts(600)))
    assert expected.shape == (600, 600, 3)
    benchmark._write_png(tmp_path / "a.png", 600)
    benchmark._write_tiff(tmp_path / "a.tif", 600, benchmark.TILED)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)
    with Raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(), expected)


def test_labels_are_boxes_of_20_by_8_inside_the_picture(tmp_path):
    benchmark._write_image(tmp_path, "P0", 50, 1000)
    lines = (tmp_path / "train/labelTxt/P0.txt").read_text().splitlines()[2:]
    corners = np.array([line.split()[:8] for line in lines], float).reshape(-1, 4, 2)
    assert len(corners) == 50
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    np.testing.assert_allclose(sides, [[20, 8, 20, 8]] * 50, atol=0.2)  # written with one digit
    assert corners.min() > 0
    assert corners.max() < 1000
