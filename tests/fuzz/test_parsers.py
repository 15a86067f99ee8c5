"""Random and broken files: every parser either reads them or names the file in its error.

A test that only calls `run_target` claims that: any other error, and any value that does not fit
a row, is raised there.
"""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mtp_hf.dataset_scripts._rle import encode_mask
from tests.fuzz.targets import SEEDS, TARGETS, run_target

QUICK = settings(
    max_examples=120,
    deadline=None,
    database=None,
    # The folder is shared by all examples of a test, and every one writes its file anew.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Pieces that have a meaning in one of the formats, and values at the borders of numbers.
WORDS = [
    *(b"nan", b"inf", b"-1e309", b"1e7", b"1_0", b"9" * 5000, b"-0", b"0x1", b"\xd9\xa1", b"1e30"),
    *(b"\x00", b"\xff", b"\r\n", b"\r", b"\x0b", b"\x85", b" ", b",", b"\xef\xbb\xbf", b"\xf0\x9f"),
    *(b"imagesource:", b"gsd:", b"gsd:inf", b"acquisition dates:", b"ship", b"2", b"-1", b"None"),
    *(b"<", b">", b"/", b"&b;", b"]]>", b"<!--", b'<!DOCTYPE a [<!ENTITY b "c">]>', b"<object/>"),
    *(b"<bndbox/>", b"<robndbox><xmin>", b"</object><object>", b"<points><point>1,2</point>"),
    *(b"{", b"}", b"[" * 3000, b"]", b'"', b"null", b"true", b"{}", b"[]", b"1e999", b"NaN"),
    *(b'"type_id": 75', b'"bounds_imcoords": []', b'"image_id": ""', b'"coordinates": 1', b"a.tif"),
    *(b"0", b"o", b"_", b"`", b"P", b"\\"),
]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 4000),  # where
        st.integers(0, 60),  # bytes taken out
        st.one_of(st.sampled_from(WORDS), st.binary(max_size=4)),  # bytes put in
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """A file with some places replaced."""
    for start, length, piece in edits:
        place = start % (len(data) + 1)
        data = data[:place] + piece + data[place + length :]
    return data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_valid_file_is_read(name, path):
    assert run_target(name, SEEDS[name], path)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_file_cut_anywhere_is_read_or_named(name, path):
    results = [run_target(name, SEEDS[name][:length], path) for length in range(len(SEEDS[name]))]
    assert False in results  # cutting does break something


@pytest.mark.parametrize("name", sorted(TARGETS))
@QUICK
@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"\xff\xfe\x00")
def test_any_bytes_are_read_or_named(name, path, data):
    run_target(name, data, path)


@pytest.mark.parametrize("name", sorted(TARGETS))
@QUICK
@given(edits=EDITS)
def test_a_file_with_broken_places_is_read_or_named(name, path, edits):
    run_target(name, edited(SEEDS[name], edits), path)


TOKENS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["ship", "large-vehicle", "gsd:", "imagesource:x", "٣", "1e7", "-"]),
    st.text(max_size=3),
)


@QUICK
@given(
    lines=st.lists(st.lists(TOKENS, max_size=13), max_size=5), end=st.sampled_from("\n\r\x85\x0c")
)
def test_lines_of_any_words_are_read_or_named(path, lines, end):
    text = end.join(" ".join(tokens) for tokens in lines)
    data = text.encode("utf-8", "surrogatepass")
    run_target("dota_text", data, path)


@QUICK
@given(
    corners=st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8),
    difficult=st.sampled_from([None, 0, 1, 2]),
)
def test_every_finite_polygon_is_read(path, corners, difficult):
    words = [*map(repr, corners), "ship", *([] if difficult is None else [str(difficult)])]
    assert run_target("dota_text", " ".join(words).encode(), path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["FeatureCollection", "Polygon", "MultiPolygon", "GeometryCollection"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["features", "properties", "type_id", "image_id", "bounds_imcoords", "coordinates"]
                + ["type", "geometry", "crs", "geometries"]
                + ["images", "categories", "annotations", "id", "name", "file_name", "category_id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["xview_geojson", "footprints", "coco_json"])
@QUICK
@given(content=JSON)
def test_any_json_with_the_right_keys_is_read_or_named(name, path, content):
    run_target(name, json.dumps(content).encode(), path)


@QUICK
@given(
    size=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    counts=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12),
)
def test_any_run_lengths_are_measured_as_pycocotools_does_or_refused(path, size, counts):
    run_target("rle", bytes(size) + counts.encode(), path)


@QUICK
@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_every_mask_is_read_and_measured_as_pycocotools_does(path, mask):
    counts = encode_mask(mask)["counts"]
    assert run_target("rle", bytes(mask.shape) + counts.encode(), path)
