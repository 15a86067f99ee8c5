"""The card: what the Hub reads from it, and what people do."""

import datasets
import pytest
from huggingface_hub import DatasetCard

from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.dataset_scripts.loading import open_builder
from mtp_hf.datasets_command.conversion import Plan, SplitPlan
from mtp_hf.datasets_command.dataset_card import render_card
from mtp_hf.datasets_command.families import family_of
from tests.fakes import write_samrs_by_hand
from tests.hub.loopback_routes import front_matter_errors


@pytest.fixture
def render(made_builder, tmp_path):
    """Render the card of a made set; facts of another name can be borrowed."""

    def run(family, name="made", options=None):
        builder = open_builder("made", family, data_dir=tmp_path)
        splits = {
            "train": SplitPlan(1234, 500, 100, 1230, 5_000_000, ["a", "b", "c", "d"]),
            "test": SplitPlan(10, 10, 100, 10, 50_000),
        }
        plan = Plan(name, family, options or {}, "0", splits)
        return render_card(plan, family_of(builder), builder.info.features, "lab/made")

    return run


@pytest.mark.parametrize("name", FACTS)
def test_the_hub_takes_the_front_matter_of_every_set(render, name):
    assert front_matter_errors(render("change", name)) == []


def test_front_matter_says_licence_task_size_splits_and_columns(render):
    data = DatasetCard(render("oriented", "dota")).data
    assert (data.license, data.license_name) == ("other", "dota-terms")
    assert data.license_link == "https://captain-whu.github.io/DOTA"
    assert data.task_categories == ["object-detection"]
    assert data.size_categories == "1K<n<10K"
    assert data.pretty_name == "DOTA (oriented)"
    assert data.configs == [
        {
            "config_name": "oriented",
            "data_files": [
                {"split": "train", "path": "data/train-*"},
                {"split": "test", "path": "data/test-*"},
            ],
        }
    ]
    info = data.dataset_info
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [
        ("train", 1230),
        ("test", 10),
    ]
    names = datasets.DatasetInfo._from_yaml_dict(info).features["objects"]["category"].feature.names
    assert names == ["plane", "ship", "harbor"]


def test_the_body_says_terms_counts_classes_and_how_to_load(render):
    text = render("segmentation", "loveda", {"split_seed": 3}).split("---\n", 2)[2]
    assert "**Terms:** CC BY-NC-SA 4.0, academic use only" in text
    assert "| train | 1,230 | 4        |" in text
    assert "0 plane, 1 ship, 2 harbor" in text
    assert 'load_dataset("lab/made", split="train")' in text
    assert "`mtp-hf data convert loveda/segmentation DIR OUT --option split_seed=3`" in text
    assert "@misc{wang2021loveda," in text
    assert "| `mask`" in text and "`objects`" not in text


def test_a_set_of_one_s_own_claims_no_licence_and_cites_nobody(render):
    card = render("classification")
    assert "license" not in card
    assert "Citation" not in card
    assert DatasetCard(card).data.task_categories == ["image-classification"]


def test_code_of_the_card_is_about_a_split_that_exists(tmp_path):
    write_samrs_by_hand(tmp_path, "sior")
    builder = open_builder("samrs", "sior", data_dir=tmp_path)
    plan = Plan("samrs", "sior", {}, "0", {"validation": SplitPlan(1, 1, 1, 1, 1)})
    card = render_card(plan, family_of(builder), builder.info.features, "x")
    assert 'split="validation"' in card
    assert "n<1K" in card


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("all", "from the files as published; no annotation was clipped or changed."),
        ("all_tiles", "from the files as published; pictures and annotations were cut into tiles,"),
    ],
)
def test_the_card_says_what_was_done_to_the_annotations(tmp_path, config, text):
    builder = open_builder("xview", config, data_dir=tmp_path)
    plan = Plan("xview", config, {}, "0", {"train": SplitPlan(1, 1, 1, 1, 1)})
    assert text in render_card(plan, family_of(builder), builder.info.features, "lab/made")
