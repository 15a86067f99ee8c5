"""Claims about `mtp-hf data list`."""

import json

from mtp_hf.cli import main
from mtp_hf.dataset_scripts import BUILDERS
from mtp_hf.datasets_command.list_action import list_sets


def test_every_builder_has_a_row(capsys):
    main(["data", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == list(BUILDERS)
    row = next(line for line in lines if line.startswith("| samrs "))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "samrs",
        "sota, sota_rbb, sior, fast",
        "semantic and instance segmentation, oriented object detection",
        "18, 18, 20, 37",
        "research only; the terms of DOTA, DIOR and FAIR1M hold as well",
        "https://github.com/ViTAE-Transformer/SAMRS",
    ]


def test_json_has_classes_by_config(capsys):
    main(["data", "list", "--json"])
    sets = json.loads(capsys.readouterr().out)
    assert [found["name"] for found in sets] == list(BUILDERS)
    found = next(found for found in sets if found["name"] == "samrs")
    assert found["num_classes"] == {"sota": 18, "sota_rbb": 18, "sior": 20, "fast": 37}


def test_json_has_the_options_of_each_config():
    options = {found["name"]: found["options"] for found in list_sets()}
    assert options["spacenet_v1"] == {"mtp_5000_1940": ["max_pixels", "on_error", "split_seed"]}
    assert "tile_size" not in options["whu_cd"]["split_7_1_2"]
    assert "tile_size" in options["whu_cd"]["split_7_1_2_tiles"]


def test_a_set_without_facts_is_the_user_s_own(monkeypatch):
    monkeypatch.setitem(BUILDERS, "made", ("tests.datasets_command.made_sets", "Made"))
    found = list_sets()[-1]
    assert found["terms"] == "your own"
    assert (found["homepage"], found["num_classes"]) == (None, {})
    assert "detection" in found["configs"]
