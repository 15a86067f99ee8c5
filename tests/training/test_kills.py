"""Claims about SIGKILL at any moment: the run that goes on ends in the unbroken run's numbers.

Processes come from a fork server that has imported the package, so a start takes a second; the test
marked slow starts the command line as a user would, as often as MTP_HF_KILLS says.
"""

import functools
import multiprocessing
import os
import signal
import sys
import time

import pytest

from benchmarks import kill_and_resume
from benchmarks.kill_and_resume import (
    Kill,
    Moment,
    choose_moments,
    compare,
    last_line,
    main,
    parse_arguments,
    table,
)
from mtp_hf.training.run_folder import RunFolder
from tests.training.tiny_run import TINY_MODEL

# Lines, checkpoints and validations at different steps; two batches a step; old ones deleted.
VALUES = [
    "schedule.steps=10",
    "schedule.warmup_steps=1",
    "schedule.gradient_accumulation=2",
    "saving.log_every=2",
    "saving.checkpoint_every=3",
    "saving.total_limit=2",
    "evaluation.every=5",
    "evaluation.before=false",
    "evaluation.batch_size=2",
    "model.semantic.dropout=0.3",
]


class ForkedProcess:
    """A process of the fork server that looks like one of `subprocess`."""

    def __init__(self, command, file, *, datasets_cache):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["mtp_hf.training.pretraining_run"])
        arguments = (command[2:], file.name, datasets_cache)
        self._process = context.Process(target=_command_line, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self):
        self._process.join()

    @property
    def returncode(self):
        return self._process.exitcode


def _command_line(arguments, console, datasets_cache):
    os.setsid()
    with open(console, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import datasets

    from mtp_hf.training import pretraining_results as results
    from mtp_hf.training.pretrain import main

    datasets.config.HF_DATASETS_CACHE = datasets_cache
    results.plot_losses = results.draw_comparison = lambda *args: None  # seconds of no interest
    main(arguments)


def test_killed_runs_end_in_the_unbroken_run(
    samrs_root, datasets_cache, tmp_path, monkeypatch, capsys
):
    launch = functools.partial(ForkedProcess, datasets_cache=datasets_cache)
    monkeypatch.setattr(kill_and_resume, "launch", launch)
    values = [*TINY_MODEL, *VALUES, f"data.root={samrs_root}"]
    with pytest.raises(SystemExit) as caught:
        main([*values, "--kills", "4", "--seed", "1", "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert caught.value.code == 0, printed
    assert "equal after 4 kills: 5 lines of losses, 2 validations, the last checkpoint" in printed
    assert "| 4 | " in printed  # a row for each; whether one meets a save depends on the machine


@pytest.mark.slow  # starts the interpreter anew for each kill: ten seconds a kill
def test_killed_command_lines_end_in_the_unbroken_run(samrs_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    kills = os.environ.get("MTP_HF_KILLS", "5")
    values = [*TINY_MODEL, *VALUES, "schedule.steps=30", f"data.root={samrs_root}"]
    with pytest.raises(SystemExit) as caught:
        main([*values, "--kills", kills, "--output", str(tmp_path / "out")])
    assert caught.value.code == 0, capsys.readouterr().out


def test_moments_are_in_order_and_every_second_one_is_while_saving():
    moments = choose_moments(6, 40, seed=3)
    assert moments == choose_moments(6, 40, seed=3)
    assert moments != choose_moments(6, 40, seed=4)
    steps = [moment.step for moment in moments]
    assert steps == sorted(steps)
    assert 0 <= steps[0] <= steps[-1] <= 40
    assert [moment.is_saving for moment in moments] == [False, True] * 3


@pytest.fixture
def folders(tmp_path):
    """Two runs of one line, equal but for times."""
    pair = []
    for name, rate in (("a", 1.0), ("b", 2.0)):
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        line = '{"step": 2, "losses": {"a/ss/x": 0.5}, "loss": 0.5, "images_per_s": %s}\n'
        folder.log.write_text(line % rate + '{"step": 2, "metrics": {"a/ss/miou": 0.1}}\n')
        pair.append(folder)
    return pair


def test_times_do_not_count_and_anything_else_does(folders):
    assert compare(*folders) == []
    assert last_line(folders[0]) == 2
    text = folders[1].log.read_text()
    folders[1].log.write_text(text.replace("0.1", "0.100000001"))
    (difference,) = compare(*folders)
    assert difference.startswith("2, metrics: ")
    folders[1].log.write_text(text.splitlines()[0])
    assert len(compare(*folders)) == 1


def test_a_line_that_is_there_twice_is_no_equal_run(folders):
    text = folders[1].log.read_text()
    folders[1].log.write_text(text + text)
    with pytest.raises(ValueError, match="step 2 has two lines of losses"):
        compare(*folders)


def test_weights_count_too(folders):
    for folder, digest in zip(folders, "xy", strict=True):
        checkpoint = folder.checkpoints / "step_0000002"
        checkpoint.mkdir(parents=True)
        text = '{"files": {"model.safetensors": {"sha256": "%s"}}}'
        (checkpoint / "manifest.json").write_text(text % digest)
    assert compare(*folders) == ["model.safetensors of the last checkpoint differs"]


def test_the_table_has_a_row_for_every_kill():
    rows = table([Kill("step_0000003", 4, True), None]).splitlines()
    assert rows[2] == "| 1 | step_0000003 | step 4 | saving |"
    assert rows[3] == "| 2 | | | the run had ended |"


def test_a_moment_is_not_reached_when_the_run_ends_before(tmp_path, monkeypatch):
    folder, pace = RunFolder(tmp_path / "run"), kill_and_resume.Pace(0.0, 0.0)
    command = [sys.executable, "-c", "pass"]
    assert kill_and_resume.kill_run(command, folder, Moment(1, 0.0, False), pace) is None


def test_a_run_that_fails_by_itself_shows_what_it_printed(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such data')"]
    with pytest.raises(RuntimeError, match="exit status 1:(.|\n)*no such data"):
        kill_and_resume.finish(command, RunFolder(tmp_path / "run"))


def test_a_kill_ends_the_process_and_its_children(tmp_path):
    child = f"while :; do echo x >> {tmp_path}/alive; sleep 0.01; done"
    watch = kill_and_resume.start(["sh", "-c", f"({child}) & sleep 60"], RunFolder(tmp_path / "a"))
    while not (tmp_path / "alive").exists():
        time.sleep(0.01)
    watch.kill()
    assert watch.process.returncode == -signal.SIGKILL
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.1)
    assert (tmp_path / "alive").stat().st_size == size


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["--output", str(tmp_path)])
    assert "is there already" in caught.value.code


def test_the_defaults_are_twenty_kills_of_the_demo():
    args = parse_arguments([])
    assert (args.kills, args.recipe, args.seed) == (20, "pretrain/demo", 0)
