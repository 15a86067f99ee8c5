"""Claims about `mtp_hf.predict`: the predictions of the evaluation, from a name or a network."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor

import mtp_hf
from mtp_hf.pipelines.prediction import load_network
from tests.conversion.tiny_originals import tiny_model
from tests.training.finetuned_folders import (
    CLASS_NAMES,
    INTERNIMAGE,
    evaluate_pictures,
    make_finetuned,
    picture,
)

# Resizing and normalisation are the same operations in another order: rounding only.
SCORES = {"rtol": 0.0, "atol": 1e-5}
PIXELS = {"rtol": 0.0, "atol": 1e-2}
MAPS = 0.999  # share of equal pixels: of equal logits either class may win
TOLERANCES = {"boxes": PIXELS, "rotated_boxes": PIXELS}


@pytest.fixture(scope="module", params=CLASS_NAMES)
def finetuned(request, tmp_path_factory):
    """Task, folder, recipe and network."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe, network, _ = make_finetuned(folder, request.param)
    return request.param, folder / "model", recipe, network


def _pictures(task, height=200, width=144):
    return [picture(height, width, seed) for seed in range(1 + (task == "change_detection"))]


def _assert_same(found, expected):
    for key, values in expected.items():
        assert found[key].shape == values.shape, key
        if key.endswith("_map"):
            assert (found[key] == values).float().mean() > MAPS, key
        else:
            torch.testing.assert_close(found[key], values, **TOLERANCES.get(key, SCORES))


@pytest.mark.parametrize("size", [(200, 144), (151, 213)])
def test_a_prediction_by_folder_is_that_of_the_evaluation(finetuned, size):
    task, folder, recipe, network = finetuned
    pictures = _pictures(task, *size)
    expected = evaluate_pictures(recipe, network, *pictures)
    found = mtp_hf.predict(str(folder), *pictures, threshold=0.0)
    _assert_same(found, expected)
    sides = {key: tuple(found[key].shape) for key in found if key.endswith("_map")}
    assert all(shape == size for shape in sides.values())
    if task.endswith("l_detection") or task == "rotated_detection":
        assert len(found["scores"]) > 0


def test_a_network_and_its_processor_find_the_same_as_the_folder(finetuned):
    task, folder, _, network = finetuned
    pictures = _pictures(task)
    processor = AutoImageProcessor.from_pretrained(folder)
    found = mtp_hf.predict(network, *pictures, processor=processor, threshold=0.0)
    _assert_same(found, mtp_hf.predict(folder, *pictures, threshold=0.0))


def test_a_loaded_network_brings_its_processor_and_stays_in_training(finetuned, tmp_path):
    task, folder, _, _ = finetuned
    network = load_network(folder).train()
    files = []
    for number, each in enumerate(_pictures(task)):
        files.append(str(tmp_path / f"{number}.png"))
        each.save(files[-1])
    _assert_same(mtp_hf.predict(network, *files), mtp_hf.predict(folder, *_pictures(task)))
    assert network.training


def test_the_wrong_number_of_images_is_refused(finetuned):
    task, folder, _, network = finetuned
    pictures = [picture(64, 64)] * (1 if task == "change_detection" else 2)
    expected = "takes two images" if task == "change_detection" else "takes one image"
    with pytest.raises(ValueError, match=expected):
        mtp_hf.predict(folder, *pictures)


@pytest.mark.parametrize("task", CLASS_NAMES)
def test_networks_around_internimage_predict_too(task, tmp_path):
    recipe, network, _ = make_finetuned(tmp_path, task, **INTERNIMAGE)
    pictures = _pictures(task)
    found = mtp_hf.predict(tmp_path / "model", *pictures, threshold=0.0)
    _assert_same(found, evaluate_pictures(recipe, network, *pictures))


def test_windows_are_those_of_the_evaluation(tmp_path):
    windows = {"window": 112, "stride": 80, "transforms": {"image_size": None}}
    recipe, network, _ = make_finetuned(tmp_path, "semantic_segmentation", evaluation=windows)
    image = picture(200, 144)
    found = mtp_hf.predict(tmp_path / "model", image)  # the config has them
    _assert_same(found, evaluate_pictures(recipe, network, image))
    whole = mtp_hf.predict(tmp_path / "model", image, window=200, stride=200)
    assert not torch.equal(whole["semantic_map"], found["semantic_map"])


def test_detections_below_the_threshold_are_left_out(tmp_path):
    make_finetuned(tmp_path, "horizontal_detection")
    image = picture(200, 144)
    found = mtp_hf.predict(tmp_path / "model", image, threshold=0.0)
    between = float(found["scores"].median())
    fewer = mtp_hf.predict(tmp_path / "model", image, threshold=between)
    assert 0 < len(fewer["scores"]) < len(found["scores"])
    assert fewer["scores"].min() >= between
    assert len(fewer["boxes"]) == len(fewer["labels"]) == len(fewer["scores"])


@pytest.mark.parametrize("task", ["semantic_segmentation", "change_detection"])
@pytest.mark.parametrize("windows", [{}, {"window": 112, "stride": 80}])
def test_images_smaller_than_the_backbone_takes_have_maps(tmp_path, task, windows):
    as_stored = {"transforms": {"image_size": None}}
    make_finetuned(tmp_path, task, evaluation=as_stored)
    found = mtp_hf.predict(tmp_path / "model", *_pictures(task, 60, 200), **windows)
    assert [tuple(each.shape) for each in found.values()] == [(60, 200)]


def test_long_thin_images_have_boxes(tmp_path):
    make_finetuned(tmp_path, "horizontal_detection")
    found = mtp_hf.predict(tmp_path / "model", picture(40, 400), threshold=0.0)
    assert len(found["boxes"]) > 0
    assert (found["boxes"] <= torch.tensor([400, 40, 400, 40])).all()


def test_paths_arrays_and_tensors_are_images_too(tmp_path):
    make_finetuned(tmp_path, "scene_classification")
    image = picture(200, 144)
    image.save(tmp_path / "a.png")
    expected = mtp_hf.predict(tmp_path / "model", image)
    pixels = np.asarray(image)
    for each in (tmp_path / "a.png", pixels, torch.tensor(pixels).permute(2, 0, 1)):
        _assert_same(mtp_hf.predict(tmp_path / "model", each), expected)


def test_what_cannot_be_predicted_is_refused(tmp_path):
    _, network, _ = make_finetuned(tmp_path, "horizontal_detection")
    image = picture(64, 64)
    with pytest.raises(ValueError, match="loaded from nowhere: give its processor"):
        mtp_hf.predict(network, image)
    with pytest.raises(ValueError, match="window 64 and stride None: give both or none"):
        mtp_hf.predict(tmp_path / "model", image, window=64)
    with pytest.raises(ValueError, match="FasterRCNNForObjectDetection reads no windows"):
        mtp_hf.predict(tmp_path / "model", image, window=64, stride=32)
    with pytest.raises(ValueError, match="ViTRVSABackbone is none of the networks that predict"):
        mtp_hf.predict(network.backbone, image)


def test_a_folder_that_lacks_a_weight_answers_nothing(tmp_path):
    tiny_model("upernet").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["decoder.fusion.conv.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing keys: decoder\.fusion\.conv\.weight"):
        load_network(tmp_path)
