"""Small finetuning runs: right recipes, the command of a user, a table of what was reached."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import finetune_small
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import TASKS, find_task, make_transforms


def test_every_task_has_a_run():
    assert list(finetune_small.RUNS) == list(TASKS)


@pytest.mark.parametrize("task", finetune_small.RUNS)
def test_the_recipe_of_a_run_is_a_published_one_made_small(task):
    run = finetune_small.RUNS[task]
    recipe = load_recipe(run.recipe, result="vit_b_rvsa_mtp", overrides=run.values())
    assert find_task(recipe) is TASKS[task]
    assert make_transforms(recipe, augment=True) and make_transforms(recipe, augment=False)
    assert recipe.data.train == recipe.data.evaluate


def test_a_run_is_started_as_by_a_user_and_its_metric_read_back(tmp_path, monkeypatch, capsys):
    commands = []

    def run(command, check):
        commands.append(command)
        folder = Path(command[command.index("--output") + 1])
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({"after": {"accuracy": 0.975}}))

    monkeypatch.setattr(finetune_small, "subprocess", SimpleNamespace(run=run))
    arguments = ["--init", "encoder", "--eurosat", "photos", "--output", str(tmp_path)]
    assert finetune_small.main([*arguments, "seed=3"]) == 0
    (command,) = commands
    assert command[2:6] == [
        "--recipe",
        "scene_classification/eurosat",
        "--result",
        "vit_b_rvsa_mtp",
    ]
    assert "data.root=photos" in command and command[-1] == "seed=3"
    printed = capsys.readouterr().out
    assert "| `scene_classification/eurosat` | 990 | OA | 97.5 | 0 min |" in printed
    assert "change_detection: not run, no --levir" in printed
