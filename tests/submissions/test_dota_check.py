"""Claims about the check of archives for the server of DOTA."""

import pytest

from tests.submissions.made_files import LINE, dota, refused, zipped


def test_a_missing_and_an_extra_class_are_both_named(tmp_path):
    contents = dota(**{"Task1_boat.txt": ""})
    del contents["Task1_ship.txt"]
    text = refused(zipped(tmp_path / "a.zip", contents), "dota_task1")
    assert "Task1_ship.txt: missing" in text
    assert "Task1_boat.txt: unexpected" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0.5 10 20 30", "line 2: found '1 0.5 10 20 30'"),
        ("1 1.5 10 20 30 20 30 40 10 40", "line 2: score 1.5"),
        ("1 nan 10 20 30 20 30 40 10 40", "line 2: found"),
        ("9 0.5 10 20 30 20 30 40 10 40", "line 2: image '9' is not among the 2 images"),
    ],
)
def test_a_wrong_line_of_dota_is_named(tmp_path, images, line, message):
    path = zipped(tmp_path / "a.zip", dota(**{"Task1_ship.txt": LINE + line}))
    text = refused(path, "dota_task1", images)
    assert f"Task1_ship.txt, {message}" in text
    assert "1 problems" in text


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("10 20 10 20 10 20 10 20", "corners 10 20 10 20 10 20 10 20 have no area"),
        ("90 20 99 20 99 30 90 30", "lies far from the image of 12 x 10 pixels"),
        ("1_0 20 30 20 30 40 10 40", "found '1 0.5 1_0"),
    ],
)
def test_corners_that_cannot_be_are_named(tmp_path, images, place, message):
    path = zipped(tmp_path / "a.zip", dota(**{"Task1_ship.txt": f"1 0.5 {place}"}))
    assert message in refused(path, "dota_task1", images)


@pytest.mark.parametrize("place", ["30 20 10 40", "10 40 30 20"])
def test_corners_of_a_box_in_the_wrong_order_are_named(tmp_path, place):
    contents = {name.replace("Task1", "Task2"): text for name, text in dota().items()}
    path = zipped(tmp_path / "a.zip", contents | {"Task2_ship.txt": f"P0006 0.5 {place}"})
    text = refused(path, "dota_task2")
    assert f"line 1: box {place}; expected x1 < x2 and y1 < y2" in text


@pytest.mark.parametrize("name", ["P0006.png", "P0006__1024__0___0"])
def test_names_of_files_and_of_tiles_are_no_images(tmp_path, name):
    path = zipped(tmp_path / "a.zip", dota(**{"Task1_ship.txt": name + LINE[1:]}))
    text = refused(path, "dota_task1")
    assert f"image {name!r}: expected the name of a whole image without suffix" in text
