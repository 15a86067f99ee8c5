"""Annotation files of every format: what is read, and what a broken file says."""

import json

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._annotations_xml import read_voc_xml
from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    read_coco_json,
    read_dota_text,
    read_image_list,
    read_image_size,
    read_json,
    read_polygon_text,
)
from mtp_hf.dataset_scripts._yolo_labels import read_yolo_boxes
from tests.fakes_detection import write_turned_picture

SQUARE = "1 2 5 2 5 6 1 6"
NUMBERS = [1.0, 2.0, 5.0, 2.0, 5.0, 6.0, 1.0, 6.0]


def saved(path, text: str):
    path.write_bytes(text.encode())
    return path


# Lists of images


def test_image_list_drops_blank_lines_extensions_and_crlf(tmp_path):
    path = saved(tmp_path / "train.txt", "b\r\n\r\na.png\r\nP1__1.5.jpg\n")
    assert read_image_list(path) == ["b", "a", "P1__1.5"]


def test_image_list_keeps_dots_that_are_no_extension(tmp_path):
    assert read_image_list(saved(tmp_path / "train.txt", "tile_0.5\n")) == ["tile_0.5"]


def test_an_image_listed_twice_is_named_with_both_lines(tmp_path):
    path = saved(tmp_path / "train.txt", "a\nb\na\n")
    with pytest.raises(AnnotationError, match=r"train.txt, line 3: image 'a' .* line 1"):
        read_image_list(path)


def test_an_empty_list_is_an_error(tmp_path):
    with pytest.raises(AnnotationError, match="the list is empty"):
        read_image_list(saved(tmp_path / "train.txt", "\n \n"))


# Image headers


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_image_size_is_height_and_width(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (30, 20)).save(path)
    assert read_image_size(path) == (20, 30)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_cut_short_is_an_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AnnotationError, match="damaged or cut short") as error:
        read_image_size(path)
    assert str(path) in str(error.value)


def test_a_tiff_that_ends_before_its_strips_is_an_error(tmp_path):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-100])  # Pillow writes the strips last
    with pytest.raises(AnnotationError, match="a.tif: the image file is damaged or cut short"):
        read_image_size(path)


def test_an_image_over_the_limit_is_refused_with_its_size(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (300, 200)).save(path)
    assert read_image_size(path, max_pixels=60_000) == (200, 300)
    with pytest.raises(AnnotationError, match="claims 300 x 200 pixels; .* max_pixels=59999"):
        read_image_size(path, max_pixels=59_999)


