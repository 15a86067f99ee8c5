"""The benchmark of finetuning steps: real steps of every task, and parts that add up."""

import pytest
import torch

from benchmarks import finetune_step
from benchmarks.finetune_step import (
    RECIPES,
    make_samples,
    prepare_network,
    quick_or_published,
    run,
    step_in_parts,
)
from benchmarks.step_split import Split
from mtp_hf.data.collate import Collate
from mtp_hf.training.loop import train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import TASKS

PARTS = {
    "data",
    "backbone, forward",
    "backbone, backward",
    "heads, forward",
    "heads and losses, backward",
    "losses",
    "clipping and optimizer",
}
PER_DEVICE = {  # comments of the recipes
    "scene_classification": 8,
    "horizontal_detection": 1,
    "rotated_detection": 1,
    "semantic_segmentation": 1,
    "change_detection": 4,
}


@pytest.fixture(scope="module")
def rows():
    return run(quick=True)


def test_every_task_has_its_images_a_second(rows):
    speeds = {row.case.split(",")[0]: row for row in rows if row.unit.endswith("/s")}
    assert set(speeds) == set(TASKS) == {name.split("/")[0] for name in RECIPES}
    assert all(row.value > 0 for row in speeds.values())
    assert speeds["change_detection"].unit == "pairs/s"


def test_the_parts_of_every_task_add_up_to_the_whole(rows):
    for task in TASKS:
        parts = {
            row.case.removeprefix(f"{task}: "): row.value
            for row in rows
            if row.case.startswith(f"{task}: ")
        }
        assert set(parts) >= PARTS
        assert all(share >= 0 for share in parts.values()), task
        assert sum(parts.values()) == pytest.approx(100)
        assert ("assignment" in parts) == (task in ("horizontal_detection", "rotated_detection"))


def test_the_batch_is_that_of_one_device_as_published(rows):
    cases = [row for row in rows if row.unit.endswith("/s")]
    found = {row.case.split(",")[0]: int(row.case.split(", ")[2].split()[0]) for row in cases}
    assert found == PER_DEVICE
    assert "one of 8 devices that share the published batch of 64" in cases[0].note


@pytest.mark.parametrize("name", RECIPES)
def test_rates_and_clipping_are_those_of_the_recipe(name):
    recipe = quick_or_published(name, True)
    prepared = prepare_network(recipe, 3)
    published = load_recipe(name, result=finetune_step.RESULT)
    assert recipe.optimizer == published.optimizer
    scales = {group["lr_scale"] for group in prepared.optimizer.param_groups}
    assert min(scales) < 0.9 < max(scales) == 1.0


def _weights_after(make, recipe):
    """Weights after a step from the same start with the same random numbers."""
    torch.manual_seed(0)
    prepared = prepare_network(recipe, 3)
    torch.manual_seed(1)
    make(prepared, make_samples(recipe.task, 128, 2, 3))
    return prepared.model.state_dict()


@pytest.mark.parametrize("name", RECIPES)
def test_the_step_in_parts_is_the_one_of_the_training_loop(name):
    recipe = quick_or_published(name, True)

    def whole(prepared, samples):
        window = LossWindow(prepared.accelerator)
        train_step(prepared, iter([Collate()(samples)]), recipe, window, 1)

    expected = _weights_after(whole, recipe)
    found = _weights_after(lambda *given: step_in_parts(*given, recipe, Split()), recipe)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("task", TASKS)
def test_samples_are_collated_like_those_of_training(task):
    batch = Collate()(make_samples(task, 64, 2, 3))
    assert batch["pixel_values"].shape == (2, 3, 64, 64)
    assert ("pixel_values_post" in batch) == (task == "change_detection")
    for label in batch["labels"]:
        for name in ("boxes", "rotated_boxes"):
            if name in label:
                assert len(label[name]) == finetune_step.NUM_OBJECTS
    if task == "semantic_segmentation":
        assert int(torch.stack([x["semantic_labels"] for x in batch["labels"]]).max()) <= 2
