"""COCO files: what pycocotools reads from them."""

import pytest
from pycocotools.coco import COCO

from mtp_hf.dataset_scripts._rle import encode_mask
from mtp_hf.datasets_command.coco_export import coco_content, picture_name, write_coco
from tests.datasets_command.made_sets import NAMES, objects_of, picture_row
from tests.fakes import HAND_BOXES, hand_mask


@pytest.fixture
def rows():
    first = picture_row("a", objects=objects_of([[1, 2, 3, 4], [5.5, 6, 7, 8]], [2, 0]))
    return [first, picture_row("b", objects=objects_of([], []))]


def test_numbers_start_at_zero_and_empty_pictures_are_kept(rows):
    content = coco_content(rows, NAMES)
    assert content["images"] == [
        {"id": 0, "file_name": "a.png", "height": 32, "width": 48},
        {"id": 1, "file_name": "b.png", "height": 32, "width": 48},
    ]
    assert content["categories"] == [
        {"id": label, "name": name} for label, name in enumerate(["plane", "ship", "harbor"])
    ]
    assert [(a["id"], a["image_id"], a["category_id"]) for a in content["annotations"]] == [
        (0, 0, 2),
        (1, 0, 0),
    ]


def test_whole_numbers_are_written_without_a_point(rows):
    boxes = [found["bbox"] for found in coco_content(rows, NAMES)["annotations"]]
    assert boxes == [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    assert [type(value) for value in boxes[0]] == [int] * 4
    assert coco_content(rows, NAMES)["annotations"][0]["area"] == 12


def test_pycocotools_reads_the_file(rows, tmp_path, capsys):
    line = write_coco(rows, NAMES, tmp_path / "a.json")
    assert line == f"{tmp_path / 'a.json'}: 2 images, 2 objects"
    coco = COCO(str(tmp_path / "a.json"))
    assert coco.getImgIds() == [0, 1]
    assert coco.getAnnIds(catIds=[2]) == [0]
    assert coco.loadCats([1])[0]["name"] == "ship"


def test_masks_of_samrs_are_written_as_they_are(tmp_path):
    rle = encode_mask(hand_mask(0))
    objects = objects_of([list(HAND_BOXES[0])], [1]) | {"segmentation": [rle]}
    row = picture_row("a", objects=objects) | {"height": 40, "width": 60}
    content = coco_content([row], NAMES)
    assert content["images"][0]["segm_file"] == "a.png"
    assert content["annotations"][0]["segmentation"] == rle
    write_coco([row], NAMES, tmp_path / "a.json")
    coco = COCO(str(tmp_path / "a.json"))
    assert (coco.annToMask(coco.loadAnns([0])[0]) == hand_mask(0)).all()


def test_names_come_from_paths_and_from_tiles():
    assert picture_name({"image": "/data/images/7.tif"}) == "7.tif"
    assert picture_name({"image": {"path": "7__416__0___0.png", "bytes": b""}}).startswith("7__")
