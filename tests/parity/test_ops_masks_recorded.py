"""Mask targets and pasted masks against the recorded results of the original."""

import pytest
from safetensors.torch import load_file

from mtp_hf.modeling.ops_masks import mask_targets, paste_masks

ALLOWED_PIXELS = 1e-3  # Share of pixels on the threshold that may fall to the other side.


@pytest.fixture(scope="module", params=["committed", "full"])
def recorded(request, fixtures_dir):
    if request.param == "committed":
        return load_file(fixtures_dir / "ops_masks.safetensors")
    folder = request.getfixturevalue("shared_dir") / "fixtures"
    return load_file(folder / "ops_anchors_assign.safetensors")


def test_mask_targets_are_the_recorded_ones(recorded):
    targets = mask_targets(
        recorded["mask_target/masks"].bool(),
        recorded["mask_target/boxes"],
        recorded["mask_target/index"].long(),
    )
    assert (targets != recorded["mask_target/targets"]).float().mean() <= ALLOWED_PIXELS


def test_pasted_masks_are_the_recorded_ones(recorded):
    pasted = paste_masks(recorded["paste/masks"][:, 0], recorded["paste/boxes"], (96, 128))
    expected = recorded["paste/probabilities"] >= 0.5
    assert (pasted != expected).float().mean() <= ALLOWED_PIXELS
