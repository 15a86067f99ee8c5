"""Claims about the checks of a recipe of pretraining."""

import dataclasses

import pytest

from mtp_hf.training.pretrain_schema import (
    Data,
    Recipe,
    Source,
    check_recipe,
)
from mtp_hf.training.recipe_sections import Schedule


def _recipe(**source):
    sources = {"a": Source(**{"config": "sior", "batch_size": 4, **source})}
    return Recipe(data=Data(sources=sources))


def test_defaults_of_the_schema_pass_its_checks():
    check_recipe(_recipe())


def test_rotated_boxes_asked_of_a_set_without_them_are_refused_naming_both():
    message = (
        r"data\.sources\.a\.tasks asks for 'rd', but samrs/sota has no such annotation .*ss, is"
    )
    with pytest.raises(ValueError, match=message):
        check_recipe(_recipe(config="sota"))


def test_a_set_without_rotated_boxes_serves_the_other_tasks():
    check_recipe(_recipe(config="sota", tasks=("ss", "is")))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"config": "siro"}, r"data\.sources\.a\.config=siro.*did you mean 'sior'"),
        ({"tasks": ("ss", "sg")}, r"unknown task 'data\.sources\.a\.tasks=sg'"),
        ({"tasks": ()}, "expected some of"),
        ({"tasks": ("ss", "ss")}, "each once"),
        ({"batch_size": 0}, r"data\.sources\.a\.batch_size: expected at least 1, got 0"),
    ],
)
def test_a_bad_source_is_named(source, message):
    with pytest.raises(ValueError, match=message):
        check_recipe(_recipe(**source))


def test_a_run_without_data_is_refused():
    with pytest.raises(ValueError, match="at least one data set"):
        check_recipe(Recipe(data=Data(sources={})))


def test_a_source_name_that_would_break_loss_names_is_refused():
    data = Data(sources={"a/b": Source(config="sior", batch_size=1)})
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        check_recipe(Recipe(data=data))


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("schedule", "steps", 0, r"schedule\.steps: expected at least 1, got 0"),
        ("schedule", "warmup_steps", 80_000, "must be less than"),
        ("optimizer", "betas", (1.0, 0.9), r"optimizer\.betas: expected 0 <= x < 1, both"),
        ("optimizer", "lr", -1.0, r"optimizer\.lr: expected at least 0"),
        ("optimizer", "lr", float("nan"), r"optimizer\.lr: expected at least 0"),
        ("optimizer", "layer_decay", 0.0, "0 < x <= 1"),
        ("augment", "flip_probability", 1.5, "expected 0 to 1"),
        ("augment", "scale_range", (2.0, 1.0), "low <= high"),
        ("model", "backbone", "huge", r"model\.backbone=huge.*tiny, base, large"),
        ("data", "image_size", 0, r"data\.image_size: expected at least 1"),
    ],
)
def test_a_value_out_of_range_is_named(section, field, value, message):
    recipe = _recipe()
    part = dataclasses.replace(getattr(recipe, section), **{field: value})
    with pytest.raises(ValueError, match=message):
        check_recipe(dataclasses.replace(recipe, **{section: part}))


def test_a_milestone_within_the_warmup_is_refused():
    schedule = Schedule(steps=100, warmup_steps=20, kind="multistep", milestones=(10, 50))
    with pytest.raises(ValueError, match=r"milestones=\[10, 50\]: expected 20 or more"):
        check_recipe(dataclasses.replace(_recipe(), schedule=schedule))


@pytest.mark.parametrize("name", ["train", "keys", "pooled"])
def test_a_source_name_that_the_code_uses_is_refused(name):
    data = Data(sources={name: Source(config="sior", batch_size=1)})
    with pytest.raises(ValueError, match=rf"data\.sources\.{name}: this name is taken"):
        check_recipe(Recipe(data=data))
