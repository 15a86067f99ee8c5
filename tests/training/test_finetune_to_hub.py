"""Claims about the options of `training/finetune.py` that concern the Hub, on tiny runs."""

import shutil

import pytest
from huggingface_hub import ModelCard

from mtp_hf.cli import main as mtp_hf_command
from mtp_hf.training import finetuning_results
from mtp_hf.training.finetune import main, parse_arguments
from mtp_hf.training.run_command import resume_command
from mtp_hf.training.run_folder import RunFolder
from tests.fakes_classification import write_eurosat
from tests.training.tiny_finetune import write_recipe

EPOCHS = ["schedule.steps=null", "schedule.epochs=2", "schedule.warmup_steps=0"]
COUNTS = ["evaluation.every=1", "saving.checkpoint_every=1", "schedule.update_every=1"]
COMMITS = r"POST /api/models/.*/commit/"


@pytest.fixture
def command(client, tmp_path, monkeypatch):
    """Arguments of a tiny run in epochs into `tmp_path/run` that is pushed."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(finetuning_results, "plot_losses", lambda *args: None)
    monkeypatch.setattr(finetuning_results, "draw_results", lambda *args: None)
    write_eurosat(tmp_path / "data")
    recipe = write_recipe(tmp_path / "r.yaml", "scene_classification")
    given = ["--recipe", str(recipe), f"data.root={tmp_path / 'data'}", *EPOCHS, *COUNTS]
    return [*given, "--output", f"{tmp_path}/run", "--push_to_hub", "scenes"]


def _messages(hub, name="mtp/scenes"):
    return [commit.message for commit in hub.state.repositories[name].commits[1:]]


def _error(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, str), "an error message is expected"
    return caught.value.code.removeprefix("error: ")


def test_a_run_in_epochs_arrives_as_one_repository_with_its_snapshots(command, hub, tmp_path):
    main([*command, "--push_every", "1"])
    assert list(hub.state.repositories) == ["mtp/scenes"]
    first, last = _messages(hub)
    steps = int(last.split()[2])
    assert (first, last) == (f"Step {steps // 2}", f"Results after {steps} steps")
    card = ModelCard.load("mtp/scenes")
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.eval_results[0].metric_name == "OA"
    assert 'mtp_hf.predict("mtp/scenes", image)' in card.text
    snapshot = hub.state.repositories["mtp/scenes"].commits[1].files["README.md"].decode()
    assert f"**unfinished: {steps // 2} of {steps} optimizer steps**" in snapshot
    names = set(hub.state.repositories["mtp/scenes"].commits[-1].files)
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= names
    assert "predictions.png" not in names  # pictures of the data set stay at home
    assert not (tmp_path / "run" / "hub_snapshot").exists()


def test_the_best_network_goes_there_where_it_is_asked_for(command, hub, tmp_path):
    main([*command, "--push_best", "--push_every", "1"])
    stored = hub.state.repositories["mtp/scenes"].commits[-1].files["config.json"]
    assert stored == (tmp_path / "run" / "best" / "config.json").read_bytes()
    assert 1 <= len(_messages(hub)) <= 2  # the same best one again is no commit
    mtp_hf_command(["push", f"{tmp_path}/run", "by-hand", "--best"])
    mtp_hf_command(["push", f"{tmp_path}/run", "last"])
    assert set(hub.state.repositories) == {"mtp/scenes", "mtp/by-hand", "mtp/last"}
    shutil.rmtree(tmp_path / "run" / "best")
    with pytest.raises(SystemExit, match="best/config.json is missing"):
        mtp_hf_command(["push", f"{tmp_path}/run", "by-hand", "--best"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--push_every", "3", "saving.checkpoint_every=2"], "expected a multiple of saving."),
        (["--push_best", "data.evaluate=null"], "--push_best: the recipe measures nothing"),
    ],
)
def test_a_mistake_ends_with_one_message_before_the_run(command, tmp_path, options, message):
    assert message in _error([*command, *options])
    assert not (tmp_path / "run").exists()


def test_the_best_one_without_a_place_to_go_is_refused(command):
    alone = [word for word in command if word not in ("--push_to_hub", "scenes")]
    assert _error([*alone, "--push_best"]) == "--push_best needs --push_to_hub REPO"


def test_the_command_to_resume_pushes_the_same_to_the_same_place(command, tmp_path):
    args = parse_arguments([*command, "--push_every", "2", "--push_best"])
    resumed = resume_command(args, RunFolder(tmp_path / "run"))
    assert resumed.endswith("--push_to_hub scenes --push_every 2 --push_best")
