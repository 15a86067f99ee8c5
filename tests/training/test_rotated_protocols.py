"""Claims that recipes of rotated detection measure by the protocol of their data set."""

import pytest

from mtp_hf.training.finetuning_run import FinetuningRun
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import evaluation_arguments

# Recipe -> whether difficult objects are ignored, and whether degenerate ones are dropped.
PROTOCOLS = {
    "dota_v1": (True, False),
    "dota_v2": (True, False),
    "dior_r": (False, True),
    "fair1m_v2": (False, True),
}


def _recipe(name):
    return load_recipe(f"rotated_detection/{name}", result="vit_b_rvsa_mtp")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_difficult_and_degenerate_objects_count_as_the_loader_of_the_set_has_them(name):
    recipe = _recipe(name)
    drop = evaluation_arguments(recipe)["drop_degenerate"]
    assert (recipe.evaluation.ignore_difficult, drop) == PROTOCOLS[name]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_not_trained_on_is_not_measured(name):
    recipe = _recipe(name)
    assert recipe.augment["drop_degenerate"] == evaluation_arguments(recipe)["drop_degenerate"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_evaluator_of_a_run_ignores_what_its_recipe_says(name, monkeypatch):
    monkeypatch.setattr(FinetuningRun, "class_names", ["ship"])
    run = object.__new__(FinetuningRun)
    run.recipe = _recipe(name)
    assert run.make_evaluator().accumulator.ignore_difficult == PROTOCOLS[name][0]
