"""Claims about the schema of finetuning: epochs in steps, and what is refused."""

import dataclasses

import pytest

from mtp_hf.training.finetune_schema import (
    FinetuneData,
    FinetuneModel,
    FinetuneRecipe,
    FinetuneSchedule,
    check_counts,
    check_finetune_recipe,
)
from mtp_hf.training.optim import learning_rate_factor
from mtp_hf.training.recipe_sections import micro_batch_sizes

STAIRS = {"kind": "multistep"}


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
        ({**STAIRS, "milestones": (0, 8)}, r"milestones=\[0, 8\]: expected 1 or more, after"),
        ({**STAIRS, "milestones": (2, 8), "warmup_epochs": 3}, "expected 3 or more, after"),
        (
            {**STAIRS, "epochs": None, "steps": 900, "warmup_steps": 500, "milestones": (8, 800)},
            r"milestones=\[8, 800\]: expected 500 or more, after the warm-up",
        ),
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


def test_a_milestone_within_the_warmup_is_refused_when_the_length_of_epochs_is_known():
    recipe = _recipe(**STAIRS, milestones=(2, 8), warmup_steps=500)
    check_finetune_recipe(recipe)
    with pytest.raises(ValueError, match=r"milestones=\[200, 800\]: expected 500 or more, after"):
        recipe.in_steps({"eurosat": 6400})


def test_counts_of_the_old_unit_are_listed_where_the_unit_is_overridden():
    recipe = _recipe(**STAIRS, epochs=None, steps=3_000, milestones=(8, 11))
    expected = (
        r"schedule\.steps in place of epochs: .* give it in steps, too: evaluation\.every=1,"
        r" saving\.checkpoint_every=1, schedule\.milestones=\[8, 11\]"
    )
    with pytest.raises(ValueError, match=expected):
        check_counts(recipe, "epochs", set())


def test_counts_that_are_overridden_with_the_unit_are_meant():
    recipe = _recipe(**STAIRS, epochs=None, steps=3_000, milestones=(2_000,))
    counts = {"evaluation.every", "saving.checkpoint_every", "schedule.milestones"}
    check_counts(recipe, "epochs", counts)
    with pytest.raises(ValueError, match=r"too: saving\.checkpoint_every=1$"):
        check_counts(recipe, "epochs", counts - {"saving.checkpoint_every"})


def test_a_second_unit_beside_the_first_is_no_change_of_unit():
    check_counts(_recipe(epochs=10, steps=20), "steps", set())
    check_counts(_recipe(epochs=None), "epochs", set())


def test_a_count_of_zero_is_never_in_any_unit():
    recipe = _recipe(epochs=None, steps=90, kind="constant")
    recipe = dataclasses.replace(
        recipe,
        evaluation=dataclasses.replace(recipe.evaluation, every=0),
        saving=dataclasses.replace(recipe.saving, checkpoint_every=0),
    )
    check_counts(recipe, "epochs", set())


def test_a_cosine_that_moves_by_epochs_is_not_taken_for_one_by_steps():
    recipe = _recipe(epochs=None, steps=90)
    with pytest.raises(ValueError, match=r"schedule\.update_every=1$"):
        check_counts(recipe, "epochs", {"evaluation.every", "saving.checkpoint_every"})


@pytest.mark.parametrize(
    ("section", "fields", "message"),
    [
        ("data", {"builder": "eurosta"}, r"data\.builder=eurosta.*eurosat"),
        ("data", {"image_size": 0}, r"data\.image_size: expected at least 1"),
        ("model", {"freeze_backbone": True, "lora_rank": 4}, "exclude each other"),
        ("model", {"head": {"num_labels": 3}}, r"model\.head\.num_labels: the classes are those"),
        ("model", {"backbone_overrides": {"id2label": {}}}, r"backbone_overrides\.id2label: the"),
        ("optimizer", {"betas": (0.9, 3.0)}, r"optimizer\.betas: expected 0 <= x < 1, both"),
        ("evaluation", {"window": 64, "stride": 0}, r"stride: expected 1 to the window of 64"),
        ("evaluation", {"window": 64, "stride": 65}, r"expected 1 to the window of 64, got 65"),
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
