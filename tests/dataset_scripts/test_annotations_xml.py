"""The xml dialects of detection: what is read, and what a broken file says."""

import pytest

from mtp_hf.dataset_scripts._annotations_xml import (
    read_fair1m_xml,
    read_oriented_xml,
    read_voc_xml,
)
from mtp_hf.dataset_scripts._readers import AnnotationError

NUMBERS = [1.0, 2.0, 5.0, 2.0, 5.0, 6.0, 1.0, 6.0]
CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
BOX = "<xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax>"


def saved(path, text: str):
    path.write_bytes(text.encode())
    return path


def robndbox(values=NUMBERS, skip: str = "") -> str:
    names = [f"{axis}_{corner}" for corner in CORNERS for axis in "xy"]
    fields = zip(names, values, strict=True)
    return "".join(f"<{n}>{v}</{n}>" for n, v in fields if n != skip)


def xml(body: str, name: str = "Ship") -> str:
    return f"<annotation><object><name>{name}</name>{body}</object></annotation>"


# DIOR-R


def test_oriented_object_has_its_corners_in_file_order(tmp_path):
    body = f"<difficult>1</difficult><robndbox>{robndbox()}</robndbox>"
    (record,) = read_oriented_xml(saved(tmp_path / "a.xml", xml(body)))
    assert record.polygon == NUMBERS
    assert (record.name, record.difficult, record.label) == ("Ship", 1, None)


@pytest.mark.parametrize("tag", ["bndbox", "robndbox"])
def test_a_plain_box_becomes_four_corners(tmp_path, tag):
    box = "<xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax>"
    (record,) = read_oriented_xml(saved(tmp_path / "a.xml", xml(f"<{tag}>{box}</{tag}>")))
    assert record.polygon == NUMBERS


def test_a_file_without_objects_has_none(tmp_path):
    assert read_oriented_xml(saved(tmp_path / "a.xml", "<annotation></annotation>")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xml(""), "neither 'robndbox' nor 'bndbox'"),
        (xml("<robndbox/>"), "the polygon has 0 corners; expected 4"),
        (
            xml(f"<robndbox>{robndbox(skip='y_left_bottom')}</robndbox>"),
            "the polygon has 3.5 corners; expected 4, y_left_bottom missing",
        ),
        (
            xml(f"<robndbox>{robndbox(['?', *NUMBERS[1:]])}</robndbox>"),
            "field 'x_left_top' is '?'; expected a number",
        ),
        (xml(f"<robndbox>{robndbox()}</robndbox>", name=" "), "field 'name' is missing"),
        ("<annotation><object>", "not a readable xml file"),
        ("", "not a readable xml file"),
        ('<?xml version="1.0" encoding="no-such-code"?><a/>', "not a readable xml file"),
    ],
)
def test_a_broken_xml_is_named(tmp_path, text, message):
    path = saved(tmp_path / "a.xml", text)
    with pytest.raises(AnnotationError) as error:
        read_oriented_xml(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_xml_with_entities_is_refused(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb">]><annotation>&b;</annotation>'
    with pytest.raises(AnnotationError, match="not a readable xml file"):
        read_oriented_xml(saved(tmp_path / "a.xml", bomb))


@pytest.mark.parametrize("value", ["", " ", "Unspecified"])
def test_a_difficulty_that_nobody_judged_is_0(tmp_path, value):
    body = f"<difficult>{value}</difficult><robndbox>{robndbox()}</robndbox>"
    (record,) = read_oriented_xml(saved(tmp_path / "a.xml", xml(body)))
    assert record.difficult == 0


@pytest.mark.parametrize("value", ["3", "-1", "1e30", "0.5"])
def test_a_difficulty_that_is_none_is_an_error(tmp_path, value):
    body = f"<difficult>{value}</difficult><robndbox>{robndbox()}</robndbox>"
    with pytest.raises(AnnotationError, match=r"a.xml, object 0: field 'difficult' is .* 0 or 1"):
        read_oriented_xml(saved(tmp_path / "a.xml", xml(body)))


@pytest.mark.parametrize("value", ["nan", "inf", "-1e9"])
def test_a_corner_beyond_any_image_is_an_error(tmp_path, value):
    body = f"<robndbox>{robndbox([value, *NUMBERS[1:]])}</robndbox>"
    with pytest.raises(AnnotationError, match="object 0: a coordinate is not finite or beyond"):
        read_oriented_xml(saved(tmp_path / "a.xml", xml(body)))


@pytest.mark.parametrize("read", [read_oriented_xml, read_voc_xml, read_fair1m_xml])
def test_another_kind_of_xml_is_an_error(tmp_path, read):
    with pytest.raises(AnnotationError, match="outer element is 'html'; expected 'annotation'"):
        read(saved(tmp_path / "a.xml", "<html></html>"))


# Pascal VOC


@pytest.mark.parametrize("tag", ["bndbox", "robndbox"])
def test_a_horizontal_box_has_four_numbers_under_either_name(tmp_path, tag):
    (record,) = read_voc_xml(saved(tmp_path / "a.xml", xml(f"<{tag}>{BOX}</{tag}>")))
    assert record == (f"{tmp_path / 'a.xml'}, object 0", [1.0, 2.0, 5.0, 6.0], "Ship", 0)


def test_a_box_of_no_size_is_kept(tmp_path):
    body = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>5</xmax><ymax>6</ymax></bndbox>"
    assert read_voc_xml(saved(tmp_path / "a.xml", xml(body)))[0].box == [5.0, 6.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "neither 'robndbox' nor 'bndbox'"),
        (f"<robndbox>{robndbox()}</robndbox>", "a rotated box of four corners; expected xmin"),
        ("<bndbox><xmin>1</xmin></bndbox>", "field 'ymin' is None; expected a number"),
        (f"<bndbox>{BOX.replace('5', 'five')}</bndbox>", "field 'xmax' is 'five'"),
        (f"<bndbox>{BOX.replace('5', '0')}</bndbox>", "ends before it starts"),
    ],
)
def test_a_broken_box_is_named(tmp_path, body, message):
    path = saved(tmp_path / "a.xml", xml(f"<bndbox>{BOX}</bndbox></object><object>"))
    path.write_text(path.read_text().replace("<object></object>", xml(body)[12:-13]))
    with pytest.raises(AnnotationError) as error:
        read_voc_xml(path)
    assert f"{path}, object 1" in str(error.value)
    assert message in str(error.value)


