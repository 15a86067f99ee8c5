"""Claims about the schema of finetuning: epochs in steps, and what is refused."""

import dataclasses

import pytest

from mtp_hf.training.finetune_schema import (
    FinetuneData,
    FinetuneModel,
    FinetuneRecipe,
    FinetuneSchedule,
    check_finetune_recipe,
)
from mtp_hf.training.optim import learning_rate_factor
from mtp_hf.training.recipe_sections import micro_batch_sizes


def _recipe(**schedule):
    return FinetuneRecipe(
        task="scene_classification",
        data=FinetuneData(builder="eurosat"),
        model=FinetuneModel(architecture="linear"),
        schedule=FinetuneSchedule(**({"epochs": 10, "batch_size": 64} | schedule)),
    )


def test_the_published_steps_of_an_epoch_come_out():
    recipe = _recipe(epochs=100, warmup_epochs=5).in_steps({"eurosat": 16_200})
    assert recipe.schedule.steps == 100 * 254  # logs: 254 an epoch
    assert recipe.schedule.warmup_steps == 5 * 254
    assert recipe.schedule.update_every == 254
    assert recipe.evaluation.every == recipe.saving.checkpoint_every == 254


def test_milestones_are_at_the_beginning_of_their_epochs():
    recipe = _recipe(
        epochs=12, batch_size=4, kind="multistep", milestones=(8, 11), warmup_steps=500
    ).in_steps({"eurosat": 11_725})
    assert recipe.schedule.milestones == (8 * 2_932, 11 * 2_932)
    factors = [learning_rate_factor(step, recipe.schedule) for step in (8 * 2_932 - 1, 8 * 2_932)]
    assert factors == pytest.approx([1.0, 0.1])


def test_a_recipe_in_steps_stays_as_it_is():
    recipe = _recipe(epochs=None, steps=80_000, warmup_steps=1_500)
    assert recipe.in_steps({"eurosat": 7}) is recipe


def test_the_batch_size_is_shared_under_its_own_key():
    assert micro_batch_sizes(_recipe(), 8) == {"eurosat": 8}
    with pytest.raises(ValueError, match=r"schedule\.batch_size=64: 64 / 3"):
        micro_batch_sizes(_recipe(), 3)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"steps": 10}, "epochs or steps, one of the two"),
        ({"epochs": None}, "epochs or steps, one of the two"),
        ({"warmup_epochs": 2, "warmup_steps": 3}, "instead of warmup_steps"),
        ({"epochs": None, "steps": 9, "warmup_epochs": 2}, "goes with schedule.epochs"),
        ({"epochs": None, "steps": 9, "warmup_steps": 9}, "warm-up of 9 steps must be shorter"),
        ({"batch_size": 0}, r"schedule\.batch_size: expected at least 1"),
        ({"epochs": 0}, r"schedule\.epochs: expected at least 1"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        check_finetune_recipe(_recipe(**schedule))


def test_a_warmup_longer_than_the_epochs_is_refused_when_their_length_is_known():
    recipe = _recipe(epochs=2, warmup_steps=500)
    check_finetune_recipe(recipe)
    with pytest.raises(ValueError, match="warm-up of 500 steps must be shorter than .* 4 steps"):
        recipe.in_steps({"eurosat": 128})


@pytest.mark.parametrize(
    ("section", "fields", "message"),
    [
        ("data", {"builder": "eurosta"}, r"data\.builder=eurosta.*eurosat"),
        ("data", {"image_size": 0}, r"data\.image_size: expected at least 1"),
        ("model", {"freeze_backbone": True, "lora_rank": 4}, "exclude each other"),
        ("optimizer", {"ema_decay": 1.0}, "ema_decay: expected 0 < x < 1"),
        ("evaluation", {"window": 5}, "window and evaluation.stride go together"),
        ("evaluation", {"flips": ("up",)}, "'up' is no direction"),
        ("evaluation", {"scales": ()}, "expected factors > 0"),
    ],
)
def test_a_value_out_of_range_is_named(section, fields, message):
    recipe = _recipe()
    part = dataclasses.replace(getattr(recipe, section), **fields)
    with pytest.raises(ValueError, match=message):
        check_finetune_recipe(dataclasses.replace(recipe, **{section: part}))
