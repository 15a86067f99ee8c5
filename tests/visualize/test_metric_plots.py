"""Claims about pictures of what was measured."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mtp_hf.visualize import metric_plots
from mtp_hf.visualize.metric_plots import plot_class_bars, plot_confusion, plot_precision_recall


@pytest.fixture
def axes(monkeypatch):
    """The first axes of the figure that was written last."""
    figures = []
    save = Figure.savefig

    def remember(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return lambda: figures[-1].axes[0]


def test_the_confusion_shows_counts_and_shares_of_the_labelled_class(tmp_path, axes):
    confusion = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    file = plot_confusion(confusion, ["a", "b", "c"], tmp_path / "confusion.png")
    assert Image.open(file).size[0] > 200
    assert sorted(text.get_text() for text in axes().texts) == ["1", "2", "3"]
    shares = np.asarray(axes().images[0].get_array().filled(-1.0))
    np.testing.assert_allclose(shares[:2], [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0]])
    assert (shares[2] == -1.0).all() or np.isnan(shares[2]).all()  # no image of the class
    assert axes().get_xlabel() == "prediction"


def test_of_many_classes_the_confusion_has_no_numbers(tmp_path, axes):
    many = metric_plots.MAX_NUMBERS + 1
    plot_confusion(np.eye(many, dtype=int), [str(n) for n in range(many)], tmp_path / "c.png")
    assert len(axes().texts) == 0


def test_curves_of_classes_with_ground_truth_are_drawn_best_first(tmp_path, axes):
    empty = (np.zeros(0), np.zeros(0))
    curves = [
        (np.array([0.0, 0.5]), np.array([1.0, 0.5])),
        empty,
        (np.array([0.0, 1.0]), np.array([1.0, 0.9])),
    ]
    averages = np.array([0.4, np.nan, 0.95])
    plot_precision_recall(curves, averages, ["ship", "dam", "court"], tmp_path / "curves.png")
    assert [line.get_label() for line in axes().lines] == ["court 95.0", "ship 40.0"]
    np.testing.assert_array_equal(axes().lines[1].get_ydata(), [1.0, 0.5])


def test_without_any_ground_truth_the_axes_stay_empty(tmp_path, axes):
    curves = [(np.zeros(0), np.zeros(0))]
    file = plot_precision_recall(curves, np.array([np.nan]), ["ship"], tmp_path / "curves.png")
    assert file.is_file()
    assert len(axes().lines) == 0


def test_bars_of_undefined_values_are_marked_and_do_not_count_in_the_mean(tmp_path, axes):
    values = {"IoU": np.array([0.5, 0.25]), "F1": np.array([0.6, np.nan])}
    plot_class_bars(values, ["road", "water"], tmp_path / "bars.png")
    texts = [text.get_text() for text in axes().texts]
    assert texts == ["50.0", "25.0", "60.0", "-"]
    assert [line.get_ydata()[0] for line in axes().lines] == pytest.approx([37.5, 60.0])
    assert [bar.get_height() for bar in axes().patches] == pytest.approx([50.0, 25.0, 60.0, 0.0])
