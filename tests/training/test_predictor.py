"""Claims about a network that predicts images of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

import mtp_hf
from mtp_hf.training.prediction_sources import Source, WindowRule
from mtp_hf.training.predictor import Predictor, keep_visible
from tests.training.finetuned_folders import CLASS_NAMES, make_finetuned, picture

AS_STORED = {"transforms": {"image_size": None}}


def predictor(folder, task, rule=None, **sections):
    recipe, _, _ = make_finetuned(folder, task, **sections)
    return Predictor(recipe, folder / "model", CLASS_NAMES[task], rule)


def source(folder, height, width):
    path = folder / "a.png"
    picture(height, width).save(path)
    return Source("a", {"image": str(path)})


@pytest.mark.parametrize("windows", [{}, {"window": 112, "stride": 80}])
def test_a_small_image_has_the_map_of_mtp_hf_predict(tmp_path, windows):
    one = predictor(tmp_path, "semantic_segmentation", evaluation={**AS_STORED, **windows})
    size, found = one.predict(source(tmp_path, 60, 200))
    expected = mtp_hf.predict(tmp_path / "model", tmp_path / "a.png")
    assert size == found["semantic_map"].shape == (60, 200)
    assert (found["semantic_map"] == expected["semantic_map"]).float().mean() > 0.999


def test_what_is_found_on_padding_alone_is_left_out(tmp_path):
    one = predictor(tmp_path, "rotated_detection", WindowRule(512, 100))
    size, found = one.predict(source(tmp_path, 60, 80))
    assert size == (60, 80)
    assert len(keep_visible(found, size)["scores"]) == len(found["scores"])


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("boxes", [[0, 0, 9, 9], [70, 50, 99, 99], [81, 0, 99, 9], [0, 60, 9, 70]]),
        (
            "rotated_boxes",
            [[5, 5, 9, 4, 1], [85, 55, 30, 4, 0], [99, 5, 9, 4, 0], [5, 70, 9, 4, 0]],
        ),
    ],
)
def test_boxes_that_reach_into_the_image_are_kept(name, boxes):
    found = {name: torch.tensor(boxes).float(), "scores": torch.arange(4)}
    assert keep_visible(found, (60, 80))["scores"].tolist() == [0, 1]


@pytest.mark.parametrize(("name", "width"), [("boxes", 4), ("rotated_boxes", 5)])
def test_nothing_found_stays_nothing(name, width):
    found = {name: torch.zeros(0, width), "scores": torch.zeros(0)}
    assert keep_visible(found, (60, 80))[name].shape == (0, width)


def test_a_picture_of_what_was_found_has_the_size_of_the_image(tmp_path):
    one = predictor(tmp_path, "semantic_segmentation", evaluation=AS_STORED)
    image = source(tmp_path, 120, 130)
    drawn = one.draw(image, one.predict(image)[1])
    assert isinstance(drawn, Image.Image)
    assert np.asarray(drawn).shape[1] >= 130
