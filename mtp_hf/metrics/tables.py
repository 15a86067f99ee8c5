"""Metrics as text: the table of classes for the log, and flat names for the curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Task, key in `per_class`, heading, whether it is a fraction (shown in percent).
COLUMNS = (
    ("is", "num_gts", "objects", False),
    ("is", "num_detections", "detections", False),
    ("is", "box_ap50", "AP50 box", True),
    ("is", "mask_ap50", "AP50 mask", True),
    ("rd", "num_gts", "rotated objects", False),
    ("rd", "num_detections", "rotated detections", False),
    ("rd", "ap50", "AP50 rotated", True),
    ("ss", "iou", "IoU", True),
)


def format_table(class_names: Sequence[str], metrics: Mapping[str, Any]) -> str:
    """Write the metrics of each class of a data set as aligned columns.

    Args:
        class_names: K names, without background.
        metrics: Results of tasks, of `ss`, `is` and `rd`; tasks that are absent have no columns.
            Per-class arrays hold K values, those of `ss` K + 1 with background first.

    Returns:
        Lines of text: a heading, a line a class and the sums (counts) or means of the defined
        values (percent). An undefined value is `-`.
    """
    is_map = "ss" in metrics
    names = ["background", *class_names] if is_map else list(class_names)
    columns = []
    for task, key, heading, is_fraction in COLUMNS:
        if task in metrics:
            values = np.asarray(metrics[task]["per_class"][key], dtype=float)
            columns.append((heading, values, is_fraction))
    return format_columns(names, columns)


def format_columns(names: Sequence[str], columns: Sequence[tuple[str, np.ndarray, bool]]) -> str:
    """Write per-class values as aligned columns.

    Args:
        names: Of the classes.
        columns: Heading, values of the last classes (those before have an empty cell), and
            whether they are fractions, shown in percent.

    Returns:
        Lines of text: a heading, a line a class and the sums (counts) or means of the defined
        values. An undefined value is `-`.
    """
    rows = [["class", *(heading for heading, _, _ in columns)]]
    rows += [[name] for name in [*names, "all"]]
    for _, values, is_fraction in columns:
        values = np.asarray(values, dtype=float)
        defined = values[~np.isnan(values)]
        total = defined.sum() if not is_fraction else defined.mean() if defined.size else np.nan
        padding = [None] * (len(names) - len(values))
        for row, value in zip(rows[1:], [*padding, *values, total], strict=True):
            row.append("" if value is None else _format_value(value, is_fraction))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def flatten_metrics(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Join the names of nested scalar metrics with slashes, as the log names them.

    Args:
        metrics: Nested dicts; tables and per-class arrays are left out.
        prefix: Put before every name.

    Returns:
        For example `{"sior/is/box_ap50": 0.41, "pooled/ss/miou": 0.63}`.
    """
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            if name not in ("per_class", "tables"):
                flat |= flatten_metrics(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            flat[f"{prefix}{name}"] = value
    return flat


def _format_value(value: float, is_fraction: bool) -> str:
    """Write a percentage with two digits or a count, `-` where undefined."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:.2f}" if is_fraction else f"{value:.0f}"
