"""Claims about the sections that all recipes share, and about sharing a step among processes."""

import dataclasses

import pytest

from mtp_hf.training.pretrain_schema import Data, Recipe, Source, check_recipe
from mtp_hf.training.recipe_sections import Schedule, check_sections, micro_batch_sizes


def _recipe(*, batch_size=4, accumulation=1):
    sources = {"a": Source(config="sior", batch_size=batch_size)}
    return Recipe(data=Data(sources=sources), schedule=Schedule(gradient_accumulation=accumulation))


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


def test_counts_that_may_be_null_start_at_one():
    recipe = _recipe()
    evaluation = dataclasses.replace(recipe.evaluation, max_samples=0)
    with pytest.raises(ValueError, match=r"evaluation\.max_samples: expected at least 1, got 0"):
        check_recipe(dataclasses.replace(recipe, evaluation=evaluation))
    with pytest.raises(ValueError, match="seed: expected at least 0"):
        check_recipe(dataclasses.replace(recipe, seed=-1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "multistep"}, "multistep has some"),
        ({"milestones": (3,)}, r"milestones=\[3\] does not go with schedule\.kind=cosine"),
        ({"kind": "multistep", "milestones": (4, 3)}, r"expected rising numbers, got \[4, 3\]"),
        ({"warmup_start": 1.5}, "warmup_start: expected 0 to 1"),
        ({"update_every": 0}, "update_every: expected at least 1"),
        ({"power": -1.0}, "power: expected at least 0"),
    ],
)
def test_a_schedule_that_does_not_fit_together_is_refused(fields, message):
    recipe = dataclasses.replace(_recipe(), schedule=Schedule(**fields))
    with pytest.raises(ValueError, match=message):
        check_sections(recipe)
