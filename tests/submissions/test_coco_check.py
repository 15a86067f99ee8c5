"""Claims about the check of COCO results."""

import json

import pytest

from mtp_hf.submissions.checking import check_submission
from tests.submissions.made_files import refused

RESULT = {"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}


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
    path = tmp_path / "a.json"
    path.write_text(json.dumps([RESULT, RESULT | change]))
    assert f"result 1: {message}" in refused(path, "coco", images)


@pytest.mark.parametrize(
    "change",
    [
        {"category_id": True},
        {"image_id": True},
        {"image_id": None},
        {"bbox": ["1", "2", "3", "4"]},
        {"bbox": [1, 2, 3, 10**400]},
        {"score": float("nan")},
    ],
)
def test_values_of_another_kind_are_named(tmp_path, change):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([RESULT | change]))
    (key,) = change
    assert f"result 0: {key} " in refused(path, "coco")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1}'])
def test_what_is_no_list_of_results_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert "a.json" in refused(path, "coco")


@pytest.fixture
def annotations(tmp_path):
    """A file whose numbers do not count from 0."""
    path = tmp_path / "annotations.json"
    images = [{"id": 7, "file_name": "test/00012.jpg", "height": 10, "width": 12}]
    content = {"images": images, "categories": [{"id": 3, "name": "ship"}], "annotations": []}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 12}, "image 12 is not among the 1 images of"),
        ({"category_id": 0}, "category_id 0; expected one of 3"),
        ({"bbox": [90, 2, 3, 4]}, "lies far from the image of 12 x 10 pixels"),
    ],
)
def test_results_are_compared_with_an_annotation_file(tmp_path, annotations, change, message):
    path = tmp_path / "a.json"
    right = RESULT | {"image_id": 7, "category_id": 3}
    path.write_text(json.dumps([right]))
    assert "1 objects" in check_submission(path, "coco", annotations=annotations)
    path.write_text(json.dumps([right | change]))
    with pytest.raises(ValueError, match=message):
        check_submission(path, "coco", annotations=annotations)
