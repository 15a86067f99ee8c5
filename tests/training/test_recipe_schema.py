"""Claims about the checks of a recipe and about sharing a step among processes."""

import dataclasses

import pytest

from mtp_hf.training.recipe_schema import (
    Data,
    Recipe,
    Schedule,
    Source,
    check_recipe,
    micro_batch_sizes,
)


def _recipe(*, batch_size=4, accumulation=1, **source):
    sources = {"a": Source(**{"config": "sior", "batch_size": batch_size, **source})}
    return Recipe(data=Data(sources=sources), schedule=Schedule(gradient_accumulation=accumulation))


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


@pytest.mark.parametrize(
    ("batch_size", "processes", "accumulation", "expected"),
    [(4, 1, 1, 4), (4, 2, 1, 2), (32, 32, 1, 1), (32, 1, 8, 4), (32, 4, 8, 1)],
)
def test_images_of_a_step_are_shared_equally(batch_size, processes, accumulation, expected):
    recipe = _recipe(batch_size=batch_size, accumulation=accumulation)
    assert micro_batch_sizes(recipe, processes) == {"a": expected}


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [
        (4, r"batch_size=4: 4 / 3 = 1.333; fits: 3 or 6"),
        (1, r"batch_size=1: 1 / 3 = 0.3333; fits: 3\n"),
        (5, r"batch_size=5: 5 / 3 = 1.667; fits: 3 or 6"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused_with_those_that_can(batch_size, message):
    with pytest.raises(ValueError, match=rf"  data\.sources\.a\.{message}"):
        micro_batch_sizes(_recipe(batch_size=batch_size), 3)


def test_all_sets_that_cannot_be_shared_are_listed_with_all_numbers():
    sizes = {"a": 32, "b": 8, "c": 20}
    sources = {name: Source(config="sior", batch_size=size) for name, size in sizes.items()}
    recipe = Recipe(data=Data(sources=sources), schedule=Schedule(gradient_accumulation=2))
    with pytest.raises(ValueError) as caught:
        micro_batch_sizes(recipe, 8)
    assert str(caught.value).splitlines() == [
        "8 processes x 2 accumulated batches = 16 cannot share equally the images that one"
        " optimizer step takes of a set:",
        "  data.sources.b.batch_size=8: 8 / 16 = 0.5; fits: 16",
        "  data.sources.c.batch_size=20: 20 / 16 = 1.25; fits: 16 or 32",
        "or leave the batch sizes, which belong to the result, and let processes x"
        " schedule.gradient_accumulation be one of: 1, 2, 4",
    ]


@pytest.mark.parametrize("name", ["train", "keys", "pooled"])
def test_a_source_name_that_the_code_uses_is_refused(name):
    data = Data(sources={name: Source(config="sior", batch_size=1)})
    with pytest.raises(ValueError, match=rf"data\.sources\.{name}: this name is taken"):
        check_recipe(Recipe(data=data))


def test_counts_that_may_be_null_start_at_one():
    recipe = _recipe()
    evaluation = dataclasses.replace(recipe.evaluation, max_samples=0)
    with pytest.raises(ValueError, match=r"evaluation\.max_samples: expected at least 1, got 0"):
        check_recipe(dataclasses.replace(recipe, evaluation=evaluation))
    with pytest.raises(ValueError, match="seed: expected at least 0"):
        check_recipe(dataclasses.replace(recipe, seed=-1))
