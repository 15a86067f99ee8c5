"""Claims about the cards of finetuned networks, whose examples run with and without the package."""

import dataclasses
import json
import re

import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard

from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.hub.card import with_examples_of
from mtp_hf.hub.finetuned_card import TASKS_ON_HUB, render_finetuned_card
from mtp_hf.hub.push import push_run
from mtp_hf.metrics.finetuning import HEADLINES
from tests.hub.loopback_client import client_of
from tests.hub.loopback_hub import LoopbackHub
from tests.training.finetuned_folders import CLASS_NAMES, make_finetuned
from tests.without_package import run_without_package

KEYS = {
    "scene_classification": "scores",
    "horizontal_detection": "boxes",
    "rotated_detection": "rotated_boxes",
    "semantic_segmentation": "semantic_map",
    "change_detection": "change_map",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Task -> folder of the run and the facts of its card."""
    found = {}
    for task in CLASS_NAMES:
        folder = tmp_path_factory.mktemp(task)
        found[task] = folder, make_finetuned(folder, task)[2]
    return found


def _front_matter(card):
    return yaml.safe_load(card.split("---")[1])


def _examples(card):
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


@pytest.mark.parametrize("task", CLASS_NAMES)
def test_the_hub_finds_nothing_wrong_with_the_front_matter(client, hub, made, task):
    card = ModelCard.load(made[task][0] / "model" / "README.md")
    card.validate()
    assert json.loads(hub.calls("validate-yaml")[-1].body)["content"] == str(card)
    assert card.data.library_name == "transformers"
    assert task.replace("_", "-") in card.data.tags


@pytest.mark.parametrize("task", CLASS_NAMES)
def test_every_task_has_a_tag_and_a_widget_with_a_picture(made, task):
    folder, facts = made[task]
    data = _front_matter(render_finetuned_card(facts, "model"))
    assert data["pipeline_tag"] == TASKS_ON_HUB[task].measured_as
    assert data["widget"] == [{"src": "example.png", "example_title": "A generated scene"}]
    assert (folder / "model" / "example.png").is_file()


@pytest.mark.parametrize("pipeline_task", ["rotated_detection", "change_detection"])
def test_tasks_without_a_pipeline_are_shown_without_one(made, pipeline_task):
    card = render_finetuned_card(made[pipeline_task][1], "model")
    assert "pipeline(" not in card


def test_an_encoder_of_the_hub_is_named_as_the_base_model(made):
    facts = dataclasses.replace(made["horizontal_detection"][1], init="mtp/vit-b-rvsa")
    assert _front_matter(render_finetuned_card(facts, "x"))["base_model"] == "mtp/vit-b-rvsa"
    facts = dataclasses.replace(facts, init="encoder")  # a folder
    assert "base_model" not in _front_matter(render_finetuned_card(facts, "x"))


def test_metrics_are_in_the_model_index_without_undefined_ones(made):
    _, facts = made["horizontal_detection"]
    (index,) = _front_matter(render_finetuned_card(facts, "x"))["model-index"]
    (result,) = index["results"]
    assert result["dataset"] == {
        "name": "DIOR and DIOR-R",
        "type": "dior",
        "config": "hbb",
        "split": "test",
    }
    assert [(each["name"], each["value"]) for each in result["metrics"]] == [
        ("AP50", 0.6123),
        ("AP", 0.4),
    ]


@pytest.mark.parametrize("task", HEADLINES)
def test_the_table_has_every_metric_beside_what_was_published(made, task):
    _, facts = made[task]
    name, heading = next(iter(HEADLINES[task].items()))
    card = render_finetuned_card(dataclasses.replace(facts, published={name: 81.5}), "x")
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {heading} ")]
    assert line.split("|")[3].strip() == "81.5"
    assert "class  score\nall    50.00" in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert len([row for row in rows if row.split("|")[1].strip() in HEADLINES[task].values()]) == (
        len(HEADLINES[task])
    )


@pytest.mark.parametrize("dataset", FACTS)
def test_the_terms_of_every_data_set_are_told(made, dataset):
    _, facts = made["change_detection"]
    card = render_finetuned_card(dataclasses.replace(facts, dataset=dataset), "x")
    data = _front_matter(card)
    assert data["license"] == FACTS[dataset].license
    assert (data["license"] == "other") == ("license_name" in data)
    assert FACTS[dataset].terms in card
    assert FACTS[dataset].homepage in card
    assert data["datasets"] == [dataset]


def test_a_data_set_of_ones_own_has_unknown_terms(made):
    _, facts = made["change_detection"]
    card = render_finetuned_card(dataclasses.replace(facts, dataset="pair_folder"), "x")
    data = _front_matter(card)
    assert data["license"] == "unknown"
    assert "datasets" not in data
    assert "a data set of one's own (pair_folder)" in card


def test_the_start_the_classes_and_an_unfinished_run_are_told(made):
    _, facts = made["rotated_detection"]
    facts = dataclasses.replace(facts, steps=1, init="mtp/vit-l-rvsa", metrics={})
    card = render_finetuned_card(facts, "x")
    assert "**unfinished: 1 of 4 optimizer steps**" in card
    assert "Started from `mtp/vit-l-rvsa`, whose terms hold as well." in card
    assert "3: ship, harbor, vehicle." in card
    assert "## Metrics\n\nNot measured.\n" in card
    assert "model-index" not in _front_matter(card)
    assert f"```yaml\n{facts.recipe_yaml.rstrip()}\n```" in card


def test_windows_of_the_recipe_are_told(made):
    _, facts = made["semantic_segmentation"]
    card = render_finetuned_card(dataclasses.replace(facts, window=(512, 384)), "x")
    assert "It is made by windows of 512 pixels every 384." in card
    assert "on whole images instead of windows" in card


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    """All networks on the Hub, whose client this process is; the value is the environment."""
    home = tmp_path_factory.mktemp("hf_home")
    with LoopbackHub().running() as hub, client_of(hub, home) as environment:
        for task, (folder, _) in made.items():
            names = {"model": f"mtp/{task.replace('_', '-')}"}
            push_run(HfApi(), folder, names, private=False, message="a push")
        yield hub, environment


def _cards(published):
    return {task: ModelCard.load(f"mtp/{task.replace('_', '-')}").content for task in CLASS_NAMES}


def test_the_examples_run_from_the_hub(published):
    for task, card in _cards(published).items():
        with_package, _ = _examples(card)
        names = {}
        exec(with_package, names)
        found = names["found"][KEYS[task]]
        assert isinstance(found, torch.Tensor)
        if KEYS[task].endswith("_map"):
            assert found.shape == (256, 256)


@pytest.mark.slow  # five processes that import everything
def test_the_examples_without_the_package_run_from_the_hub(published, tmp_path):
    _, environment = published
    script = ""
    for task, card in _cards(published).items():
        _, without = _examples(card)
        script += f"{without}print({task!r}, type(found).__name__, len(found))\n"
    printed = run_without_package(script, folder=tmp_path, environment=environment)
    lines = [line.split() for line in printed.splitlines() if line.split()[0] in CLASS_NAMES]
    kinds = {task: kind for task, kind, _ in lines}
    assert kinds == {
        task: "list" if TASKS_ON_HUB[task].pipeline else "dict" for task in CLASS_NAMES
    }
    assert {task: int(number) for task, _, number in lines}["semantic_segmentation"] > 0


def test_the_widget_on_the_hub_shows_a_picture_that_is_there(published):
    hub, _ = published
    (widget,) = ModelCard.load("mtp/scene-classification").data.to_dict()["widget"]
    assert widget["src"] == f"{hub.url}/mtp/scene-classification/resolve/main/example.png"
    files = hub.state.repositories["mtp/scene-classification"].commits[-1].files
    assert "example.png" in files


def test_only_the_examples_and_the_widget_change_with_the_name(made):
    _, facts = made["scene_classification"]
    card = render_finetuned_card(facts, "model")
    changed = with_examples_of(card, "mtp/x").splitlines()
    pairs = zip(card.splitlines(), changed, strict=True)
    different = [new for old, new in pairs if old != new]
    assert len(different) == 3  # widget, predict, pipeline
    assert all("mtp/x" in line for line in different)
