"""Claims about predictions drawn on their image."""

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.visualize.predictions import LONG_SIDE_PX, draw_prediction

NAMES = ["background", "ship"]


def difference(drawn, picture):
    """Pixels of the drawing, without captions and legend, that differ from the picture."""
    top = drawn.height - picture.height
    cut = np.asarray(drawn)[top:, : picture.width].astype(int)
    return np.abs(cut - np.asarray(picture).astype(int)).sum(axis=2) > 0


@pytest.fixture
def picture():
    return Image.new("RGB", (200, 160), (90, 90, 90))


def boxes(score):
    return {
        "rotated_boxes": torch.tensor([[100.0, 80.0, 60.0, 40.0, 0.0]]),
        "scores": torch.tensor([score]),
        "labels": torch.tensor([1]),
    }


def test_boxes_are_drawn_where_they_are(picture):
    changed = difference(draw_prediction("rotated_detection", picture, boxes(0.9), NAMES), picture)
    assert changed[98:103, 75:125].any()
    assert changed[:100, 127:133].any()
    assert not changed[110:, :].any()


def test_uncertain_boxes_are_left_out(picture):
    drawn = draw_prediction("rotated_detection", picture, boxes(0.2), NAMES)
    assert not difference(drawn, picture).any()


def test_background_of_a_map_stays_clear_and_the_rest_is_tinted(picture):
    values = torch.zeros(160, 200, dtype=torch.int64)
    values[40:60, 50:90] = 1
    drawn = draw_prediction("semantic_segmentation", picture, {"semantic_map": values}, NAMES)
    changed = difference(drawn, picture)
    assert changed[40:60, 50:90].all()
    assert changed.sum() == 20 * 40


def test_a_scene_has_its_class_above_it(picture):
    scores = {"scores": torch.tensor([0.1, 0.9])}
    one = draw_prediction("scene_classification", picture, scores, NAMES)
    other = draw_prediction("scene_classification", picture, scores, ["background", "car"])
    assert np.asarray(one).tolist() != np.asarray(other).tolist()


def test_large_pictures_are_shrunk():
    picture = Image.new("RGB", (LONG_SIDE_PX * 2, 100))
    scores = {"scores": torch.tensor([0.1, 0.9])}
    drawn = draw_prediction("scene_classification", picture, scores, NAMES)
    assert drawn.width < LONG_SIDE_PX + 100
