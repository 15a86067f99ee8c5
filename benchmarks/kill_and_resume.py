"""Kill a training run again and again, resume it each time, and compare it with the unbroken run.

One run goes through. Another one with the same recipe is ended by SIGKILL at random moments, every
second time while it writes a checkpoint, and goes on with `--resume latest`. Losses, metrics and
the weights of the last checkpoint have to be equal, bit by bit: both runs use one thread.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mtp_hf.training.checkpoint_files import LATEST_FILE, MANIFEST_FILE, list_checkpoints
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.run_log import read_log

SCRIPT = Path(__file__).resolve().parents[1] / "training" / "pretrain.py"
POLL_S = 0.002
COMPARED = ("losses", "loss", "tasks", "grad_norm", "lr", "metrics")  # the rest is time


@dataclasses.dataclass
class Pace:
    """How long things take in the unbroken run, in seconds."""

    between_lines: float
    saving: float


@dataclasses.dataclass
class Moment:
    """When to kill: some time after a line of the log, or while the next checkpoint is written."""

    step: int
    fraction: float  # of the time between two lines, or of the time that saving takes
    is_saving: bool


@dataclasses.dataclass
class Kill:
    """What a kill interrupted."""

    resumed_from: str
    last_line: int  # step of the last losses in the log
    was_saving: bool

    def __str__(self) -> str:
        phase = "saving" if self.was_saving else "training"
        return f"went on from {self.resumed_from}, killed after line {self.last_line}, {phase}"


class Watch:
    """A training process, seen through the files it writes."""

    def __init__(self, command: Sequence[str], folder: RunFolder) -> None:
        self.folder = folder
        # A run that goes on changes the log of the one before when it is ready to train.
        self._old_log = _version(folder.log)
        with console(folder).open("ab") as file:
            self.process = launch(command, file)

    def is_over(self) -> bool:
        """Tell whether the process has ended."""
        return self.process.poll() is not None

    def last_line(self) -> int:
        """Return the step of the last losses that this process knows of; -1 before it has begun."""
        if _version(self.folder.log) in (None, self._old_log):
            return -1
        return last_line(self.folder)

    def is_saving(self) -> bool:
        """Tell whether a checkpoint is being written."""
        return any(self.folder.checkpoints.glob(".step_*.partial"))

    def polls(self) -> Iterator[None]:
        """Yield again and again while the process runs."""
        while not self.is_over():
            yield
            time.sleep(POLL_S)

    def kill(self) -> None:
        """End the process and its children, as a machine that loses power would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison; exit status 0 if the runs are equal."""
    args = parse_arguments(arguments)
    try:
        sys.exit(0 if run_and_compare(args) else 1)
    except (ValueError, TypeError, RuntimeError) as error:
        sys.exit(f"error: {error}")


def run_and_compare(args: argparse.Namespace) -> bool:
    """Make both runs, print what happened, and tell whether they are equal after all kills.

    Raises:
        ValueError: a wrong recipe or folder.
        RuntimeError: a run failed by itself.
    """
    recipe = load_recipe(args.recipe, overrides=args.overrides)
    if args.output.exists():
        raise ValueError(f"{args.output} is there already; choose another --output")
    args.output.mkdir(parents=True)
    command = [sys.executable, str(SCRIPT), "--recipe", args.recipe, *args.overrides]
    command += ["efficiency.cpu_threads=1", "--output"]
    unbroken, killed = (RunFolder(args.output / name) for name in ("unbroken", "killed"))
    print("the unbroken run", flush=True)
    pace = run_unbroken([*command, str(unbroken.path)], unbroken)
    last_step = recipe.schedule.steps - 2 * recipe.saving.log_every
    moments = choose_moments(args.kills, last_step, args.seed)
    kills = []
    for number, moment in enumerate(moments, start=1):
        kill = kill_run([*command, str(killed.path)], killed, moment, pace)
        kills.append(kill)
        print(f"kill {number}: {kill or 'none, the run had ended'}", flush=True)
    print("to the end", flush=True)
    finish([*command, str(killed.path)], killed)
    differences = compare(unbroken, killed)
    print(table(kills))
    num_kills = sum(kill is not None for kill in kills)
    print("\n".join(differences) or f"equal after {num_kills} kills: {describe(unbroken)}")
    return not differences and num_kills == args.kills


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kill_and_resume", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="values of the recipe")
    add("--recipe", default="pretrain/demo", help="default: %(default)s")
    add("--kills", type=int, default=20, metavar="N", help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    add("--output", type=Path, default=Path("outputs/kill_and_resume"), metavar="FOLDER")
    return parser.parse_intermixed_args(arguments)


def choose_moments(num_kills: int, last_step: int, seed: int) -> list[Moment]:
    """Draw moments in the order of a run, every second one while a checkpoint is written."""
    rng = random.Random(seed)
    steps = sorted(rng.randint(0, max(0, last_step)) for _ in range(num_kills))
    return [Moment(step, rng.random(), bool(i % 2)) for i, step in enumerate(steps)]


def start(command: Sequence[str], folder: RunFolder) -> Watch:
    """Start a run, or go on from its newest checkpoint."""
    has_checkpoint = (folder.checkpoints / LATEST_FILE).is_file()
    how = ["--resume", "latest"] if has_checkpoint else ["--overwrite"]
    return Watch([*command, *how], folder)


def launch(command: Sequence[str], file: BinaryIO) -> subprocess.Popen:
    """Start a process on one thread, with a process group of its own, that prints into a file."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=file, stderr=file, env=environment, start_new_session=True
    )


