"""The command around the actions."""

import importlib
import os

import pytest

from mtp_hf.cli import main
from mtp_hf.datasets_command import check, command
from tests.datasets_command.made_sets import write_rows


@pytest.mark.parametrize("name", command.ACTIONS)
def test_every_action_has_its_two_functions(name):
    module = importlib.import_module(command.ACTIONS[name][0])
    assert callable(module.add_arguments)
    assert callable(module.run)


def test_help_lists_the_actions(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, (_, about) in command.ACTIONS.items():
        assert f"    {name}" in text
        assert about.split()[0] in text


@pytest.mark.parametrize("arguments", [[], ["chek"], ["list", "--jso"]])
def test_a_wrong_word_is_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["data", *arguments])
    assert caught.value.code == 2
    assert "usage: mtp-hf data" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError("odd"), FileNotFoundError("gone"), OSError("full")])
def test_what_a_user_can_change_ends_with_status_2_and_one_line(monkeypatch, capsys, error):
    def run(args):
        raise error

    module = importlib.import_module(command.ACTIONS["list"][0])
    monkeypatch.setattr(module, "run", run)
    with pytest.raises(SystemExit) as caught:
        main(["data", "list"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_process_that_was_killed_is_explained(made_builder, tmp_path, monkeypatch, capsys):
    rows = [{"image_id": str(number), "image": "a.png", "label": 0} for number in range(40)]
    root = write_rows(tmp_path / "set", {"train": rows})
    monkeypatch.setattr(check, "summarize_row", lambda *args, **options: os._exit(9))
    with pytest.raises(SystemExit) as caught:
        main(["data", "check", "made/classification", str(root), "--num_proc", "2"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: a process was killed from")
