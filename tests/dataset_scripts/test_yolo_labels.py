"""Lines of YOLO label files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._yolo_labels import read_yolo_boxes, read_yolo_polygons

SIZE = (40, 60)  # height, width
NAMES = ["ship", "harbor"]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "a.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_a_box_is_given_by_its_centre_in_shares_of_the_picture(file):
    (record,) = read_yolo_boxes(file("1 0.5 0.25 0.2 0.5\n"), SIZE, NAMES)
    assert record.box == pytest.approx([24, 0, 36, 20], abs=1e-9)
    assert record.name == "harbor"
    assert record.row.endswith("a.txt, line 1")


def test_corners_keep_their_order(file):
    line = "0 0.5 0.25 1 0.5 0.75 1 0.25 0.75"
    (record,) = read_yolo_polygons(file(line), SIZE, NAMES)
    assert record.polygon == pytest.approx([30, 10, 60, 20, 45, 40, 15, 30], abs=1e-9)
    assert (record.name, record.difficult) == ("ship", 0)


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_read(file):
    text = b"\xef\xbb\xbf0 .1 .1 .1 .1\r\n\r\n  1\t.2 .2 .1 .1 \r\n"
    names = [record.name for record in read_yolo_boxes(file(text), SIZE, NAMES)]
    assert names == ["ship", "harbor"]
    assert read_yolo_boxes(file(""), SIZE, NAMES) == []


def test_rounding_beyond_the_border_is_kept(file):
    (record,) = read_yolo_polygons(file("0 -0.005 0 1.005 0 1 1 0 1"), SIZE, NAMES)
    assert record.polygon[:3] == pytest.approx([-0.3, 0, 60.3], abs=1e-9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 30 20 12 16", "coordinate '30'; expected shares of the picture's width and height"),
        ("0 0.5 0.5 0.2 1.02", "coordinate '1.02'"),
        ("0 0.5 -0.02 0.2 0.2", "coordinate '-0.02'"),
        ("0 0.5 nan 0.2 0.2", "coordinate 'nan'"),
        ("0 0.5 x 0.2 0.2", "coordinate 'x'"),
        ("0 0.5 0.5 -0.005 0.2", "width -0.005 and height 0.2"),
        ("2 0.5 0.5 0.2 0.2", "class '2'; expected an integer from 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "class '-1'"),
        ("0.5 0.5 0.5 0.2 0.2", "class '0.5'"),
        ("nan 0.5 0.5 0.2 0.2", "class 'nan'"),
        ("ship 0.5 0.5 0.2 0.2", "class 'ship'"),
        ("0 0.5 0.5 0.2", "4 values; expected 5: class cx cy w h"),
        ("0 0 0 1 0 1 1 0 1", "9 values, which are rotated boxes, format 'yolo_obb'; expected 5"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(file, line, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read_yolo_boxes(file(f"0 0.5 0.5 0.1 0.1\n{line}\n"), SIZE, NAMES)
    assert "a.txt, line 2: " in str(caught.value)


def test_boxes_in_a_file_of_rotated_boxes_are_named(file):
    message = "5 values, which are horizontal boxes, format 'yolo'; expected 9"
    with pytest.raises(AnnotationError, match=message):
        read_yolo_polygons(file("0 0.5 0.5 0.1 0.1"), SIZE, NAMES)


def test_a_file_that_is_no_text_is_named(file):
    with pytest.raises(AnnotationError, match=r"a\.txt: not a text file"):
        read_yolo_boxes(file(b"\xff\xfe0 0.5"), SIZE, NAMES)


LINES = st.lists(st.text(st.sampled_from("01 .-+eEnaif\t\n\r\x00x½"), max_size=40), max_size=4)


@given(st.one_of(st.binary(max_size=80), LINES.map(lambda lines: "\n".join(lines).encode())))
def test_any_bytes_are_read_or_refused_with_the_file(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "a.txt"
    path.write_bytes(content)
    for read in (read_yolo_boxes, read_yolo_polygons):
        try:
            read(str(path), SIZE, NAMES)
        except AnnotationError as error:
            assert str(path) in str(error)
