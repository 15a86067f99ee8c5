"""Claims about the command line: most of them in this process, one through the real launcher."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training import loaders, pretraining_results
from mtp_hf.training.pretrain import main, parse_arguments
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.run_command import output_folder, resolve_recipe
from mtp_hf.training.run_log import read_log
from tests.training.tiny_run import TINY_MODEL

SCRIPT = Path(__file__).parents[2] / "training" / "pretrain.py"
FAST = [
    "schedule.steps=4",
    "schedule.warmup_steps=1",
    "saving.log_every=1",
    "evaluation.batch_size=2",
]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Pictures take longer than tiny runs; the run through the launcher draws them."""
    monkeypatch.setattr(pretraining_results, "plot_losses", lambda *args: None)
    monkeypatch.setattr(pretraining_results, "draw_comparison", lambda *args: None)


@pytest.fixture
def command(samrs_recipe, tmp_path):
    """Arguments of a tiny run into `tmp_path/run`."""
    return [
        *TINY_MODEL,
        *FAST,
        f"data.root={samrs_recipe.data.root}",
        "--output",
        f"{tmp_path}/run",
    ]


def _losses(folder):
    return [line["losses"] for line in read_log(folder / "log.jsonl") if "losses" in line]


def _error(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, str), "an error message is expected"
    return caught.value.code


def test_the_real_launcher_trains_validates_and_writes_everything(samrs_root, tmp_path):
    command = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", str(SCRIPT)]
    arguments = [*TINY_MODEL, *FAST, f"data.root={samrs_root}", "efficiency.num_workers=1"]
    done = subprocess.run(
        [sys.executable, *command, *arguments, "--max_steps", "2", "--output", "run"],
        cwd=tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == {
        *("recipe.yaml", "log.jsonl", "metrics.json", "losses.png", "checkpoints"),
        *("predictions_ss.png", "predictions_is.png", "predictions_rd.png", "encoder", "model"),
    }
    assert re.search(r"\| pooled +\| mask AP50 +\| +[\d.]+ +\| +[\d.]+ +\|", done.stdout)
    assert "wrote run/model" in done.stdout
    assert "learning_rate" not in done.stdout
    assert "batch_size: 2" in done.stdout  # the resolved recipe
    assert "loss=" in done.stderr  # the progress bar
    assert len(_losses(tmp_path / "run")) == 2


def test_a_stopped_run_goes_on_bit_equal_under_its_own_recipe(command, tmp_path, capsys):
    torch.set_num_threads(1)
    main([*command, "saving.checkpoint_every=2"])
    straight = _losses(tmp_path / "run")
    other = [*command[:-1], f"{tmp_path}/other"]
    main([*other, "--max_steps", "2"])
    assert len(_losses(tmp_path / "other")) == 2
    main(["--resume", "latest", "--output", f"{tmp_path}/other"])
    assert _losses(tmp_path / "other") == straight
    metrics = [
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "other")
    ]
    assert metrics[0]["after"] == metrics[1]["after"]
    assert set(metrics[1]) == {"before", "after", "step", "per_class"}
    names = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert names == ["latest", "step_0000002", "step_0000004"]


