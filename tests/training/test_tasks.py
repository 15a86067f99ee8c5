"""Claims about the table of tasks."""

import dataclasses

import pytest

from mtp_hf.metrics.finetuning import HEADLINES
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import TASKS, evaluation_arguments, find_task, make_transforms
from tests.training.tiny_finetune import TASK_VALUES, write_recipe


@pytest.fixture
def recipe_of(tmp_path):
    def recipe_of(task, *overrides):
        path = write_recipe(tmp_path / "recipe.yaml", task)
        return load_recipe(str(path), overrides=overrides)

    return recipe_of


def test_every_task_has_metrics_and_a_tiny_run():
    assert set(TASKS) == set(HEADLINES) == set(TASK_VALUES)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("augment", [True, False])
def test_transforms_take_the_size_and_the_arguments_of_the_recipe(recipe_of, task, augment):
    names = [
        type(step).__name__
        for step in make_transforms(recipe_of(task), augment=augment).transforms[:-1]
    ]
    assert augment == any("Random" in name for name in names)


def test_arguments_reach_the_transforms(recipe_of):
    recipe = recipe_of("scene_classification", "augment.num_operations=0")
    names = [type(step).__name__ for step in make_transforms(recipe, augment=True).transforms[:-1]]
    assert "RandAugment" not in names


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=scenes"], "task=scenes"),
        (["model.architecture=retinanet"], "does not do task=scene_classification; .*linear"),
        (["augment.flips=0"], r"augment\.flips"),
        (["evaluation.transforms.size=3"], r"evaluation\.transforms\.size"),
        (["augment.flip_probability=abc"], r"augment\.flip_probability: expected float, got 'abc'"),
        (["augment.area_range=3"], r"augment\.area_range: expected a list, got 3"),
        (["evaluation.transforms.image_size=[3,3]"], r"image_size: expected int, got \[3, 3\]"),
        (["evaluation.window=64", "evaluation.stride=32"], "is measured on whole images"),
    ],
)
def test_what_does_not_belong_to_the_task_is_named(recipe_of, overrides, message):
    with pytest.raises(ValueError, match=message):
        find_task(recipe_of("scene_classification", *overrides))


def test_a_value_that_the_transforms_refuse_is_named_with_its_section(recipe_of):
    recipe = recipe_of("scene_classification", "augment.flip_probability=2")
    with pytest.raises(ValueError, match="augment: .*probability"):
        make_transforms(recipe, augment=True)


def test_label_maps_are_read_by_windows(recipe_of):
    for task in ("semantic_segmentation", "change_detection"):
        windows = ["evaluation.window=64", "evaluation.stride=32"]
        assert find_task(recipe_of(task, *windows)).has_windows


def test_lists_and_number_words_of_a_recipe_arrive_as_the_transforms_expect_them(recipe_of):
    given = ["augment.quarter_turn_labels=[1, 2]", "augment.max_angle_deg=9e1"]
    assert make_transforms(recipe_of("rotated_detection", *given), augment=True)


def test_rows_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASKS["scene_classification"].min_side = 3


def test_arguments_of_evaluation_come_from_recipe_data_and_defaults_in_this_order(recipe_of):
    recipe = recipe_of("scene_classification")
    recipe.evaluation.transforms.clear()
    assert evaluation_arguments(recipe) == {"image_size": 112, "resize_size": 256}
    recipe = recipe_of("scene_classification", "evaluation.transforms.image_size=96")
    assert evaluation_arguments(recipe) == {"image_size": 96, "resize_size": 128}
    recipe = recipe_of("semantic_segmentation", "evaluation.transforms.image_size=null")
    assert evaluation_arguments(recipe) == {"image_size": None}