# FAIR1M


def fair1m(points: list[str], name: str = "Dry Cargo Ship", unit: str = "pixel") -> str:
    corners = "".join(f"<point>{point}</point>" for point in points)
    return (
        "<annotation><source><filename>1.tif</filename><origin>GF2/GF3</origin></source><objects>"
        f"<object><coordinate>{unit}</coordinate><type>rectangle</type>"
        f"<possibleresult><name>{name}</name></possibleresult><points>{corners}</points></object>"
        "</objects></annotation>"
    )


POINTS = ["1.000000,2.000000", "5.000000,2", "5,6", "1,6"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_corner_that_closes_the_ring_is_dropped(tmp_path, closed):
    text = fair1m([*POINTS, POINTS[0]] if closed else POINTS)
    found = read_fair1m_xml(saved(tmp_path / "a.xml", text))
    assert found.records[0].polygon == NUMBERS
    assert found.records[0].name == "Dry Cargo Ship"
    assert (found.image_source, found.gsd) == ("GF2/GF3", None)


def test_a_fair1m_file_without_objects_has_none(tmp_path):
    assert read_fair1m_xml(saved(tmp_path / "a.xml", "<annotation/>")) == ([], None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (fair1m(POINTS[:3]), "the polygon has 3 corners; expected 4, or 5"),
        (fair1m([*POINTS, "9,9"]), "the polygon has 5 corners"),
        (fair1m(["1", *POINTS[1:]]), "point 0 is '1'; expected 'x,y'"),
        (fair1m(["1,a", *POINTS[1:]]), "point 0 is '1,a'; expected 'x,y'"),
        (fair1m(["1,2,3", *POINTS[1:]]), "point 0 is '1,2,3'"),
        (fair1m(["", *POINTS[1:]]), "point 0 is None"),
        (fair1m(["1,inf", *POINTS[1:]]), "a coordinate is not finite"),
        (fair1m(POINTS, name=""), "field 'name' is missing"),
        (fair1m(POINTS, unit="lonlat"), "field 'coordinate' is 'lonlat'; expected 'pixel'"),
        (fair1m(POINTS).replace("possibleresult", "result"), "field 'possibleresult' is missing"),
    ],
)
def test_a_broken_fair1m_object_is_named(tmp_path, text, message):
    path = saved(tmp_path / "a.xml", text)
    with pytest.raises(AnnotationError) as error:
        read_fair1m_xml(path)
    assert f"{path}, object 0" in str(error.value)
    assert message in str(error.value)