def test_training_images_are_measured_where_the_recipe_asks(command, tmp_path):
    main([*command, "--max_steps", "1", "evaluation.on_training_images=true"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    before, after = metrics["training_images_before"], metrics["training_images_after"]
    assert set(before) == set(after) == set(metrics["after"])
    assert after != metrics["after"]  # of other images


def test_the_saved_network_is_the_trained_one(command, tmp_path):
    main([*command, "--max_steps", "1", "evaluation.before=false"])
    model = MTPForPreTraining.from_pretrained(tmp_path / "run" / "model")
    saved = load_file(tmp_path / "run" / "checkpoints" / "step_0000001" / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name]), name


def test_a_dry_run_goes_through_everything_and_keeps_nothing(
    command, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    main([*command, "--dry_run", "--log_with", "tensorboard"])
    printed = capsys.readouterr().out
    assert "dry run: one step, validation and saving passed; nothing was kept" in printed
    assert list(tmp_path.iterdir()) == []


def test_another_run_is_not_overwritten_unasked(command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("")
    assert "holds a run already" in _error(command)


def test_resuming_under_another_recipe_is_refused_with_the_difference(command, tmp_path):
    main([*command, "--max_steps", "1", "evaluation.before=false"])
    message = _error(
        [
            "--resume",
            "latest",
            "--output",
            f"{tmp_path}/run",
            "optimizer.lr=0.5",
            "saving.log_every=2",
        ]
    )
    lr = load_recipe("pretrain/demo").optimizer.lr
    assert message.endswith(f"changed: optimizer.lr: {lr} -> 0.5")


def test_resuming_nothing_is_refused(tmp_path):
    message = _error(["--resume", "latest", "--output", f"{tmp_path}/none"])
    assert "nothing to resume" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "pretrain/dmeo"], "unknown recipe 'pretrain/dmeo'; did you mean"),
        (
            ["optimizer.weight_deacy=1"],
            "unknown key 'optimizer.weight_deacy'; did you mean 'weight_decay'",
        ),
        (["--recipe", "pretrain/samrs"], "choose a row with --result: vit_b_rvsa, vit_l_rvsa"),
        (["--recipe", "pretrain/samrs", "--result", "vit_b_rvsa"], "data.root=FOLDER"),
        (["data.sources.sior.config=sota"], "asks for 'rd', but samrs/sota has no such annotation"),
        (["schedule.gradient_accumulation=3"], "cannot share equally"),
        (["model.semantic.width=3"], "UperNetRSConfig has no field width"),
        (["schedule.steps=abc"], "schedule.steps"),
        (["--dry_run", "--resume", "latest"], "--dry_run tries a new run"),
        (["--init", "nowhere.pth"], "model.init=nowhere.pth: no such file or folder"),
    ],
)
def test_a_mistake_of_the_user_ends_with_one_message(
    arguments, message, samrs_recipe, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    root = [] if "pretrain/samrs" in arguments else [f"data.root={samrs_recipe.data.root}"]
    assert message in _error([*arguments, *root])


def test_an_unknown_option_is_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--max_setps", "3"])
    assert caught.value.code == 2
    assert "--max_setps" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3"])
def test_numbers_of_steps_start_at_one(value, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--max_steps", value])
    assert "expected at least 1" in capsys.readouterr().err


def test_help_shows_examples_and_the_recipes(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    assert "pretrain/samrs_mini" in text
    assert "accelerate launch training/pretrain.py --resume latest" in text


def test_flags_are_laid_over_overrides():
    args = parse_arguments(["seed=1", "--seed", "2", "--limit_samples", "5", "--init", "x.pth"])
    recipe = resolve_recipe(args)
    assert (recipe.seed, recipe.data.limit_samples, recipe.model.init) == (2, 5, "x.pth")


def test_the_launcher_s_precision_is_recorded_in_the_recipe(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert resolve_recipe(parse_arguments([])).efficiency.mixed_precision == "bf16"
    args = parse_arguments(["efficiency.mixed_precision=no"])
    assert resolve_recipe(args).efficiency.mixed_precision == "no"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "outputs/demo"),
        (["--recipe", "pretrain/samrs", "--result", "vit_b_rvsa"], "outputs/samrs_vit_b_rvsa"),
        (["--output", "here"], "here"),
    ],
)
def test_the_output_folder_is_named_after_recipe_and_row(arguments, expected):
    args = parse_arguments(arguments)
    recipe = load_recipe(args.recipe or "pretrain/demo", result=args.result)
    assert output_folder(args, recipe).path == Path(expected)


def test_the_output_of_a_resumed_run_is_that_of_its_checkpoint(tmp_path):
    args = parse_arguments(["--resume", str(tmp_path / "run" / "checkpoints" / "step_0000002")])
    assert output_folder(args, None).path == tmp_path / "run"


def test_a_run_that_diverges_stops_naming_losses_and_images(command):
    message = _error([*command, "optimizer.lr=1e12", "evaluation.before=false"])
    assert re.search(
        r"non-finite loss at step 2; losses of the batch:\n  \w+/\w+/\w+ = nan", message
    )
    assert re.search(r"images: sior/\d+, sior/\d+, sota_rbb/", message)


def test_a_corrupt_image_is_named(command, samrs_root, tmp_path):
    root = shutil.copytree(samrs_root, tmp_path / "broken")
    image = sorted((root / "dotav2_1024_rbb" / "trainval" / "images").iterdir())[0]
    image.write_bytes(image.read_bytes()[:200])
    message = _error([*command, f"data.root={root}", "evaluation.before=false"])
    assert image.stem in message


def _cannot_read(row, **options):
    raise OSError("the disk is gone")


def test_an_image_that_a_worker_cannot_read_ends_the_run_and_its_workers_with_one_line(
    command, monkeypatch
):
    monkeypatch.setattr(loaders, "samrs_row_to_sample", _cannot_read)
    message = _error([*command, "evaluation.before=false", "efficiency.num_workers=2"])
    assert re.fullmatch(
        r"error: dataset '\w+', row \d, image '\w+': OSError: the disk is gone", message
    )
    left = [" ".join(each.cmdline()) for each in psutil.Process().children()]
    assert [command for command in left if "multiprocessing" not in command] == []


def test_precision_accumulation_and_checkpointed_activations_run(command, tmp_path):
    options = ["efficiency.mixed_precision=bf16", "schedule.gradient_accumulation=2"]
    main([*command, *options, "efficiency.activation_checkpointing=true", "evaluation.every=1"])
    lines = list(read_log(tmp_path / "run" / "log.jsonl"))
    assert [line["step"] for line in lines if "losses" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "metrics" in line] == [0, 1, 2, 3, 4]


def test_a_tracker_gets_the_same_numbers(command, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `tracking` is not installed")
    main([*command, "--log_with", "tensorboard", "--max_steps", "1", "evaluation.before=false"])
    assert list((tmp_path / "run" / "tracker").rglob("events.out.*"))
