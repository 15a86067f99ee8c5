"""The log of a run: one JSON object per line, and the same numbers for Accelerate's trackers.

A line is `{"step": ..., "losses": {name: value}, ...}` for a logging interval and `{"step": ...,
"metrics": {name: value}}` for a validation. Names of losses are the model's own. A run that goes on
from a checkpoint drops the lines after that step, so that no step is in the file twice.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator


class RunLog:
    """Write the log of a run on the main process; elsewhere do nothing.

    Args:
        path: the JSONL file; its folder exists.
        accelerator: says which process this is, and owns the trackers.
        resume_step: keep the lines up to this step (0: start an empty file).
    """

    def __init__(self, path: Path, accelerator: Accelerator, resume_step: int = 0) -> None:
        self.path = path
        self.accelerator = accelerator
        if accelerator.is_main_process:
            kept = [line for line in read_log(path) if line["step"] <= resume_step and resume_step]
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(_to_line(line) for line in kept), encoding="utf-8")
            temporary.replace(path)

    def write(self, step: int, **values: Any) -> None:
        """Append one line for a step, at once on disk, and hand its numbers to the trackers."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_to_line({"step": step, **values}))
        self.accelerator.log(flatten_numbers(values), step=step)


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
    return json.dumps(_strict(values), allow_nan=False) + "\n"


def _strict(value: Any) -> Any:
    """Replace NaN and infinity, which JSON has no word for, by null; shorten floats."""
    if isinstance(value, Mapping):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value
