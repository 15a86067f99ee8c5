"""Claims about reading recipes: precedence, refusals, the round trip, and the recipes that ship."""

import dataclasses

import pytest
import yaml

from mtp_hf.training.recipe import (
    check_same_training,
    comparable_numbers,
    find_recipe,
    load_recipe,
    recipe_names,
    recipe_rows,
    recipe_to_yaml,
    without_paths,
)

EVERY_ROW = [(name, row) for name in recipe_names() for row in recipe_rows(name) or [None]]

SMALL = """
data:
  root: demo
  sources: {sior: {config: sior, batch_size: 2}}
optimizer: {lr: 1e-4}
results:
  first: {schedule: {steps: 10}, model: {backbone: tiny}}
  second: {schedule: {steps: 20}}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.parametrize(("name", "row"), EVERY_ROW)
def test_every_recipe_and_row_that_ships_loads(name, row):
    recipe = load_recipe(name, result=row)
    assert recipe.name == name
    assert recipe.result == row


@pytest.mark.parametrize(("name", "row"), EVERY_ROW)
def test_a_resolved_recipe_loads_again_to_an_equal_recipe(name, row, tmp_path):
    recipe = load_recipe(name, result=row, overrides=["optimizer.lr=3e-5", "seed=7"])
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_to_yaml(recipe))
    assert load_recipe(str(path)) == recipe


def test_the_published_recipe_has_the_published_values():
    recipe = load_recipe("pretrain/samrs", result="vit_l_rvsa")
    assert (recipe.schedule.steps, recipe.schedule.warmup_steps) == (80_000, 0)
    assert recipe.optimizer.lr == 6e-5
    assert recipe.optimizer.betas == (0.9, 0.999)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.max_grad_norm) == (0.05, 5.0)
    assert recipe.optimizer.layer_decay == 1.0
    assert sum(source.batch_size for source in recipe.data.sources.values()) == 96
    assert recipe.data.image_size == 448


def test_the_base_row_is_made_for_224_pixels():
    recipe = load_recipe("pretrain/samrs", result="vit_b_rvsa")
    assert (recipe.model.backbone, recipe.data.image_size) == ("base", 224)


def test_number_words_become_floats_only_in_float_fields(small):
    assert load_recipe(small, result="first").optimizer.lr == 1e-4
    with pytest.raises(TypeError, match="schedule.steps: expected int, got '1e2'"):
        load_recipe(small, result="first", overrides=["schedule.steps='1e2'"])


def test_row_overrides_body_and_command_line_overrides_row(small):
    assert load_recipe(small, result="second").schedule.steps == 20
    recipe = load_recipe(small, result="first", overrides=["schedule.steps=30", "optimizer.lr=2"])
    assert recipe.schedule.steps == 30
    assert recipe.optimizer.lr == 2.0
    assert recipe.model.backbone == "tiny"
    assert recipe.result == "first"


def test_a_recipe_with_rows_asks_for_one(small):
    with pytest.raises(ValueError, match="choose a row with --result: first, second"):
        load_recipe(small)


def test_an_unknown_row_is_named_with_a_suggestion(small):
    with pytest.raises(ValueError, match="unknown row 'frist'; did you mean 'first'"):
        load_recipe(small, result="frist")


def test_a_row_asked_of_a_recipe_without_rows_is_refused():
    with pytest.raises(ValueError, match="no row 'vit_b_rvsa'"):
        load_recipe("pretrain/demo", result="vit_b_rvsa")


def test_an_unknown_recipe_is_named_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown recipe 'pretrain/demmo'; did you mean 'pretrain/demo'"
    ):
        find_recipe("pretrain/demmo")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=1", r"unknown key 'optimizer\.learning_rate'.*known: lr, "),
        ("sheduel.steps=1", r"unknown key 'sheduel'; did you mean 'schedule'"),
        (
            "data.sources.sior.batchsize=1",
            r"'data\.sources\.sior\.batchsize'; did you mean 'batch_size'",
        ),
    ],
)
def test_a_misspelt_key_is_named(small, override, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(small, result="first", overrides=[override])


def test_errors_name_the_recipe():
    with pytest.raises(ValueError, match="recipe pretrain/demo: unknown key"):
        load_recipe("pretrain/demo", overrides=["x=1"])


def test_setting_a_source_to_null_takes_it_away():
    recipe = load_recipe("pretrain/demo", overrides=["data.sources.fast=null"])
    assert set(recipe.data.sources) == {"sior", "sota_rbb"}


def test_the_word_no_stays_a_word_on_the_command_line():
    recipe = load_recipe("pretrain/demo", overrides=["efficiency.mixed_precision=no"])
    assert recipe.efficiency.mixed_precision == "no"


def test_config_fields_of_a_head_can_be_overridden():
    recipe = load_recipe("pretrain/demo", overrides=["model.semantic.hidden_size=48"])
    assert recipe.model.semantic["hidden_size"] == 48


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="expected a mapping of recipe sections"):
        load_recipe(str(path))


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_recipe("pretrain/demo").seed = 1


def test_floats_are_written_so_that_yaml_reads_floats():
    text = recipe_to_yaml(load_recipe("pretrain/demo", overrides=["optimizer.lr=6e-5"]))
    assert yaml.safe_load(text)["optimizer"]["lr"] == 6e-5


@pytest.fixture
def saved(tmp_path):
    """A recipe and the file that a checkpoint has of it."""
    recipe = load_recipe("pretrain/demo")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_to_yaml(recipe))
    return recipe, path


def test_the_same_recipe_goes_on(saved):
    assert check_same_training(*saved) == []


def test_what_does_not_change_learning_may_change(saved):
    overrides = ["data.root=/moved", "saving.log_every=3", "evaluation.before=true"]
    changed = check_same_training(load_recipe("pretrain/demo", overrides=overrides), saved[1])
    assert changed == ["data.root: demo -> /moved", "saving.log_every: 10 -> 3"]


def test_every_change_that_alters_learning_is_listed(saved):
    overrides = ["seed=1", "data.sources.sior.batch_size=8", "model.semantic.dropout=0.5"]
    with pytest.raises(ValueError) as caught:
        check_same_training(load_recipe("pretrain/demo", overrides=overrides), saved[1])
    message = str(caught.value)
    assert "seed: 2023 -> 1" in message
    assert "data.sources.sior.batch_size: " in message
    assert "model.semantic.dropout: 0.0 -> 0.5" in message


def test_a_source_taken_away_is_a_change(saved):
    fewer = load_recipe("pretrain/demo", overrides=["data.sources.fast=null"])
    with pytest.raises(ValueError, match=r"data\.sources\.fast\.config: fast -> None"):
        check_same_training(fewer, saved[1])


def test_a_run_that_measured_nothing_may_be_watched_when_it_goes_on(tmp_path):
    given = {"result": "vit_b_rvsa_mtp"}
    recipe = load_recipe("semantic_segmentation/loveda", **given)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_to_yaml(recipe))
    watched = load_recipe(str(path), overrides=["data.evaluate=validation", "evaluation.every=40"])
    assert check_same_training(watched, path) == [
        "data.evaluate: None -> validation",
        "evaluation.every: 0 -> 40",
    ]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("horizontal_detection/dior", ["schedule.epochs=null", "schedule.steps=3000"]),
        ("semantic_segmentation/loveda", ["schedule.steps=null", "schedule.epochs=10"]),
    ],
)
def test_another_unit_of_the_length_alone_is_refused(name, overrides):
    with pytest.raises(ValueError, match=r"in place of .* saving\.checkpoint_every="):
        load_recipe(name, result="vit_b_rvsa_mtp", overrides=overrides)


def test_another_unit_is_taken_with_all_that_counts_in_it():
    counts = ["evaluation.every=500", "saving.checkpoint_every=500", "schedule.milestones=[2000]"]
    unit = ["schedule.epochs=null", "schedule.steps=3000"]
    name, row = "horizontal_detection/dior", "vit_b_rvsa_mtp"
    recipe = load_recipe(name, result=row, overrides=unit + counts)
    assert (recipe.schedule.steps, recipe.schedule.milestones) == (3000, (2000,))


def test_a_published_recipe_names_no_folder_of_the_machine():
    overrides = ["data.root=/home/me/samrs", "model.init=/home/me/mae_vit_b.pth"]
    recipe = without_paths(load_recipe("pretrain/demo", overrides=overrides))
    assert recipe.data.root is None
    assert recipe.model.init == "mae_vit_b.pth"
    assert without_paths(load_recipe("pretrain/demo")).data.root == "demo"


def test_a_published_recipe_keeps_the_hub_id_it_started_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["model.init=mtp/vit-b-rvsa"]
    assert without_paths(load_recipe("pretrain/demo", overrides=given)).model.init == given[0][11:]
    (tmp_path / "mtp" / "vit-b-rvsa").mkdir(parents=True)  # a folder of this name is meant
    assert without_paths(load_recipe("pretrain/demo", overrides=given)).model.init == "vit-b-rvsa"


def test_a_file_that_is_not_yaml_is_named(tmp_path):
    (tmp_path / "broken.yaml").write_text("data: {root: [")
    with pytest.raises(ValueError, match=r"broken\.yaml: not YAML"):
        load_recipe(str(tmp_path / "broken.yaml"))


def test_a_recipe_of_a_row_of_ones_own_keeps_its_numbers(tmp_path):
    recipe = load_recipe("rotated_detection/dior_r", result="vit_b_rvsa_mtp")
    own = dataclasses.replace(recipe, result="mine")
    assert comparable_numbers(own) == recipe.published
