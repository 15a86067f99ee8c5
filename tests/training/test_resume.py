"""Claims about stopping a run and going on, through the command line in this process."""

import errno
import json
import logging
import os
import re
import shutil
import signal

import datasets
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from mtp_hf.training import loop, pretraining_results, run_log, validation
from mtp_hf.training.checkpoints import find_checkpoint
from mtp_hf.training.pretrain import main
from mtp_hf.training.run_log import read_log
from tests.fakes import write_samrs
from tests.training.process_group import run_processes
from tests.training.tiny_run import TINY_MODEL

FAST = [
    "schedule.steps=4",
    "schedule.warmup_steps=1",
    "saving.log_every=2",
    "saving.checkpoint_every=3",
    "evaluation.batch_size=2",
    "evaluation.before=false",
    "efficiency.cpu_threads=1",
]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(pretraining_results, "plot_losses", lambda *args: None)
    monkeypatch.setattr(pretraining_results, "draw_comparison", lambda *args: None)


@pytest.fixture
def command(samrs_recipe):
    """Arguments of a tiny run, but for its folder."""
    return [*TINY_MODEL, *FAST, f"data.root={samrs_recipe.data.root}"]


@pytest.fixture(scope="module")
def finished(samrs_root, datasets_cache, tmp_path_factory):
    """A run that went through: validated at steps 0, 2 and 4, checkpoints at 3 and 4."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", datasets_cache)
        patch.setattr(pretraining_results, "plot_losses", lambda *args: None)
        patch.setattr(pretraining_results, "draw_comparison", lambda *args: None)
        options = [f"data.root={samrs_root}", "evaluation.every=2", "evaluation.before=true"]
        main([*TINY_MODEL, *FAST, *options, "--output", str(folder)])
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that run."""
    return shutil.copytree(finished, tmp_path / "run")


def _lines(folder):
    """What the log says of learning and metrics; the rest is time."""
    keys = ("step", "losses", "grad_norm", "lr", "metrics")
    lines = [
        {key: line[key] for key in keys if key in line} for line in read_log(folder / "log.jsonl")
    ]
    return sorted(lines, key=lambda line: (line["step"], "metrics" in line))


def _checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def _exit(arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(each) for each in arguments])
    return caught.value.code


def _error(arguments):
    code = _exit(arguments)
    assert isinstance(code, str), "an error message is expected"
    return code


def _send(monkeypatch, module, name, signum, *, at_call):
    """Let this process get a signal while it calls a function for the n-th time."""
    function, calls = getattr(module, name), []

    def noted(*args, **kwargs):
        calls.append(1)
        if len(calls) == at_call:
            os.kill(os.getpid(), signum)
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, noted)


@pytest.mark.parametrize(
    ("module", "name", "at_call", "signum", "status", "saved"),
    [
        (loop, "train_step", 2, signal.SIGTERM, 143, "step_0000002"),
        (validation, "predict_batch", 1, signal.SIGUSR1, 138, "step_0000000"),
        (validation, "predict_batch", 4, signal.SIGTERM, 143, "step_0000002"),
        (loop, "train_step", 4, signal.SIGTERM, 143, "step_0000004"),
    ],
    ids=[
        "in a step",
        "before training",
        "in a validation",
        "in the last step",
    ],
)
def test_a_signal_saves_and_the_resumed_run_is_the_unbroken_one(
    finished, samrs_recipe, tmp_path, monkeypatch, capsys, *, module, name, at_call, signum,
    status, saved,
):  # fmt: skip
    folder = tmp_path / "run"
    options = [
        f"data.root={samrs_recipe.data.root}",
        "evaluation.every=2",
        "evaluation.before=true",
    ]
    with monkeypatch.context() as patch:
        _send(patch, module, name, signum, at_call=at_call)
        assert _exit([*TINY_MODEL, *FAST, *options, "--output", folder]) == status
    printed = capsys.readouterr().out
    assert f"stopped by {signal.Signals(signum).name} after step {int(saved[5:])}" in printed
    assert printed.rstrip().endswith(f"--resume latest --output {folder}")
    assert find_checkpoint(folder / "checkpoints", "latest").name == saved
    main(["--resume", "latest", "--output", str(folder)])
    assert _lines(folder) == _lines(finished)
    old, new = (json.loads((each / "metrics.json").read_text()) for each in (finished, folder))
    assert new == old


