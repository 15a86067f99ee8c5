"""Claims about the processor that a finetuned network carries, and the facts of its card."""

import numpy as np
import pytest
import torch
from transformers import pipeline

import mtp_hf  # noqa: F401  (registers the models)
from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor
from mtp_hf.modeling.image_processing_segmentation import SegmentationImageProcessor
from mtp_hf.training.finetuning_card import evaluation_processor, gather_facts
from mtp_hf.training.recipe import load_recipe
from tests.training.finetuned_folders import (
    CLASS_NAMES,
    INTERNIMAGE,
    evaluate_pictures,
    make_finetuned,
    picture,
)
from tests.training.tiny_finetune import write_recipe

BACKBONES = {"vit": {}, "internimage": INTERNIMAGE}
# Evaluation pads label maps' images to multiples of 32, which the pipeline cannot undo.
SIZES = {"semantic_segmentation": {"evaluation": {"transforms": {"image_size": [128, 160]}}}}


def _recipe(tmp_path, task, **sections):
    return load_recipe(str(write_recipe(tmp_path / "recipe.yaml", task, **sections)))


@pytest.fixture(scope="module", params=BACKBONES)
def make(request, tmp_path_factory):
    """Write the folder of a task around a backbone."""

    def write(task):
        folder = tmp_path_factory.mktemp(task)
        recipe, network, _ = make_finetuned(
            folder, task, **BACKBONES[request.param], **SIZES.get(task, {})
        )
        return str(folder / "model"), recipe, network

    return write


