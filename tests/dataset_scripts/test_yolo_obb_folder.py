"""Folders of YOLO-OBB: rows and formats that are mixed up."""

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import oriented_detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_own import NAMES, POLYGONS, write_yolo, yolo_boxes, yolo_polygons


@pytest.fixture
def load(tmp_path):
    def load(labels=None, **options):
        root = write_yolo(tmp_path / "mine", yolo_polygons() if labels is None else labels)
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("yolo_obb_folder", data_dir=root, **options)

    return load


def test_shares_of_the_picture_become_pixels(load):
    rows = load(split="train")
    assert rows.features == oriented_detection_features(list(NAMES))
    objects = rows[0]["objects"]
    for polygon, expected in zip(objects["polygon"], POLYGONS, strict=True):
        assert polygon == pytest.approx(expected, abs=1e-5)
    assert objects["category"] == [0, 1]
    assert objects["difficult"] == [0, 0]
    assert objects["bbox"][1] == pytest.approx([32, 18, 18, 14], abs=1e-5)
    assert objects["area"] == pytest.approx([160, 126], abs=1e-3)
    assert (rows[0]["gsd"], rows[0]["image_source"]) == (None, None)


def test_a_picture_without_label_file_has_no_object(load):
    assert load(split="train")[1]["objects"]["polygon"] == []


def test_streamed_rows_are_the_prepared_ones(load):
    streamed = [row["objects"] for row in load(split="train", streaming=True)]
    assert streamed == [row["objects"] for row in load(split="train")]


def test_horizontal_boxes_are_told_from_rotated_ones(load):
    with pytest.raises(AnnotationError, match=r"line 1: 5 values, which are horizontal boxes"):
        load(yolo_boxes())
