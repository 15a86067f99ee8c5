"""Claims about the options of `training/pretrain.py` that concern the Hub, on tiny runs."""

import pytest
from huggingface_hub import ModelCard
from transformers import AutoBackbone

from mtp_hf.training import pretraining_results
from mtp_hf.training.pretrain import main, parse_arguments
from mtp_hf.training.run_command import publisher_of, resume_command
from mtp_hf.training.run_folder import RunFolder
from tests.training.tiny_run import TINY_MODEL

FAST = [
    "schedule.steps=2",
    "schedule.warmup_steps=1",
    "saving.log_every=1",
    "saving.checkpoint_every=1",
    "evaluation.before=false",
    "evaluation.max_samples=1",
]
COMMITS = r"POST /api/models/.*/commit/"


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Pictures take longer than tiny runs."""
    monkeypatch.setattr(pretraining_results, "plot_losses", lambda *args: None)
    monkeypatch.setattr(pretraining_results, "draw_comparison", lambda *args: None)


@pytest.fixture
def command(client, samrs_recipe, tmp_path):
    """Arguments of a tiny run into `tmp_path/run` that is pushed."""
    root = f"data.root={samrs_recipe.data.root}"
    output = ["--output", f"{tmp_path}/run"]
    return [*TINY_MODEL, *FAST, root, *output, "--push_to_hub", "vit"]


def _error(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, str), "an error message is expected"
    return caught.value.code.removeprefix("error: ")


def _messages(hub, name="mtp/vit"):
    return [commit.message for commit in hub.state.repositories[name].commits[1:]]


def test_a_run_arrives_with_its_snapshots_and_loads_by_name(command, hub, tmp_path):
    main([*command, "--push_every", "1", "--hub_private"])
    for name in ("mtp/vit", "mtp/vit-pretraining"):
        assert _messages(hub, name) == ["Step 1", "Results after 2 steps"]
        assert hub.state.repositories[name].private
    assert len(hub.state.uploads) == len(set(hub.state.uploads)) == 4
    assert AutoBackbone.from_pretrained("mtp/vit").channels == [16] * 4
    card = ModelCard.load("mtp/vit-pretraining")
    assert "unfinished" not in card.text
    assert card.data.eval_results
    snapshot = hub.state.repositories["mtp/vit"].commits[1].files["README.md"].decode()
    assert "**unfinished: 1 of 2 optimizer steps**" in snapshot
    assert not (tmp_path / "run" / "hub_snapshot").exists()


def test_a_hub_that_fails_all_along_does_not_change_the_run(command, hub, tmp_path, caplog):
    hub.fail(COMMITS, 500, times=100)
    main([*command, "--push_every", "1"])
    run = tmp_path / "run"
    warnings = [each.message for each in caplog.records if "not pushed" in each.message]
    assert len(warnings) == 2
    assert "not pushed (Step 1): the Hub answered 500" in warnings[0]
    assert warnings[1].endswith(f"by hand: mtp-hf push {run} mtp/vit")
    assert (run / "model" / "model.safetensors").is_file()
    assert (run / "metrics.json").is_file()


def test_a_dry_run_asks_the_hub_and_pushes_nothing(command, accelerator, samrs_recipe, hub):
    args = parse_arguments([*command, "--dry_run"])
    assert publisher_of(args, accelerator, RunFolder("run"), samrs_recipe) is None
    assert len(hub.calls("whoami")) == 1


def test_a_missing_token_stops_the_run_before_its_folder_is_made(command, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert _error(command) == (
        "--push_to_hub: no Hub token: log in with `hf auth login` or set HF_TOKEN"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--push_to_hub", "a/b/c"], "'a/b/c' is no name for a repository"),
        (["--push_to_hub", "other/vit"], "cannot make other/vit: the token is of mtp"),
        (["--push_every", "1000", "saving.checkpoint_every=300"], "expected a multiple of saving."),
        (["--push_every", "2", "saving.checkpoint_every=0"], "expected a multiple of saving."),
    ],
)
def test_a_mistake_ends_with_one_message(command, options, message):
    assert message in _error([*command, *options])


@pytest.mark.parametrize("option", [["--push_every", "2"], ["--hub_private"], ["--namespace", "x"]])
def test_an_option_of_the_hub_alone_is_refused(option):
    assert _error(option) == f"{option[0]} needs --push_to_hub REPO"


def test_the_command_to_resume_pushes_to_the_same_place(command, tmp_path):
    args = parse_arguments([*command, "--push_every", "2", "--hub_private"])
    resumed = resume_command(args, RunFolder(tmp_path / "run"))
    assert resumed.endswith("--push_to_hub vit --push_every 2 --hub_private")
