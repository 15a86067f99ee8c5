"""RoI pooling against the recorded results of the original.

Recorded input gradients belong to a random output gradient that was not recorded, so only where
they are zero can be compared; that ours is the transposed operator is tested beside the source.
"""

import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.ops_roi_align import (
    multilevel_roi_align,
    multilevel_rotated_roi_align,
    roi_levels,
    rotated_roi_align,
)

# Values up to 4; the original's own float32 sums differ by as much between machines.
TOLERANCE = {"rtol": 0, "atol": 3e-5}
STRIDES = [4, 8, 16, 32]


@pytest.fixture(scope="module", params=["committed", "full"])
def recorded(request, fixtures_dir):
    if request.param == "committed":
        return load_file(fixtures_dir / "ops_roi_align.safetensors")
    return load_file(
        request.getfixturevalue("shared_dir") / "fixtures" / "ops_roi_align.safetensors"
    )


@pytest.fixture(scope="module")
def pyramid(recorded):
    return [recorded[f"levels/feat/{level}"] for level in range(4)]


@pytest.mark.parametrize("samples", [2, 0])
def test_clockwise_pooling_is_as_recorded(recorded, samples):
    pooled = rotated_roi_align(recorded["input"], recorded["rotated/rois"], 7, 0.25, samples)
    torch.testing.assert_close(pooled, recorded[f"rotated/sample{samples}_cw/output"], **TOLERANCE)


def test_pooling_with_mirrored_angles_is_the_recorded_counter_clockwise_one(recorded):
    rois = recorded["rotated/rois"] * torch.tensor([1, 1, 1, 1, 1, -1])
    pooled = rotated_roi_align(recorded["input"], rois, 7, 0.25)
    torch.testing.assert_close(pooled, recorded["rotated/sample2_ccw/output"], **TOLERANCE)


@pytest.mark.parametrize("samples", [2, 0])
def test_gradient_reaches_exactly_the_recorded_pixels(recorded, samples):
    features = recorded["input"].clone().requires_grad_()
    pooled = rotated_roi_align(features, recorded["rotated/rois"], 7, 0.25, samples)
    pooled.backward(torch.rand_like(pooled) + 0.5)
    touched = recorded[f"rotated/sample{samples}_cw/grad_input"].abs() > 1e-6
    assert torch.equal(features.grad > 1e-6, touched)


def test_rotated_boxes_take_the_recorded_levels(recorded):
    levels = roi_levels(recorded["levels/rotated_rois"][:, 3:5].prod(1), 4)
    assert levels.tolist() == recorded["levels/rotated_level"].tolist()


def test_horizontal_boxes_take_the_recorded_levels(recorded):
    rois = recorded["levels/rois"]
    levels = roi_levels((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2]), 4)
    assert levels.tolist() == recorded["levels/level"].tolist()


def test_rotated_pooling_from_a_pyramid_is_as_recorded(recorded, pyramid):
    pooled = multilevel_rotated_roi_align(pyramid, recorded["levels/rotated_rois"], 7, STRIDES)
    torch.testing.assert_close(pooled, recorded["levels/rotated_output"], **TOLERANCE)


def test_horizontal_pooling_from_a_pyramid_is_as_recorded(recorded, pyramid):
    pooled = multilevel_roi_align(pyramid, recorded["levels/rois"], 7, STRIDES)
    torch.testing.assert_close(pooled, recorded["levels/output"], **TOLERANCE)
