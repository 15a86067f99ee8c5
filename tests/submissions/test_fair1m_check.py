"""Claims about the check of archives for the server of FAIR1M."""

import pytest

from mtp_hf.dataset_scripts.class_names import FAST_CLASSES
from mtp_hf.submissions.archives import read_members
from mtp_hf.submissions.writing import write_submission
from tests.submissions.made_files import records, refused, zipped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<name>A220", b"<name>A-220", "class 'A-220'"),
        (b"0.500000</prob", b"1.5</prob", "probability '1.5'"),
        (b"<filename>1.png</filename>", b"", "source/filename is missing"),
        (b"<annotation>", b"<annotatio", "no xml"),
        (b"30.000000,40.000000", b"30.000000", "5 points"),
        (b"<annotation>", b"<annotations>", "begins with 'annotations'; expected 'annotation'"),
        (b">1.png<", b">9.tif<", "source/filename is '9.tif'; expected that of image '1'"),
        (b"pixel", b"metre", "object 1: coordinate 'metre'; expected 'pixel'"),
        (b"rectangle", b"ellipse", "object 1: type 'ellipse'; expected 'rectangle'"),
        (b"<objects>", b"<things>", "objects is missing"),
        (b"<width>12</width>", b"", "size is ' x 10'; expected numbers"),
        (b",40.000000", b",20.000000", "have no area"),
    ],
)
def test_a_wrong_xml_is_named(tmp_path, old, new, message):
    (path,) = write_submission("fair1m", records("fair1m", tmp_path), FAST_CLASSES, tmp_path)
    contents = read_members(path)
    assert old in contents["test/1.xml"]
    contents["test/1.xml"] = contents["test/1.xml"].replace(old, new)
    for tag in (b"annotation", b"objects"):  # the ends of elements as their beginnings
        if old == b"<" + tag + b">":
            end = new.replace(b"<", b"</")
            contents["test/1.xml"] = contents["test/1.xml"].replace(b"</" + tag + b">", end)
    text = refused(zipped(path, contents), "fair1m")
    assert "test/1.xml: " in text
    assert message in text


def test_an_image_without_its_xml_is_named(tmp_path, images):
    (path,) = write_submission("fair1m", records("fair1m", tmp_path)[:1], FAST_CLASSES, tmp_path)
    assert "test/2.xml: missing" in refused(path, "fair1m", images)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<width>12<", b"<width>13<", "size is '13 x 10'; expected ('12', '10')"),
        (b"0.000000,", b"90.000000,", "lies far from the image of 12 x 10 pixels"),
    ],
)
def test_what_does_not_fit_the_image_is_named(tmp_path, images, old, new, message):
    (path,) = write_submission("fair1m", records("fair1m", tmp_path), FAST_CLASSES, tmp_path)
    contents = read_members(path)
    contents["test/1.xml"] = contents["test/1.xml"].replace(old, new)
    assert message in refused(zipped(path, contents), "fair1m", images)
