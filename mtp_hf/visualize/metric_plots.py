"""Pictures of what was measured: confusion of classes, precision over recall, bars of classes.

Each function writes one PNG. Undefined values are left out or shown as missing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.loss_curves import COLORS

MAX_NUMBERS = 20  # classes up to which cells of the confusion are written out
DPI = 110


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str], out_png: str | Path) -> Path:
    """Draw which classes are taken for which, as shares of each labelled class.

    Args:
        confusion: Images (K, K), labels in rows, predictions in columns.
        class_names: K names.
        out_png: Picture to write.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    side = 2.2 + 0.42 * len(class_names)
    figure, axes = _figure(side + 0.8, side)
    shown = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    figure.colorbar(shown, ax=axes, fraction=0.045, label="share of the labelled class")
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names, rotation=90, fontsize=8)
    axes.set_yticks(ticks, class_names, fontsize=8)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if len(class_names) <= MAX_NUMBERS:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            ink = "black" if shares[row, column] > 0.6 else "white"
            text = str(confusion[row, column])
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
    return _save(figure, out_png)


def plot_precision_recall(
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    average_precisions: np.ndarray,
    class_names: Sequence[str],
    out_png: str | Path,
) -> Path:
    """Draw precision over recall at IoU 0.5, a line a class that has ground truth.

    Args:
        curves: For each class recalls (N,) and precisions (N,), empty where undefined.
        average_precisions: (K,), NaN where undefined.
        class_names: K names.
        out_png: Picture to write.
    """
    figure, axes = _figure(8.4, 5.0)
    palette = default_palette(len(class_names)) / 255
    order = np.argsort(-np.nan_to_num(average_precisions, nan=-1.0), kind="stable")
    for label in order:
        recalls, precisions = curves[label]
        if np.isnan(average_precisions[label]):
            continue
        name = f"{class_names[label]} {100 * average_precisions[label]:.1f}"
        axes.plot(recalls, precisions, color=palette[label], linewidth=1.5, label=name)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid(alpha=0.25)
    if axes.lines:
        columns = 1 + len(axes.lines) // 26
        axes.legend(
            title="AP50 in percent", fontsize=8, frameon=False, ncols=columns,
            loc="upper left", bbox_to_anchor=(1.01, 1.0),
        )  # fmt: skip
    return _save(figure, out_png)


def plot_class_bars(
    values: Mapping[str, np.ndarray], class_names: Sequence[str], out_png: str | Path
) -> Path:
    """Draw metrics of each class beside each other, with their means as dashed lines.

    Args:
        values: Heading -> fractions (K,), NaN where undefined.
        class_names: K names.
        out_png: Picture to write.
    """
    figure, axes = _figure(max(5.0, 2.5 + 0.8 * len(class_names)), 4.2)
    width = 0.8 / len(values)
    places = np.arange(len(class_names))
    for index, (heading, fractions) in enumerate(values.items()):
        percent = 100 * np.asarray(fractions, dtype=float)
        left = places - 0.4 + (index + 0.5) * width
        color = COLORS[index % len(COLORS)]
        bars = axes.bar(left, np.nan_to_num(percent), width, color=color, label=heading)
        texts = ["-" if np.isnan(value) else f"{value:.1f}" for value in percent]
        axes.bar_label(bars, texts, fontsize=7)
        if not np.isnan(percent).all():
            axes.axhline(float(np.nanmean(percent)), color=color, linestyle="--", linewidth=1)
    axes.set_xticks(places, class_names, rotation=30, ha="right")
    axes.set_ylim(0, 108)
    axes.set_ylabel("percent")
    axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _save(figure, out_png)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure: Figure, out_png: str | Path) -> Path:
    out_png = Path(out_png)
    figure.savefig(out_png, dpi=DPI)
    return out_png
