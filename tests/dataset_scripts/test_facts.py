"""The table of facts: complete for every builder, and of a form that cards and lists can use."""

from pathlib import Path

import pytest

from mtp_hf.dataset_scripts import BUILDERS, get_builder
from mtp_hf.dataset_scripts.facts import FACTS, Paper

# Folders of users: no page, no paper.
OWN = {name for name in BUILDERS if name.endswith("_folder")}
# Identifiers of the Hub that are used here.
HUB_LICENSES = {"mit", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", "other"}


def test_every_published_set_has_facts():
    assert set(BUILDERS) - OWN <= set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_whole(name):
    facts = FACTS[name]
    assert facts.homepage.startswith(("https://", "http://")) and not facts.homepage.endswith("/")
    assert facts.license in HUB_LICENSES
    assert facts.title and facts.terms and facts.task_categories
    assert "\n" not in facts.terms


@pytest.mark.parametrize("name", sorted(set(BUILDERS) & set(FACTS)))
def test_counts_are_of_configs_that_exist(name):
    configs = set(get_builder(name).builder_configs)
    assert set(FACTS[name].counts) <= configs


@pytest.mark.parametrize("name", FACTS)
def test_counts_are_of_known_splits(name):
    for counts in FACTS[name].counts.values():
        assert set(counts) <= {"train", "validation", "test", "test_challenge"}
        assert all(count > 0 for count in counts.values())


def test_counts_that_the_published_runs_show():
    assert sum(FACTS["dior"].counts["obb"].values()) == 23463
    assert sum(FACTS["eurosat"].counts["rgb"].values()) == 27000
    assert sum(FACTS["resisc45"].counts["split_20_80"].values()) == 45 * 700
    assert sum(FACTS["whu_cd"].counts["split_7_1_2"].values()) == 127 * 60
    assert sum(FACTS["whu_cd"].counts["split_8_1_1"].values()) == 127 * 60
    whole, tiles = (FACTS["levir_cd"].counts[config] for config in ("all", "all_tiles"))
    assert {split: 16 * count for split, count in whole.items()} == tiles


def test_a_paper_becomes_a_bibliography_entry():
    paper = Paper("key2020", "One, A. and Two, B.", "A Title", "A Venue", 2020)
    assert paper.bibtex() == (
        "@misc{key2020,\n  author = {One, A. and Two, B.},\n  title = {A Title},\n"
        "  howpublished = {A Venue},\n  year = {2020}\n}"
    )


def test_keys_of_papers_are_unique():
    keys = [paper.key for facts in FACTS.values() for paper in facts.papers]
    assert len(keys) == len(set(keys))


def test_a_set_of_two_papers_cites_both():
    assert FACTS["dota"].citation.count("@misc") == 2


README = (Path(__file__).parents[2] / "dataset_scripts" / "README.md").read_text(encoding="utf-8")


def readme_rows() -> dict[str, str]:
    """Builder -> its rows of the table of sets."""
    table = README.split("## The sets")[1].split("\n\n")[1].splitlines()[2:]
    rows: dict[str, str] = {}
    name = ""
    for line in table:
        name = line.split("|")[1].strip().strip("`") or name
        rows[name] = rows.get(name, "") + line
    return rows


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - OWN))
def test_the_readme_names_every_config_and_page(name):
    row = readme_rows()[name]
    assert FACTS[name].homepage in row
    for config in get_builder(name).builder_configs:
        assert f"`{config}`" in row
    for counts in FACTS[name].counts.values():
        for count in counts.values():
            assert f"{count:,}" in row


@pytest.mark.parametrize("name", sorted(OWN))
def test_the_readme_names_the_folders_of_one_s_own(name):
    assert f"`{name}`" in README.split("## Folders of your own")[1]


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - OWN))
def test_the_info_of_every_builder_tells_the_facts(name, tmp_path):
    for config in get_builder(name).builder_configs:
        info = get_builder(name)(config_name=config, cache_dir=str(tmp_path)).info
        assert info.homepage == FACTS[name].homepage
        assert info.license == FACTS[name].terms
        assert info.citation == FACTS[name].citation