def test_an_image_over_the_limit_of_pillow_is_measured(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (300, 200)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image_size(path) == (200, 300)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_bytes_behind_a_whole_image_are_no_error(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(path)
    path.write_bytes(path.read_bytes() + bytes(4000))
    assert read_image_size(path) == (8, 8)


def test_a_text_file_is_no_image(tmp_path):
    with pytest.raises(AnnotationError, match="is no image"):
        read_image_size(saved(tmp_path / "a.png", "hello"))


def test_a_missing_image_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image_size(tmp_path / "a.png")


READERS = [
    read_image_size,
    read_json,
    read_polygon_text,
    read_voc_xml,
    lambda path: read_yolo_boxes(str(path), (4, 4), ["ship"]),
]


@pytest.mark.parametrize("read", READERS)
def test_a_link_that_leads_nowhere_is_an_error_of_the_annotation_that_names_it(tmp_path, read):
    path = tmp_path / "a.txt"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(AnnotationError, match=r"a\.txt: not there, or a link that leads nowhere"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, read):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(AnnotationError, match=r"a\.txt: Is a directory; expected a file"):
        read(tmp_path / "a.txt")


def test_the_size_of_a_picture_is_that_after_its_exif_turned_it(tmp_path):
    assert read_image_size(write_turned_picture(tmp_path / "a.jpg")) == (60, 40)


# Polygon text


def test_polygon_line_is_split_into_corners_name_and_number(tmp_path):
    (record,) = read_polygon_text(saved(tmp_path / "a.txt", f"{SQUARE} ship 5\n"))
    assert record.polygon == NUMBERS
    assert (record.name, record.label, record.difficult) == ("ship", 5, 0)
    assert record.row == f"{tmp_path / 'a.txt'}, line 1"


def test_crlf_tabs_and_header_lines_are_tolerated(tmp_path):
    text = f"imagesource:GoogleEarth\r\ngsd:0.25\r\n\r\n{SQUARE}\tlarge-vehicle  0\r\n"
    (record,) = read_polygon_text(saved(tmp_path / "a.txt", text))
    assert (record.name, record.label) == ("large-vehicle", 0)
    assert record.row.endswith("line 4")


def test_a_short_line_of_words_is_a_header_that_nobody_knows(tmp_path):
    text = f"source info\nacquired on 2018-01-01 at noon\n{SQUARE} ship\n"
    for read in (read_polygon_text, lambda path: read_dota_text(path).records):
        assert [record.name for record in read(saved(tmp_path / "a.txt", text))] == ["ship"]


def test_a_class_may_be_called_by_a_number(tmp_path):
    records = read_polygon_text(saved(tmp_path / "a.txt", f"{SQUARE} 0 1\n{SQUARE} 747\n"))
    assert [(r.polygon, r.name, r.label) for r in records] == [
        (NUMBERS, "0", 1),
        (NUMBERS, "747", None),
    ]


def test_names_of_two_words_are_kept(tmp_path):
    records = read_polygon_text(saved(tmp_path / "a.txt", f"{SQUARE} Small Car 29\n{SQUARE} Van"))
    assert [(r.name, r.label) for r in records] == [("Small Car", 29), ("Van", None)]


def test_corners_keep_order_and_may_leave_the_image(tmp_path):
    (record,) = read_polygon_text(saved(tmp_path / "a.txt", "9 9 -4.5 2 0 0 2000 1e2 ship 5"))
    assert record.polygon == [9.0, 9.0, -4.5, 2.0, 0.0, 0.0, 2000.0, 100.0]


def test_a_ring_closed_by_its_first_corner_loses_the_copy(tmp_path):
    (record,) = read_polygon_text(saved(tmp_path / "a.txt", f"{SQUARE} 1 2 ship 5"))
    assert record.polygon == NUMBERS
    assert (record.name, record.label) == ("ship", 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 5 2 5 6 ship 5", "the polygon has 3 corners; expected 4"),
        ("1 2 5 2 5 6 1 ship 5", "the polygon has 3.5 corners; expected 4"),
        (f"{SQUARE} 0 4 ship 5", "the polygon has 5 corners; expected 4"),
        ("1 2 5 x 5 6 1 6 ship 5", "the polygon has 1.5 corners; expected 4"),
        ("1 2 5 1_0 5 6 1 6 ship 5", "the polygon has 1.5 corners; expected 4"),
        ("1 2 5 \u0663 5 6 1 6 ship 5", "the polygon has 1.5 corners; expected 4"),
        (SQUARE, "the class name after the 8 coordinates is missing"),
        ("1 2 ship", "the polygon has 1 corners; expected 4"),
        (f"{SQUARE} 1 2", "the class name after the 8 coordinates is missing"),
        ("1 2 5 2 5 6 1 nan ship 5", "a coordinate is not finite"),
        (f"{SQUARE} ship 1.5", "the tenth column is '1.5'; expected an integer"),
        (f"{SQUARE} ship inf", "the tenth column is 'inf'; expected an integer"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    path = saved(tmp_path / "a.txt", f"{SQUARE} ship 5\n{line}\n")
    with pytest.raises(AnnotationError) as error:
        read_polygon_text(path)
    assert f"{path}, line 2" in str(error.value)
    assert message in str(error.value)


def test_a_binary_file_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(AnnotationError, match="not a text file"):
        read_polygon_text(path)


# Label files of DOTA


def test_a_dota_file_tells_satellite_resolution_and_difficulty(tmp_path):
    text = f"imagesource:GF\r\ngsd:0.25\r\n{SQUARE} ship 1\r\n{SQUARE} large-vehicle\r\n"
    found = read_dota_text(saved(tmp_path / "a.txt", text))
    assert (found.image_source, found.gsd) == ("GF", 0.25)
    assert [(r.name, r.difficult) for r in found.records] == [("ship", 1), ("large-vehicle", 0)]
    assert found.records[0].row == f"{tmp_path / 'a.txt'}, line 3"


@pytest.mark.parametrize("value", ["", "None", "null", "nan", "unknown"])
def test_a_resolution_that_is_no_number_is_none(tmp_path, value):
    found = read_dota_text(saved(tmp_path / "a.txt", f"imagesource:{value}\ngsd:{value}\n"))
    assert found.gsd is None
    assert found.image_source == (value if value in ("nan", "unknown") else None)


def test_a_third_header_line_and_no_header_are_both_read(tmp_path):
    third = "imagesource:JL\nacquisition dates:2018-01-01\ngsd:1\n"
    assert read_dota_text(saved(tmp_path / "a.txt", third + f"{SQUARE} ship 0"))[1:] == ("JL", 1.0)
    assert read_dota_text(saved(tmp_path / "b.txt", f"{SQUARE} ship 0"))[1:] == (None, None)
    assert read_dota_text(saved(tmp_path / "c.txt", "")) == ([], None, None)


@pytest.mark.parametrize("value", ["5", "-1", "1e30"])
def test_a_difficulty_of_another_meaning_is_an_error(tmp_path, value):
    path = saved(tmp_path / "a.txt", f"{SQUARE} ship {value}")
    with pytest.raises(AnnotationError, match=r"a.txt, line 1: the tenth column is .* 0 or 1"):
        read_dota_text(path)


# json of any kind


@pytest.mark.parametrize("text", ["", "{", "\ud800", "[" * 100_000, "9" * 5000], ids=len)
def test_what_is_no_json_is_named_whatever_the_reason(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(AnnotationError, match=r"a.json: not a readable json file \("):
        read_json(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_in_every_unicode_encoding(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "M\u00fcnchen"}'.encode(encoding))
    assert read_json(path) == {"name": "M\u00fcnchen"}
    assert read_json(path, lambda node: list(node)) == ["name"]


# COCO json


def coco(**changes) -> str:
    content = {
        "images": [{"id": 3, "file_name": "x/a.png"}, {"id": 4, "file_name": "b.png"}],
        "categories": [{"id": 7, "name": "ship"}],
        "annotations": [{"image_id": 3, "category_id": 7, "bbox": [0, 0, 1, 1]}],
    }
    return json.dumps(content | changes)


def test_annotations_are_grouped_by_image_stem_and_named(tmp_path):
    groups = read_coco_json(saved(tmp_path / "a.json", coco()))
    assert [a["category_name"] for a in groups["a"]] == ["ship"]
    assert groups["b"] == []


def test_a_coco_file_without_annotations_is_empty(tmp_path):
    content = json.loads(coco())
    del content["annotations"]
    assert read_coco_json(saved(tmp_path / "a.json", json.dumps(content))) == {"a": [], "b": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable json file"),
        ("[]", "not a COCO file"),
        (
            coco(annotations=[{"image_id": 9, "category_id": 7}]),
            "not a COCO file, or an annotation",
        ),
        (
            coco(annotations=[{"image_id": 3, "category_id": 9}]),
            "not a COCO file, or an annotation",
        ),
    ],
)
def test_a_broken_json_is_named(tmp_path, text, message):
    path = saved(tmp_path / "a.json", text)
    with pytest.raises(AnnotationError, match=message) as error:
        read_coco_json(path)
    assert str(path) in str(error.value)
