"""Claims about what command lines on finished models share."""

import argparse

import pytest

from mtp_hf.training.agreement import OtherProcessError
from mtp_hf.training.inference_command import add_model_arguments, read_recipe, user_errors
from tests.training.tiny_finetune import write_recipe


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_model_arguments(parser)
    return parser.parse_intermixed_args(["--model", "model", *map(str, arguments)])


def test_split_and_overrides_are_laid_over_the_recipe(tmp_path):
    path = write_recipe(tmp_path / "a.yaml", "scene_classification")
    recipe = read_recipe(parse("--recipe", path, "--split", "test", "seed=7"), tmp_path / "model")
    assert (recipe.data.evaluate, recipe.seed) == ("test", 7)


def test_the_recipe_of_the_run_is_taken_unless_one_is_named(tmp_path):
    write_recipe(tmp_path / "recipe.yaml", "scene_classification")
    (tmp_path / "model").mkdir()
    assert read_recipe(parse(), tmp_path / "model").task == "scene_classification"
    other = write_recipe(tmp_path / "b.yaml", "change_detection")
    assert read_recipe(parse("--recipe", other), tmp_path / "model").task == "change_detection"


def test_without_a_recipe_one_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="name its recipe with --recipe"):
        read_recipe(parse(), tmp_path)


def test_a_recipe_of_pretraining_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is one of pretraining"):
        read_recipe(parse("--recipe", "pretrain/demo"), tmp_path)


def test_a_value_of_the_wrong_type_is_a_mistake_of_the_user(tmp_path):
    path = write_recipe(tmp_path / "a.yaml", "scene_classification")
    with pytest.raises(ValueError, match="seed"):
        read_recipe(parse("--recipe", path, "seed=many"), tmp_path)


def test_errors_end_with_a_message_and_others_silently():
    with pytest.raises(SystemExit, match="error: wrong"), user_errors(False):
        raise ValueError("wrong")
    with pytest.raises(SystemExit) as stopped, user_errors(False):
        raise OtherProcessError("elsewhere")
    assert stopped.value.code == 1


def test_with_traceback_errors_stay_as_they_are():
    with pytest.raises(ValueError, match="wrong"), user_errors(True):
        raise ValueError("wrong")
