"""Claims about what is written of predictions."""

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.training.prediction_records import (
    RESULTS_FILE,
    append_record,
    check_settings,
    make_record,
    read_records,
)

NAMES = ["ship", "harbour"]


def test_a_rotated_box_has_its_corners_beside_it(tmp_path):
    found = {
        "rotated_boxes": torch.tensor([[10.0, 20.0, 8.0, 4.0, 0.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
    }
    (record,) = make_record("rotated_detection", found, NAMES, tmp_path, "a")["objects"]
    assert (record["label"], record["name"], record["score"]) == (1, "harbour", 0.5)
    corners = np.reshape(record["polygon"], (4, 2))
    assert sorted(corners.tolist()) == [[6, 18], [6, 22], [14, 18], [14, 22]]


def test_an_upright_box_has_corner_and_sides(tmp_path):
    found = {
        "boxes": torch.tensor([[1.0, 2.0, 5.0, 9.0]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([0]),
    }
    (record,) = make_record("horizontal_detection", found, NAMES, tmp_path, "a")["objects"]
    assert record["bbox"] == [1, 2, 4, 7]


def test_an_image_without_objects_has_an_empty_list(tmp_path):
    found = {
        "rotated_boxes": torch.zeros(0, 5),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
    }
    assert make_record("rotated_detection", found, NAMES, tmp_path, "a") == {"objects": []}


def test_a_map_is_a_picture_of_class_numbers(tmp_path):
    found = {"semantic_map": torch.tensor([[0, 1], [1, 1]])}
    record = make_record("semantic_segmentation", found, NAMES, tmp_path, "a")
    assert record == {"map": "maps/a.png", "pixels": {"ship": 1, "harbour": 3}}
    assert np.asarray(Image.open(tmp_path / "maps/a.png")).tolist() == [[0, 1], [1, 1]]


def test_a_scene_has_its_best_class_and_all_scores(tmp_path):
    found = {"scores": torch.tensor([0.25, 0.75])}
    record = make_record("scene_classification", found, NAMES, tmp_path, "a")
    assert record == {"label": 1, "name": "harbour", "scores": {"ship": 0.25, "harbour": 0.75}}


def test_a_line_cut_short_is_taken_away_and_the_next_one_is_whole(tmp_path):
    append_record(tmp_path, {"image_id": "a"})
    with (tmp_path / RESULTS_FILE).open("a") as file:
        file.write('{"image_id": "b", "obj')
    assert read_records(tmp_path) == [{"image_id": "a"}]
    append_record(tmp_path, {"image_id": "b"})
    assert [each["image_id"] for each in read_records(tmp_path)] == ["a", "b"]


def test_a_damaged_line_in_between_is_named(tmp_path):
    (tmp_path / RESULTS_FILE).write_text('{"image_id": "a"}\nbroken\n')
    with pytest.raises(ValueError, match="results.jsonl, line 2: no JSON"):
        read_records(tmp_path)


def test_nothing_written_is_no_record(tmp_path):
    assert read_records(tmp_path) == []


def test_results_of_other_settings_are_refused_by_name(tmp_path):
    check_settings(tmp_path, {"model": "a", "windows": None})
    append_record(tmp_path, {"image_id": "a"})
    check_settings(tmp_path, {"model": "a", "windows": None})
    with pytest.raises(ValueError, match="holds results of another model"):
        check_settings(tmp_path, {"model": "b", "windows": None})


def test_results_without_settings_are_refused(tmp_path):
    append_record(tmp_path, {"image_id": "a"})
    with pytest.raises(ValueError, match="holds results but no settings.json"):
        check_settings(tmp_path, {"model": "a"})


def test_settings_without_results_bind_nobody(tmp_path):
    check_settings(tmp_path, {"model": "a"})
    check_settings(tmp_path, {"model": "b"})
    append_record(tmp_path, {"image_id": "a"})
    with pytest.raises(ValueError, match="holds results of another model"):
        check_settings(tmp_path, {"model": "a"})
