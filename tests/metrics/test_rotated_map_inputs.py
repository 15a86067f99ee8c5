"""Claims about what the mean average precision of rotated boxes takes and refuses."""

import numpy as np
import pytest
import torch

from mtp_hf.metrics.rotated_map import RotatedMapAccumulator

NOTHING = {"scores": [], "labels": [], "rotated_boxes": np.zeros((0, 5))}
TWO = {
    "image_id": "P7",
    "rotated_boxes": np.array([[10.0, 10, 8, 4, 0.1], [30.0, 30, 8, 4, 0.1]]),
    "rotated_class_labels": [0, 0],
}


def test_boxes_cut_by_a_tile_are_not_difficult():
    accumulator = RotatedMapAccumulator(1)
    accumulator.update([NOTHING], [{**TWO, "rotated_difficult": torch.tensor([1, 2])}])
    assert accumulator.compute()["per_class"]["num_gts"].tolist() == [1]


def test_difficult_boxes_count_where_they_are_not_to_be_ignored():
    accumulator = RotatedMapAccumulator(1, ignore_difficult=False)
    accumulator.update([NOTHING], [{**TWO, "rotated_difficult": [True, True]}])
    assert accumulator.compute()["per_class"]["num_gts"].tolist() == [2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scores", [np.nan], "scores: 1 of 1 numbers are nan"),
        ("rotated_boxes", np.full((1, 5), np.inf), "rotated_boxes: 5 of 5 numbers are inf"),
    ],
)
def test_detections_that_are_not_finite_name_the_image(key, value, message):
    found = {"scores": [0.5], "labels": [0], "rotated_boxes": TWO["rotated_boxes"][:1]}
    with pytest.raises(ValueError, match=f"image 'P7': {message}"):
        RotatedMapAccumulator(1).update([{**found, key: value}], [TWO])


def test_a_reference_without_boxes_names_the_image():
    with pytest.raises(ValueError, match="image 'P7': the reference has no rotated_boxes"):
        RotatedMapAccumulator(1).update([NOTHING], [{"image_id": "P7"}])
