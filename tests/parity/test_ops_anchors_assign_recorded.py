"""Anchors and their matching to objects against the recorded results of the original."""

import pytest
import torch
from safetensors.torch import load_file
from torchvision.ops import box_iou

from mtp_hf.modeling.ops_anchors import AnchorGenerator
from mtp_hf.modeling.ops_matching import match_boxes
from mtp_hf.modeling.ops_rotated_boxes import rotated_box_iou, rotated_boxes_to_boxes

RPN = AnchorGenerator((4, 8, 16, 32, 64), (8,), (0.5, 1, 2))
RETINA = AnchorGenerator((8, 16, 32, 64, 128), (4, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)), (0.5, 1, 2))
FEATURE_SIZES = {
    "rpn": [(26, 32), (13, 16), (7, 8), (4, 4), (2, 2)],
    "retina": [(13, 16), (7, 8), (4, 4), (2, 2), (1, 1)],
}
RULES = {
    "rpn": (0.7, 0.3, 0.3, True),
    "rcnn_low": (0.5, 0.5, 0.5, True),
    "rcnn": (0.5, 0.5, 0.5, False),
    "retina": (0.5, 0.4, 0.0, True),
}


@pytest.fixture(scope="module", params=["committed", "full"])
def recorded(request, fixtures_dir):
    name = "ops_anchors_assign.safetensors"
    if request.param == "committed":
        return load_file(fixtures_dir / name)
    return load_file(request.getfixturevalue("shared_dir") / "fixtures" / name)


def as_matches(recorded_indices):
    """The recording counts objects from 1, with 0 for negative and -1 for ignored."""
    indices = recorded_indices.long()
    return torch.where(indices > 0, indices - 1, -1 + indices.clamp(max=0))


@pytest.mark.parametrize(("name", "generator"), [("rpn", RPN), ("retina", RETINA)])
def test_anchors_are_exactly_the_recorded_ones(recorded, name, generator):
    grid = generator.grid(FEATURE_SIZES[name])
    levels = [level for level in range(5) if f"{name}/priors/{level}" in recorded]
    assert len(levels) >= 4
    for level in levels:
        assert torch.equal(generator.base_anchors(level), recorded[f"{name}/base/{level}"])
        assert torch.equal(grid[level], recorded[f"{name}/priors/{level}"])


@pytest.mark.parametrize("name", RULES)
def test_horizontal_matches_are_exactly_the_recorded_ones(recorded, name):
    iou = box_iou(recorded["assign/gt_hboxes"], recorded["assign/priors"])
    expected = as_matches(recorded[f"assign/{name}/gt_inds"])
    assert torch.equal(match_boxes(iou, *RULES[name]), expected)


def test_matches_of_anchors_to_hulls_are_exactly_the_recorded_ones(recorded):
    hulls = rotated_boxes_to_boxes(recorded["assign/gt_rboxes"])
    matches = match_boxes(box_iou(hulls, recorded["assign/priors"]), 0.7, 0.3, 0.3, True)
    assert torch.equal(matches, as_matches(recorded["assign/oriented_rpn/gt_inds"]))


def test_rotated_overlaps_and_matches_are_the_recorded_ones(recorded):
    iou = rotated_box_iou(recorded["assign/gt_rboxes"], recorded["assign/oriented_rcnn/priors"])
    expected = recorded["assign/oriented_rcnn/max_overlaps"]
    torch.testing.assert_close(iou.amax(0), expected, rtol=0, atol=1e-5)
    matches = match_boxes(iou, 0.5, 0.5, 0.5, False)
    assert torch.equal(matches, as_matches(recorded["assign/oriented_rcnn/gt_inds"]))