def run_unbroken(command: Sequence[str], folder: RunFolder) -> Pace:
    """Run without a kill and measure its pace."""
    watch = start(command, folder)
    seen: dict[int, float] = {}
    saving: list[list[float]] = [[]]  # when it was seen, for each checkpoint
    for _ in watch.polls():
        now = time.perf_counter()
        seen.setdefault(watch.last_line(), now)
        if watch.is_saving():
            saving[-1].append(now)
        elif saving[-1]:
            saving.append([])
    check_status(watch)
    times = [moment for step, moment in sorted(seen.items()) if step > 0]
    between = (times[-1] - times[0]) / max(1, len(times) - 1)
    return Pace(between, max((each[-1] - each[0] for each in saving if each), default=0.0))


def finish(command: Sequence[str], folder: RunFolder) -> None:
    """Go on until the run ends by itself."""
    watch = start(command, folder)
    watch.process.wait()
    check_status(watch)


def check_status(watch: Watch) -> None:
    """Check that a run that was not killed went well.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    if watch.process.returncode:
        text = console(watch.folder).read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"exit status {watch.process.returncode}:\n{text[-2000:]}")


def console(folder: RunFolder) -> Path:
    """Return the file with what the processes of a run print."""
    return folder.path.with_suffix(".txt")


def kill_run(command: Sequence[str], folder: RunFolder, moment: Moment, pace: Pace) -> Kill | None:
    """Go on until a moment and kill; None if the run ends before."""
    latest = folder.checkpoints / LATEST_FILE
    resumed_from = latest.read_text().strip() if latest.is_file() else "the start"
    watch = start(command, folder)
    for _ in watch.polls():
        if watch.last_line() >= moment.step and (watch.is_saving() or not moment.is_saving):
            break
    time.sleep(moment.fraction * (pace.saving if moment.is_saving else pace.between_lines))
    if watch.is_over():
        return None
    watch.kill()
    return Kill(resumed_from, last_line(folder), watch.is_saving())


def last_line(folder: RunFolder) -> int:
    """Return the step of the last losses in a log; 0 if there are none."""
    return max((line["step"] for line in read_log(folder.log) if "losses" in line), default=0)


def compare(unbroken: RunFolder, killed: RunFolder) -> list[str]:
    """List where two runs differ; times do not count."""
    old, new = (_log_without_times(folder) for folder in (unbroken, killed))
    differences = [
        f"{step}, {kind}: {old.get((step, kind))} became {new.get((step, kind))}"
        for step, kind in sorted(old.keys() | new.keys())
        if old.get((step, kind)) != new.get((step, kind))
    ]
    old_files, new_files = (_last_checksums(folder) for folder in (unbroken, killed))
    for name in ("model.safetensors", "optimizer.bin", "random_states_0.pkl"):
        if old_files.get(name) != new_files.get(name):
            differences.append(f"{name} of the last checkpoint differs")
    return differences


def describe(folder: RunFolder) -> str:
    """Say what was compared."""
    lines = _log_without_times(folder)
    num_losses = sum(kind == "losses" for _, kind in lines)
    num_metrics = len(lines) - num_losses
    return f"{num_losses} lines of losses, {num_metrics} validations, the last checkpoint"


def table(kills: Sequence[Kill | None]) -> str:
    """Lay the kills out as a Markdown table."""
    rows = ["| kill | resumed from | last line of the log | while |", "|---|---|---|---|"]
    for number, kill in enumerate(kills, start=1):
        if kill is None:
            rows.append(f"| {number} | | | the run had ended |")
            continue
        phase = "saving" if kill.was_saving else "training"
        rows.append(f"| {number} | {kill.resumed_from} | step {kill.last_line} | {phase} |")
    return "\n".join(rows)


def _log_without_times(folder: RunFolder) -> dict[tuple[int, str], dict[str, object]]:
    lines: dict[tuple[int, str], dict[str, object]] = {}
    for line in read_log(folder.log):
        kind = "metrics" if "metrics" in line else "losses"
        if (line["step"], kind) in lines:
            raise ValueError(f"{folder.log}: step {line['step']} has two lines of {kind}")
        lines[line["step"], kind] = {key: line[key] for key in COMPARED if key in line}
    return lines


def _last_checksums(folder: RunFolder) -> dict[str, str]:
    checkpoints = list_checkpoints(folder.checkpoints)
    if not checkpoints:
        return {}
    files = json.loads((checkpoints[-1] / MANIFEST_FILE).read_text())["files"]
    return {name: facts["sha256"] for name, facts in files.items()}


def _version(path: Path) -> tuple[int, int] | None:
    """Tell a file from what it was before."""
    facts = path.stat() if path.is_file() else None
    return (facts.st_ino, facts.st_mtime_ns) if facts else None


if __name__ == "__main__":
    main()
