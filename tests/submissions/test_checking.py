"""Claims about the check of files for test servers."""

import io
import json
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES, FAST_CLASSES, LOVEDA_CLASSES
from mtp_hf.submissions.checking import CHECKS, MAX_SHOWN, check_submission, read_members
from mtp_hf.submissions.writing import write_submission

POLYGON = [10, 20, 30, 20, 30, 40, 10, 40]
LINE = "1 0.5 10 20 30 20 30 40 10 40\n"


@pytest.fixture
def images(tmp_path):
    """Two images of a test set."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (12, 10)).save(folder / f"{name}.png")
    return folder


def records(kind, folder):
    """Predictions of the two images."""
    found = {"label": 0, "score": 0.5}
    made = []
    for name in ("1", "2"):
        record = {"image_id": name, "file_name": f"{name}.png", "width": 12, "height": 10}
        if kind == "loveda":
            Image.new("L", (12, 10), 6).save(folder / f"{name}_map.png")
            record["map"] = f"{name}_map.png"
        elif kind == "coco":
            record["objects"] = [{**found, "bbox": [1, 2, 3, 4]}]
        else:
            record["objects"] = [{**found, "polygon": POLYGON}] if name == "1" else []
        made.append(record)
    return made


def zipped(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def dota(**changes):
    return {f"Task1_{name}.txt": "" for name in DOTA_V1_CLASSES} | changes


def refused(path, kind, images=None):
    with pytest.raises(ValueError) as error:
        check_submission(path, kind, images)
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("dota", DOTA_V1_CLASSES),
        ("fair1m", FAST_CLASSES),
        ("loveda", LOVEDA_CLASSES),
        ("coco", ["ship"]),
    ],
)
def test_what_is_written_here_passes(tmp_path, images, kind, classes):
    files = write_submission(kind, records(kind, tmp_path), classes, tmp_path)
    checks = [name for name in CHECKS if name.startswith(kind)]
    assert len(checks) == len(files)
    for file, check in zip(files, checks, strict=True):
        assert f"fine for format {check}" in check_submission(file, check, images)


def test_objects_are_counted(tmp_path, images):
    (task1, _) = write_submission("dota", records("dota", tmp_path), DOTA_V1_CLASSES, tmp_path)
    assert check_submission(task1, "dota_task1").endswith("15 classes, 1 objects")


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


def test_only_so_many_problems_are_shown(tmp_path):
    path = zipped(tmp_path / "a.zip", dota(**{"Task1_ship.txt": "wrong\n" * 50}))
    text = refused(path, "dota_task1")
    assert "50 problems" in text
    assert text.count("expected: image score") == MAX_SHOWN
    assert text.endswith("... and 30 more")


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "a\\..\\b.txt"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="leaves the archive"):
        read_members(zipped(tmp_path / "a.zip", {name: "x"}))


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("a.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        read_members(tmp_path / "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
        archive.writestr("a.txt", "y")
    with pytest.raises(ValueError, match="is there twice"):
        read_members(tmp_path / "a.zip")


def test_a_cut_archive_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", dota())
    path.write_bytes(path.read_bytes()[:100])
    assert "no whole zip archive" in refused(path, "dota_task1")
    assert "no such file" in refused(tmp_path / "b.zip", "dota_task1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<name>A220", b"<name>A-220", "class 'A-220'"),
        (b"0.500000</prob", b"1.5</prob", "probability '1.5'"),
        (b"<filename>1.png</filename>", b"", "source/filename is missing"),
        (b"<annotation>", b"<annotatio", "no xml"),
        (b"30.000000,40.000000", b"30.000000", "5 points"),
    ],
)
def test_a_wrong_xml_is_named(tmp_path, old, new, message):
    (path,) = write_submission("fair1m", records("fair1m", tmp_path), FAST_CLASSES, tmp_path)
    contents = read_members(path)
    assert old in contents["test/1.xml"]
    contents["test/1.xml"] = contents["test/1.xml"].replace(old, new, 1)
    text = refused(zipped(path, contents), "fair1m")
    assert "test/1.xml: " in text
    assert message in text


def test_an_image_without_its_xml_is_named(tmp_path, images):
    (path,) = write_submission("fair1m", records("fair1m", tmp_path)[:1], FAST_CLASSES, tmp_path)
    assert "test/2.xml: missing" in refused(path, "fair1m", images)


def _png(values, mode="L"):
    content = io.BytesIO()
    Image.fromarray(np.asarray(values, dtype=np.uint8)).convert(mode).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_png(np.full((10, 12), 7)), "values up to 7; expected 0 to 6"),
        (_png(np.zeros((12, 10))), "10 x 12; the image has 12 x 10"),
        (_png(np.zeros((10, 12)), "RGB"), "mode 'RGB'"),
        (b"no png", "no picture"),
    ],
)
def test_a_wrong_map_is_named(tmp_path, images, content, message):
    contents = {"1.png": content, "2.png": _png(np.zeros((10, 12)))}
    text = refused(zipped(tmp_path / "a.zip", contents), "loveda", images)
    assert f"1.png: {message}" in text or ("1.png: " in text and message in text)
    assert "2.png" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, "bbox [1, 2, 3]"),
        ({"bbox": [1, 2, -3, 4]}, "bbox [1, 2, -3, 4]"),
        ({"score": None}, "score None"),
        ({"category_id": "ship"}, "category_id 'ship'"),
        ({"image_id": 9}, "image 9 is not among"),
    ],
)
def test_a_wrong_result_of_coco_is_named(tmp_path, images, change, message):
    result = {"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([result, result | change]))
    assert f"result 1: {message}" in refused(path, "coco", images)
