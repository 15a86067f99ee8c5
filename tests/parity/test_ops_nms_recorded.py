"""Rotated suppression against the recorded keep lists of the original."""

import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.ops_rotated_boxes import batched_rotated_nms, rotated_nms


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return load_file(fixtures_dir / "ops_nms.safetensors")


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8])
def test_keep_lists_are_exactly_the_recorded_ones(recorded, threshold):
    keep = rotated_nms(recorded["rotated/boxes"], recorded["rotated/scores"], threshold)
    assert keep.tolist() == recorded[f"rotated/keep@{threshold}"].tolist()


def test_keep_list_per_class_is_exactly_the_recorded_one(recorded):
    keep = batched_rotated_nms(
        recorded["rotated/boxes"], recorded["rotated/scores"], recorded["rotated/labels"], 0.1
    )
    assert keep.tolist() == recorded["rotated/batched_keep@0.1"].tolist()


def test_of_exact_duplicates_the_first_stays_where_the_original_keeps_either(recorded):
    """The recording saw 20 boxes twice; its sort is not stable, so ours agrees modulo 20."""
    boxes, scores = recorded["rotated/boxes"][:20], recorded["rotated/scores"][:20]
    keep = rotated_nms(boxes.repeat(2, 1), scores.repeat(2), 0.5)
    assert keep.tolist() == (recorded["rotated/ties_keep@0.5"] % 20).tolist()


def test_selection_over_all_classes_gives_the_recorded_detections(recorded):
    scores = recorded["multiclass/scores"][:, :-1]  # the last one is the background
    box_index, labels = (scores > 0.05).nonzero().unbind(1)
    boxes, scores = recorded["rotated/boxes"][box_index], scores[box_index, labels]
    keep = batched_rotated_nms(boxes, scores, labels, 0.1)[:100]
    torch.testing.assert_close(boxes[keep], recorded["multiclass/rotated/dets"][:, :5])
    torch.testing.assert_close(scores[keep], recorded["multiclass/rotated/dets"][:, 5])
    assert labels[keep].tolist() == recorded["multiclass/rotated/labels"].tolist()