def test_ctrl_c_ends_with_a_line_and_no_stack_trace(command, tmp_path, monkeypatch, capsys):
    _send(monkeypatch, loop, "train_step", signal.SIGINT, at_call=4)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    try:
        assert _exit([*command, "--output", tmp_path / "run"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    last = tmp_path / "run" / "checkpoints" / "step_0000003"
    expected = f"interrupted\nthe last good checkpoint is {last}; go on with --resume latest\n"
    assert capsys.readouterr().err.endswith(expected)


def test_going_on_with_a_finished_run_writes_nothing_twice(run, finished):
    main(["--resume", "latest", "--output", str(run)])
    assert _lines(run) == _lines(finished)
    assert _checkpoints(run) == _checkpoints(finished)


def test_going_back_starts_a_new_line_and_loses_nothing(run, finished, caplog):
    back = run / "checkpoints" / "step_0000003"
    with caplog.at_level(logging.WARNING):
        main(["--resume", str(back)])
    assert _lines(run) == _lines(finished)
    assert _checkpoints(run) == [
        "latest",
        "log_until_step_0000004.jsonl",
        "step_0000003",
        "step_0000004",
        "step_0000004.set_aside",
    ]
    assert "going back: checkpoints after step 3 are set aside" in caplog.text
    kept = read_log(run / "checkpoints" / "log_until_step_0000004.jsonl")
    assert [line["step"] for line in kept] == [
        line["step"] for line in read_log(finished / "log.jsonl")
    ]
    aside = run / "checkpoints" / "step_0000004.set_aside"
    main(["--resume", str(aside)])  # a finished one
    assert _lines(run) == _lines(finished)


def test_a_run_that_went_back_and_was_stopped_before_it_saved_has_lost_nothing(
    run, finished, monkeypatch
):
    def stop(*args):
        raise ValueError("stop")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stop)
        assert _error(["--resume", run / "checkpoints" / "step_0000003"]) == "error: stop"
    assert _checkpoints(finished) == [
        name for name in _checkpoints(run) if not name.startswith("log_until")
    ]
    assert find_checkpoint(run / "checkpoints", "latest").name == "step_0000004"


def test_a_damaged_newest_checkpoint_leads_to_the_one_before(run, finished, caplog):
    (run / "checkpoints" / "step_0000004" / "model.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        main(["--resume", "latest", "--output", str(run)])
    assert "step_0000004 is damaged: model.safetensors: expected" in caplog.text
    assert _lines(run) == _lines(finished)


def test_what_a_kill_left_half_written_is_removed_at_the_next_start(run):
    partial = run / "checkpoints" / ".step_0000006.partial"
    partial.mkdir()
    main(["--resume", "latest", "--output", str(run)])
    assert not partial.exists()


def _damage_state(run):
    (run / "checkpoints" / "step_0000003" / "state.json").write_text("{")


def _remove_state(run):
    (run / "checkpoints" / "step_0000003" / "state.json").unlink()


def _remove_manifest(run):
    (run / "checkpoints" / "step_0000003" / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("damage", "which", "message"),
    [
        (_damage_state, "checkpoints/step_0000003", r"state.json: expected \d+ bytes, found 1"),
        (_remove_state, "checkpoints/step_0000003", "state.json is missing"),
        (_remove_manifest, "checkpoints/step_0000003", "step_0000003 is half-written"),
        (None, "checkpoints/step_0000009", "step_0000009: no such checkpoint"),
        (None, "checkpoints", "checkpoints is not a checkpoint: it has no manifest.json"),
        (None, "model", "model is not a checkpoint: it has no manifest.json"),
        (None, "recipe.yaml", "recipe.yaml is not a checkpoint"),
        (None, "", "is the folder of a run, not a checkpoint: --resume latest --output"),
    ],
)
def test_what_cannot_be_resumed_is_refused_in_one_line(finished, tmp_path, damage, which, message):
    folder = finished
    if damage:
        folder = tmp_path / "run"
        shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("model", "encoder"))
        damage(folder)
    error = _error(["--resume", folder / which])
    assert error.startswith("error: ")
    assert "\n" not in error
    assert re.search(message, error), error


def test_a_checkpoint_of_another_recipe_is_refused_with_the_difference(run):
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("seed: 2023", "seed: 7"))
    error = _error(["--resume", "latest", "--output", run])
    assert error.endswith("made by another recipe; changed: seed: 2023 -> 7")


