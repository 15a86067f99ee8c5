"""Folders of Pascal VOC: rows, lists, layouts, broken files."""

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import BOXES, voc_xml, write_voc


@pytest.fixture
def load(tmp_path):
    def load(root=None, **options):
        root = write_voc(tmp_path / "mine") if root is None else root
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("voc_folder", data_dir=root, **options)

    return load


def test_rows_are_those_of_the_files_and_lists(load):
    splits = load()
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["a", "b"],
        "validation": ["c"],
    }
    assert splits["train"].features == detection_features(["harbor", "ship"])
    objects = splits["train"][0]["objects"]
    assert objects["bbox"] == [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES]
    assert objects["category"] == [1, 0]
    assert splits["train"][1]["objects"]["bbox"] == []


def test_labels_may_lie_beside_the_pictures(load, tmp_path):
    for split in ("train", "valid"):
        write_picture(tmp_path / "flat" / split / "a.jpg")
        write_text(tmp_path / "flat" / split / "a.xml", voc_xml())
    assert load(tmp_path / "flat").num_rows == {"train": 1, "validation": 1}


def test_a_missing_file_is_an_error_unless_it_means_no_object(load, tmp_path):
    root = write_voc(tmp_path / "mine")
    (root / "VOCdevkit/VOC2012/Annotations/b.xml").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 pictures have no label file, first 'b'"):
        load(root)
    rows = load(root, missing_labels="empty", split="train")
    assert [len(row["objects"]["id"]) for row in rows] == [2, 0]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation><object>", r"a\.xml: not a readable xml file"),
        ("<kml></kml>", "the outer element is 'kml'"),
        (voc_xml(((1, 2, "x", 4),), ("ship",)), r"a\.xml, object 0: field 'xmax' is 'x'"),
    ],
)
def test_a_broken_file_is_named(load, tmp_path, xml, message):
    root = write_voc(tmp_path / "mine")
    write_text(root / "VOCdevkit/VOC2012/Annotations/a.xml", xml)
    with pytest.raises(AnnotationError, match=message):
        load(root, class_names=["ship", "harbor"])


def test_streamed_rows_are_the_prepared_ones(load):
    streamed = [row["objects"] for row in load(split="train", streaming=True)]
    assert streamed == [row["objects"] for row in load(split="train")]