@pytest.fixture
def _no_questions(monkeypatch):
    """A pipeline that asks whether it may run code fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the pipeline asked: {args}")

    monkeypatch.setattr("builtins.input", refuse)
    monkeypatch.setattr("transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE", 0)


def test_the_pipeline_of_scenes_runs_by_folder_as_the_evaluation_does(make, _no_questions):
    folder, recipe, network = make("scene_classification")
    image = picture(200, 144)
    found = pipeline("image-classification", folder)(image, top_k=6)
    scores = evaluate_pictures(recipe, network, image)["scores"]
    assert {each["label"] for each in found} == set(CLASS_NAMES["scene_classification"])
    for each in found:
        wanted = scores[CLASS_NAMES["scene_classification"].index(each["label"])]
        assert each["score"] == pytest.approx(float(wanted), abs=1e-5)


def test_the_pipeline_of_objects_runs_by_folder_as_the_evaluation_does(make, _no_questions):
    folder, recipe, network = make("horizontal_detection")
    image = picture(200, 144)
    found = pipeline("object-detection", folder)(image, threshold=0.0)
    expected = evaluate_pictures(recipe, network, image)
    assert len(found) == len(expected["scores"]) > 0
    for each, score, label, box in zip(
        found, expected["scores"], expected["labels"], expected["boxes"], strict=True
    ):
        assert each["score"] == pytest.approx(float(score), abs=1e-5)
        assert each["label"] == CLASS_NAMES["horizontal_detection"][int(label)]
        # The pipeline cuts coordinates to whole pixels.
        corners = torch.tensor(list(each["box"].values()))
        torch.testing.assert_close(corners.float(), box, rtol=0.0, atol=1.01)


def test_the_pipeline_of_maps_runs_by_folder_as_the_evaluation_does(make, _no_questions):
    folder, recipe, network = make("semantic_segmentation")
    image = picture(203, 150)  # no multiples of 32
    found = pipeline("image-segmentation", folder)(image)
    semantic_map = evaluate_pictures(recipe, network, image)["semantic_map"]
    names = CLASS_NAMES["semantic_segmentation"]
    assert {each["label"] for each in found} == {names[int(x)] for x in semantic_map.unique()}
    for each in found:
        mask = torch.from_numpy(np.array(each["mask"])) > 0
        assert torch.equal(mask, semantic_map == names.index(each["label"])), each["label"]


def test_a_recipe_that_resizes_scenes_gives_a_processor_that_does(tmp_path):
    recipe = _recipe(tmp_path, "scene_classification")
    processor = evaluation_processor(recipe)
    assert type(processor) is ClassificationImageProcessor
    assert processor.size.shortest_edge == 128
    assert (processor.crop_size.height, processor.crop_size.width) == (112, 112)


def test_the_published_size_is_what_a_recipe_leaves_to_the_transforms(tmp_path):
    sections = {"data": {"image_size": 224}}
    recipe = _recipe(tmp_path, "scene_classification", **sections)
    recipe.evaluation.transforms.clear()
    assert evaluation_processor(recipe).size.shortest_edge == 256


def test_maps_that_are_made_at_the_size_as_stored_have_a_processor_that_resizes_nothing(tmp_path):
    native = {"transforms": {"image_size": None}}
    recipe = _recipe(tmp_path, "semantic_segmentation", evaluation=native)
    processor = evaluation_processor(recipe)
    assert type(processor) is SegmentationImageProcessor
    assert processor.do_resize is False
    inputs = processor(picture(200, 144), return_tensors="pt")
    assert inputs["sizes"].tolist() == [[200, 144]]


def test_sizes_of_a_recipe_that_are_no_square_are_kept(tmp_path):
    oblong = {"transforms": {"image_size": [96, 128]}}
    recipe = _recipe(tmp_path, "semantic_segmentation", evaluation=oblong)
    processor = evaluation_processor(recipe)
    assert (processor.size.height, processor.size.width) == (96, 128)


def test_the_facts_hold_no_path_of_a_machine(tmp_path):
    encoder = tmp_path / "somewhere" / "encoder"
    encoder.mkdir(parents=True)
    sections = {"data": {"root": str(tmp_path)}, "model": {"init": str(encoder)}}
    recipe = _recipe(tmp_path, "rotated_detection", **sections)
    facts = gather_facts(recipe, ["ship"], num_images=(5, 2), steps=1, planned_steps=4, metrics={})
    assert facts.init == "encoder"
    assert str(tmp_path) not in facts.recipe_yaml
    assert (facts.num_train, facts.num_evaluated) == (5, 2)
    assert facts.network == "oriented_rcnn on vit_t_rvsa, 192 px"
    assert facts.window is None
    assert set(facts.versions) >= {"mtp-hf", "torch", "transformers"}


def test_the_multi_task_model_is_what_a_run_from_its_decoder_started_from(tmp_path):
    sections = {"model": {"init_decoder": "mtp/vit-b-rvsa-pretraining"}}
    recipe = _recipe(tmp_path, "rotated_detection", **sections)
    facts = gather_facts(recipe, ["ship"], num_images=(5, 2), steps=1, planned_steps=4, metrics={})
    assert facts.init == "mtp/vit-b-rvsa-pretraining"


def _published(*overrides):
    recipe = load_recipe(
        "scene_classification/eurosat", result="vit_b_rvsa_mtp", overrides=overrides
    )
    facts = gather_facts(recipe, ["a"], num_images=(5, 2), steps=1, planned_steps=4, metrics={})
    return facts.published


@pytest.mark.parametrize(
    "override",
    [
        "model.backbone=vit_t_rvsa",
        "schedule.epochs=2",
        "data.limit_samples=28",
        "data.evaluate=test",
        "augment.magnitude=1",
        "evaluation.max_samples=9",
    ],
)
def test_a_changed_experiment_is_not_compared_with_the_published_one(override):
    assert _published(override) == {}


def test_another_machine_start_or_moment_of_measuring_leaves_the_published_numbers():
    harmless = ["data.root=/data", "model.init=encoder", "seed=1", "efficiency.num_workers=1"]
    assert _published(*harmless, "evaluation.every=5") == {"accuracy": 98.76}


def test_a_recipe_of_ones_own_is_compared_with_what_it_names(tmp_path):
    recipe = _recipe(tmp_path, "scene_classification", published={"accuracy": 90.0})
    facts = gather_facts(recipe, ["a"], num_images=(5, 2), steps=1, planned_steps=4, metrics={})
    assert facts.published == {"accuracy": 90.0}
