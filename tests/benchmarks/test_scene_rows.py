"""Rows with many objects made of four scenes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.scene_rows import make_rows
from mtp_hf.data.samples import samrs_row_to_sample
from mtp_hf.data.transforms import pretraining_eval_transforms
from mtp_hf.dataset_scripts.class_names import SIOR_CLASSES


@pytest.fixture(scope="module")
def made():
    return make_rows("sior", "JPEG", 192, 2)


def test_rows_hold_four_scenes_of_at_least_three_objects(made):
    rows, means = made
    counts = [len(row["objects"]["category"]) for row in rows]
    assert len(rows) == 2 and min(counts) >= 12
    assert means["objects"] == sum(counts) / 2
    assert 1 < means["kB"] < 100


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_pictures_are_stored_in_the_format_asked_for(image_format):
    rows, _ = make_rows("sota_rbb", image_format, 128, 1)
    data = rows.with_format("arrow")[0]["image"][0]["bytes"].as_py()
    assert Image.open(io.BytesIO(data)).format == image_format


def test_rows_become_samples_that_keep_the_contract(made):
    rows, _ = made
    sample = samrs_row_to_sample(rows[0], "sior", num_classes=len(SIOR_CLASSES))
    sample = pretraining_eval_transforms(192)(sample, np.random.default_rng(0))
    assert sample["image"].shape == (3, 192, 192)
    count = len(sample["boxes"])
    assert count == len(sample["rotated_boxes"]) == len(sample["instance_masks"])


def test_objects_lie_in_all_four_quarters_and_where_their_masks_are(made):
    sample = samrs_row_to_sample(made[0][0], "sior")
    centers = sample["polygons"].unflatten(1, (4, 2)).mean(1)
    quarters = {(x > 96, y > 96) for x, y in centers.tolist()}
    assert len(quarters) == 4
    masks = sample["instance_masks"].decode()[0]
    for mask, center in zip(masks, centers, strict=True):
        middle = mask.nonzero().flip(1).float().mean(0)
        assert (middle - center).abs().max() < 6
    assert torch.equal(sample["semantic_labels"] > 0, masks.any(0))
