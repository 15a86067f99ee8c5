"""Files of a SAMRS set: values, order, whole or absent."""

import json

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._rle import encode_mask
from mtp_hf.dataset_scripts._samrs_files import MaskedObject, SamrsFiles

SHAPE = (8, 10)  # height, width


def rectangle(x, y, width, height):
    mask = np.zeros(SHAPE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


OBJECTS = [
    MaskedObject(
        "ship", 5, [1, 1, 6.12345, 1, 6, 5, 1, 5], [1, 1, 6, 5], rectangle(1, 1, 5, 4), 0.91234
    ),
    MaskedObject("harbor", 14, [4, 3, 8, 3, 8, 6, 4, 6], [4, 3, 8, 6], rectangle(4, 3, 4, 3), 0.5),
]


@pytest.fixture
def files(tmp_path):
    return SamrsFiles(tmp_path / "set")


@pytest.fixture
def image():
    return Image.new("RGB", SHAPE[::-1], (1, 2, 3))


def test_later_objects_overwrite_earlier_ones_in_the_map(files, image):
    files.write_tile("a", image, OBJECTS)
    with Image.open(files.folder / "rhbox_segs_init/gray/a.png") as gray:
        assert gray.mode == "L"
        values = np.asarray(gray)
    expected = np.full(SHAPE, 255)
    expected[OBJECTS[0].mask] = 5
    expected[OBJECTS[1].mask] = 14
    np.testing.assert_array_equal(values, expected)


def test_instances_have_the_keys_of_the_published_pickles(files, image):
    files.write_tile("a", image, OBJECTS)
    first, second = json.loads((files.folder / "rhbox_segs_init/ins/a.json").read_text())
    assert first == {
        "mask": encode_mask(OBJECTS[0].mask),
        "rbox": [[1, 1], [6.123, 1], [6, 5], [1, 5]],
        "rhbox": [1, 1, 6, 5],
        "category": "ship",
        "label": 5,
        "size": 20,
        "score": 0.912,
    }
    assert (second["category"], second["size"]) == ("harbor", 12)


def test_boxes_are_lines_with_name_and_number(files, image):
    files.write_tile("a", image, OBJECTS)
    lines = (files.folder / "rbbtxts/a.txt").read_text().splitlines()
    assert lines == ["1 1 6.123 1 6 5 1 5 ship 5", "4 3 8 3 8 6 4 6 harbor 14"]


def test_the_bytes_of_a_picture_stay_as_they_are(files):
    files.write_tile("a", b"picture", OBJECTS)
    assert (files.folder / "images/a.png").read_bytes() == b"picture"


def test_a_tile_is_there_when_its_last_file_is(files, image):
    def interrupted():
        yield OBJECTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_tile("a", image, interrupted())
    assert not files.has_tile("a")
    assert [path for path in files.folder.rglob("*") if path.is_file()] == []
    files.write_tile("a", image, OBJECTS)
    assert files.has_tile("a")


def test_a_tile_without_objects_is_refused(files, image):
    with pytest.raises(ValueError, match="tile 'a': no object"):
        files.write_tile("a", image, [])


def test_lists_and_coco_files_hold_the_tiles_of_their_split(files, image):
    files.write_tile("a", image, OBJECTS)
    files.write_tile("b", image, OBJECTS[:1])
    files.write_lists({"train": ["a"], "validation": ["b"]}, ["plane", "ship"])
    assert (files.folder / "train.txt").read_text() == "a\n"
    assert (files.folder / "valid.txt").read_text() == "b\n"
    content = json.loads((files.folder / "sota_rbb_train_ins_segmentation.json").read_text())
    assert content["categories"] == [{"id": 0, "name": "plane"}, {"id": 1, "name": "ship"}]
    (entry,) = content["images"]
    assert (entry["id"], entry["file_name"], entry["height"], entry["width"]) == (0, "a.png", 8, 10)
    first, second = content["annotations"]
    assert (first["id"], first["image_id"], first["category_id"]) == (0, 0, 5)
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([1, 1, 5, 4], 20, 0)
    assert first["segmentation"] == encode_mask(OBJECTS[0].mask)
    assert second["rhbox"] == [4, 3, 8, 6]
    content = json.loads((files.folder / "sota_rbb_valid_ins_segmentation.json").read_text())
    assert [annotation["image_id"] for annotation in content["annotations"]] == [0]


def test_a_list_without_tiles_is_written(files):
    files.write_lists({"train": [], "validation": []}, ["ship"])
    content = json.loads((files.folder / "sota_rbb_train_ins_segmentation.json").read_text())
    assert (content["images"], content["annotations"]) == ([], [])


def test_damaged_instances_are_named_and_leave_no_list(files, image):
    files.write_tile("a", image, OBJECTS)
    (files.folder / "rhbox_segs_init/ins/a.json").write_text("[{")
    with pytest.raises(AnnotationError, match=r"ins/a\.json: damaged .* delete it"):
        files.write_lists({"train": ["a"]}, ["ship"])
    assert not list(files.folder.glob("*.json"))
