"""Curves of a run: losses of every task and data set, their total and the learning rate.

What is unusual: the curves are read from the run's log of JSON lines, `{"step": ..., "loss": ...,
"losses": {"dataset/task/loss": ...}, "lr": ...}`; other lines are left out. The raw values are
drawn pale behind the smoothed ones.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PANELS = {
    "ss": "semantic segmentation",
    "is": "instances",
    "rd": "rotated detection",
    "terms": "terms of the loss",
}
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

Curve = tuple[list[int], list[float]]


def read_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Gather what a log says about losses and rates.

    Args:
        lines: Lines of the log, in the order of steps.

    Returns:
        Panel -> name of the line -> (steps, values): for each task the sum of the losses of each
        data set, or `terms` with each loss of a run with one task; then `total` and `lr`.
        Undefined values are NaN.
    """
    curves: dict[str, dict[str, Curve]] = {task: {} for task in (*PANELS, "total", "lr")}
    for line in lines:
        sums: dict[tuple[str, str], float] = defaultdict(float)
        for name, value in line.get("losses", {}).items():
            if "/" in name:
                dataset, task, _ = name.split("/", 2)
                sums[task, dataset] += _number(value)
            else:  # of a run with one task
                sums["terms", name.removeprefix("loss_")] += _number(value)
        if "loss" in line:
            sums["total", "all losses"] = _number(line["loss"])
        if "lr" in line:
            sums["lr", "learning rate"] = _number(line["lr"])
        for (panel, name), value in sums.items():
            steps, values = curves.setdefault(panel, {}).setdefault(name, ([], []))
            steps.append(int(line["step"]))
            values.append(value)
    return {panel: named for panel, named in curves.items() if named}


def smooth(values: Sequence[float], width: int) -> np.ndarray:
    """Average over a centred window, which does not lag behind; NaN is passed over.

    Args:
        values: Values (N,).
        width: Odd number of values in the window; it is cut at both ends.

    Returns:
        The averages (N,), NaN where the window holds no value.
    """
    finite = np.isfinite(values)
    window = np.ones(width)
    half = width // 2
    total = np.convolve(np.where(finite, values, 0.0), window)[half : half + len(values)]
    count = np.convolve(finite, window)[half : half + len(values)]
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def plot_losses(jsonl_path: str | Path, out_png: str | Path, *, smoothing: float = 0.05) -> Path:
    """Draw the log of a run: a panel a task with a line a data set, the total, the rate.

    Args:
        jsonl_path: Log of JSON lines; a last line cut short is left out.
        out_png: Picture to write; its folder is made.
        smoothing: Width of the averaging window as a share of the curve, 0 to 1.

    Returns:
        The picture's path.

    Raises:
        ValueError: If the log has no line with losses.
    """
    curves = read_curves(_read_lines(Path(jsonl_path)))
    if not curves:
        raise ValueError(f"{jsonl_path}: no line has losses")
    names = sorted({name for panel in curves if panel in PANELS for name in curves[panel]})
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}
    num_columns = 2 if len(curves) in (2, 4) else min(3, len(curves))
    num_rows = -(-len(curves) // num_columns)
    figure = Figure(figsize=(5.2 * num_columns, 3.6 * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (panel, lines) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(num_rows, num_columns, index)
        _draw_panel(axes, panel, lines, colors=colors, smoothing=smoothing)
    out_png = Path(out_png)
    out_png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png, dpi=110)
    return out_png


def _draw_panel(
    axes: Axes,
    panel: str,
    lines: Mapping[str, Curve],
    *,
    colors: Mapping[str, str],
    smoothing: float,
) -> None:
    """Draw the lines of one panel with its labels."""
    tops = []
    for name, (steps, values) in sorted(lines.items()):
        color = colors.get(name, "#333333")
        if panel == "lr":
            axes.plot(steps, values, color=color, linewidth=1.5, label=name)
            continue
        averages = smooth(values, 2 * int(smoothing * len(values) / 2) + 1)
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=color, linewidth=0.8, alpha=0.3)
        axes.plot(steps, averages, color=color, linewidth=1.8, label=name, marker=marker)
        tops.append(np.nanpercentile(values, 99) if np.isfinite(values).any() else 0.0)
    axes.set_title({**PANELS, "total": "all tasks", "lr": "learning rate"}.get(panel, panel))
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate" if panel == "lr" else "loss (sum of terms)")
    axes.grid(alpha=0.25)
    axes.set_ylim(bottom=0)
    if tops and max(tops) > 0:
        axes.set_ylim(0, 1.1 * max(tops))  # rare spikes may leave the panel
    if len(lines) > 1:
        axes.legend(fontsize=9, frameon=False)


def _number(value: float | None) -> float:
    """Read a value of the log, where null stands for what is not finite."""
    return float("nan") if value is None else float(value)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; the last one may be cut short by the end of the run."""
    texts = path.read_text(encoding="utf-8").splitlines()
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError as error:
            if number < len(texts):
                raise ValueError(f"{path}, line {number}: not JSON: {text[:80]!r}") from error
    return lines
