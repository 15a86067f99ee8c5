"""The log of a run: one JSON object per line, and the same numbers for Accelerate's trackers.

A line is `{"step": ..., "losses": {name: value}, ...}` for a logging interval and `{"step": ...,
"metrics": {name: value}}` for a validation. Names of losses are the model's own. A run that goes on
from a checkpoint drops the lines after that step, and a validation that is repeated replaces its
line, so that nothing is in the file twice.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.durable_files import flush_file, write_durably
from mtp_hf.training.strict_json import strict_json


class RunLog:
    """Write the log of a run on the main process; elsewhere do nothing.

    Args:
        path: the JSONL file; its folder exists.
        accelerator: says which process this is, and owns the trackers.
        resume_step: keep the lines up to this step; None: start an empty file.
    """

    def __init__(
        self, path: Path, accelerator: Accelerator, resume_step: int | None = None
    ) -> None:
        self.path = path
        self.accelerator = accelerator
        self.measured = on_main_process(accelerator, lambda: self._start(resume_step))

    def write(self, step: int, **values: Any) -> None:
        """Append one line for a step, readable at once, and hand its numbers to the trackers.

        All processes call this and the other methods; what fails on the main process, such as
        writing to a full disk, stops them all.
        """
        on_main_process(self.accelerator, lambda: self._append({"step": step, **values}))
        self.accelerator.log(flatten_numbers(values), step=step)

    def write_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the line of a validation; it replaces one of the same step."""
        if step in self.measured:
            on_main_process(self.accelerator, lambda: self._drop_metrics(step))
        self.measured.add(step)
        self.write(step, metrics=metrics)

    def flush(self) -> None:
        """Wait until the lines are on the disk, for a checkpoint that goes on after them."""
        on_main_process(self.accelerator, lambda: flush_file(self.path))

    def _start(self, resume_step: int | None) -> set[int]:
        """Drop what comes later than the checkpoint; return the steps with a validation."""
        lines = [] if resume_step is None else list(read_log(self.path))
        kept = [line for line in lines if line["step"] <= (resume_step or 0)]
        self._rewrite(kept)
        return {line["step"] for line in kept if "metrics" in line}

    def _append(self, values: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_to_line(values))

    def _drop_metrics(self, step: int) -> None:
        lines = list(read_log(self.path))
        self._rewrite(each for each in lines if each["step"] != step or "metrics" not in each)

    def _rewrite(self, lines: Iterable[Mapping[str, Any]]) -> None:
        write_durably(self.path, "".join(_to_line(line) for line in lines))


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; a last line cut off by a kill is left out.

    Raises:
        ValueError: a line before the last is not JSON.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines):
                shown = line[:80]
                raise ValueError(f"{path}, line {number}: no JSON object: {shown!r}") from None


def keep_old_log(log: Path, folder: Path) -> Path | None:
    """Copy a log before a run goes back behind its newest checkpoint and drops lines.

    Returns:
        The copy, named after the last step in it.
    """
    last_step = max((line["step"] for line in read_log(log)), default=0)
    copy = folder / f"log_until_step_{last_step:07d}.jsonl"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(log, copy)
    return copy


def flatten_numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Join nested names with slashes, numbers only, as trackers want them."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{prefix}{name}"] = value
    return flat


def _to_line(values: Mapping[str, Any]) -> str:
    return strict_json(_shorten(values)) + "\n"


def _shorten(value: Any) -> Any:
    """Shorten floats to nine digits, which tell every float32 from its neighbours."""
    if isinstance(value, Mapping):
        return {key: _shorten(each) for key, each in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value
