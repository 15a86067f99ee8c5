"""The command line of the benchmarks: the list, one, an unknown one, one that cannot run."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.report import NotHereError, Row

FOLDER = Path(command.__file__).parent
NO_BENCHMARKS = {"__init__", "__main__", "report", "timing", "scene_rows", "step_split"}


class FakeBenchmark:
    """A module with one row."""

    THREADS = 1

    def __init__(self, error=None):
        self.error = error

    def run(self, quick):
        if self.error:
            raise self.error
        return [Row(case=f"quick={quick}", value=2.0, unit="x", at_most=1.0)]


@pytest.fixture
def fake(monkeypatch):
    """Make `error` what every benchmark raises, or None."""

    def use(error=None):
        modules = SimpleNamespace(import_module=lambda name: FakeBenchmark(error))
        monkeypatch.setattr(command, "importlib", modules)

    return use


def test_every_file_is_listed_with_one_line(capsys):
    assert command.main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    files = {path.stem for path in FOLDER.glob("*.py")} - NO_BENCHMARKS
    assert sorted(listed) == sorted(files)


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_benchmark_says_its_threads_and_runs(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.THREADS in (1, 2) and callable(module.run)


def test_a_run_prints_machine_command_threads_and_rows(fake, capsys):
    fake()
    assert command.main(["backbone"]) == 0
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__.split('+')[0]}" in printed
    assert "`python -m benchmarks backbone`, 1 thread, 0 s." in printed
    assert "| quick=False | 2 x | at most 1 | missed |  |" in printed


def test_quick_rows_have_no_targets(fake, capsys):
    fake()
    command.main(["backbone", "--quick"])
    printed = capsys.readouterr().out
    assert "`python -m benchmarks backbone --quick`" in printed
    assert "| quick=True | 2 x |  |  |  |" in printed


def test_all_runs_every_benchmark_once(fake, capsys):
    fake()
    assert command.main(["all"]) == 0
    printed = capsys.readouterr().out
    for name in command.BENCHMARKS:
        assert printed.count(f"`python -m benchmarks {name}`") == 1


def test_what_the_machine_lacks_is_said_and_no_failure(fake, capsys):
    fake(NotHereError("no GPU"))
    assert command.main(["gpu"]) == 0
    assert "`python -m benchmarks gpu`: not run, no GPU" in capsys.readouterr().out


def test_a_failure_is_counted_named_and_does_not_stop_the_others(fake, capsys):
    fake(RuntimeError("out of memory"))
    assert command.main(["all"]) == len(command.BENCHMARKS)
    assert "failed, RuntimeError: out of memory" in capsys.readouterr().err


def test_an_unknown_name_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as exit_info:
        command.main(["backbones"])
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert "'backbones'" in message and "rotated_nms" in message