def test_data_sets_of_another_length_are_refused(run, tmp_path):
    root = write_samrs(tmp_path / "longer", num_train=5)
    error = _error(["--resume", "latest", "--output", run, f"data.root={root}"])
    assert "another number of training images; changed: fast: 4 -> 5; sior: 4 -> 5" in error


def test_start_again_and_go_on_exclude_each_other(run):
    assert "choose one" in _error(["--resume", "latest", "--overwrite", "--output", run])


def test_a_full_disk_at_a_checkpoint_names_the_last_good_one(command, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    original = loop.train_step

    def fill_the_disk(prepared, batches, recipe, window, step):
        if step == 4:
            monkeypatch.setattr(prepared.accelerator, "save_state", _no_space)
        return original(prepared, batches, recipe, window, step)

    monkeypatch.setattr(loop, "train_step", fill_the_disk)
    error = _error([*command, "--output", folder])
    start = f"error: cannot write checkpoint {folder}/checkpoints/step_0000004: OSError: [Errno 28]"
    assert error.startswith(f"{start} No space left on device (")
    assert error.endswith(f"the last good checkpoint is {folder}/checkpoints/step_0000003")
    assert _checkpoints(folder) == ["latest", "step_0000003"]


def test_a_full_disk_at_the_log_names_the_last_good_checkpoint(command, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    append = run_log.RunLog._append

    def fill_the_disk(log, values):
        if values["step"] == 4:
            _no_space()
        append(log, values)

    monkeypatch.setattr(run_log.RunLog, "_append", fill_the_disk)
    error = _error([*command, "--output", folder])
    last = folder / "checkpoints" / "step_0000003"
    assert error == (
        "error: [Errno 28] No space left on device\n"
        f"the last good checkpoint is {last}; go on with --resume latest"
    )


def test_only_the_newest_checkpoints_are_kept(command, tmp_path):
    options = ["saving.total_limit=2", "saving.checkpoint_every=1", "--output", f"{tmp_path}/run"]
    main([*command, *options])
    assert _checkpoints(tmp_path / "run") == ["latest", "step_0000003", "step_0000004"]


def test_accumulated_batches_and_dropout_go_on_exactly(command, tmp_path):
    options = [
        "schedule.gradient_accumulation=2",
        "model.semantic.dropout=0.5",
        "model.backbone_overrides.drop_path_rate=0.3",
    ]
    main([*command, *options, "--output", f"{tmp_path}/straight"])
    torch.manual_seed(5)
    main(["--resume", f"{tmp_path}/straight/checkpoints/step_0000003"])
    kept = list(read_log(tmp_path / "straight/checkpoints/log_until_step_0000004.jsonl"))
    again = list(read_log(tmp_path / "straight/log.jsonl"))
    assert [line["step"] for line in again] == [line["step"] for line in kept] == [2, 4, 4]
    for old, new in zip(kept, again, strict=True):
        assert new.get("losses") == old.get("losses")
        assert new.get("metrics") == old.get("metrics")


def _no_space(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_signal_to_one_of_two_processes_stops_both_and_the_resumed_run_is_the_unbroken_one(
    samrs_root, datasets_cache, tmp_path
):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    command = [*TINY_MODEL, *FAST, f"data.root={samrs_root}", "--output"]
    run_processes(_one_of_two, datasets_cache, [[*command, str(straight)]], None)
    resume = ["--resume", "latest", "--output", str(stopped)]
    codes = run_processes(_one_of_two, datasets_cache, [[*command, str(stopped)], resume], 1)
    assert codes == [[143, None]] * 2
    assert _checkpoints(stopped) == ["latest", "step_0000002", "step_0000003", "step_0000004"]
    assert _lines(stopped) == _lines(straight)


def _one_of_two(datasets_cache, commands, signalled_at):
    """Run command lines one after another; the second process gets SIGTERM in a step of the first.

    Returns:
        Exit status of each, None for a normal end.
    """
    datasets.config.HF_DATASETS_CACHE = datasets_cache
    pretraining_results.plot_losses = pretraining_results.draw_comparison = lambda *args: None
    original, codes = loop.train_step, []

    def signalled(prepared, batches, recipe, window, step):
        if step == signalled_at and prepared.accelerator.process_index == 1 and not codes:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(prepared, batches, recipe, window, step)

    loop.train_step = signalled
    for command in commands:
        try:
            main(command)
            codes.append(None)
        except SystemExit as exit:
            codes.append(exit.code)
        for state in (AcceleratorState, GradientState, PartialState):
            state._shared_state.clear()
        os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
    return codes
