import json

import numpy as np
import pytest
from PIL import Image

from mtp_hf.visualize.loss_curves import plot_losses, read_curves, smooth


def line_of(step, value):
    losses = {
        "sota/ss/loss_segmentation": value,
        "sota/is/loss_mask": 2 * value,
        "sota/is/loss_rpn_box": value,
        "sior/rd/loss_box_reg": value,
    }
    return {"step": step, "losses": losses, "loss": 5 * value, "lr": 1.0e-4, "images_per_s": 3.0}


def write_log(path, lines, end=""):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + end)
    return path


def test_losses_of_a_task_are_summed_for_each_data_set():
    curves = read_curves([line_of(10, 1.0), line_of(20, 0.5)])
    assert curves == {
        "ss": {"sota": ([10, 20], [1.0, 0.5])},
        "is": {"sota": ([10, 20], [3.0, 1.5])},
        "rd": {"sior": ([10, 20], [1.0, 0.5])},
        "total": {"all losses": ([10, 20], [5.0, 2.5])},
        "lr": {"learning rate": ([10, 20], [1.0e-4, 1.0e-4])},
    }


def test_lines_of_validation_are_left_out():
    lines = [line_of(10, 1.0), {"step": 10, "metrics": {"sota/ss/miou": 0.5}}]
    assert read_curves(lines) == read_curves(lines[:1])


def test_data_sets_may_be_absent_from_some_lines():
    partial = line_of(20, 0.5)
    del partial["losses"]["sior/rd/loss_box_reg"]
    assert read_curves([line_of(10, 1.0), partial])["rd"]["sior"] == ([10], [1.0])


def test_null_is_undefined():
    assert np.isnan(read_curves([line_of(1, 1.0) | {"loss": None}])["total"]["all losses"][1][0])


def test_smoothing_by_hand():
    np.testing.assert_allclose(smooth([0.0, 3.0, 6.0, 3.0], 3), [1.5, 3.0, 4.0, 4.5])


def test_smoothing_keeps_constants_and_straight_lines_and_does_not_lag():
    np.testing.assert_allclose(smooth([2.0] * 9, 5), 2.0)
    np.testing.assert_allclose(smooth(list(range(20)), 5)[2:-2], np.arange(20)[2:-2])


def test_smoothing_passes_over_undefined_values():
    smoothed = smooth([1.0, np.nan, 3.0, np.nan, np.nan, np.nan], 3)
    np.testing.assert_allclose(smoothed, [1.0, 2.0, 3.0, 3.0, np.nan, np.nan])


def test_window_of_one_changes_nothing():
    assert smooth([1.0, 5.0], 1).tolist() == [1.0, 5.0]


def test_picture_shows_lines_in_their_colors(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [line_of(n, 1 / n) for n in range(1, 60)])
    out = plot_losses(log, tmp_path / "curves" / "losses.png")
    picture = np.asarray(Image.open(out).convert("RGB"))
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1000
    for color in ([0x00, 0x72, 0xB2], [0xD5, 0x5E, 0x00]):
        assert (picture == color).all(axis=-1).sum() > 50


def test_last_line_cut_short_is_left_out(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [line_of(1, 1.0)], end='{"step": 2, "lo')
    assert plot_losses(log, tmp_path / "losses.png").is_file()


def test_broken_line_in_the_middle_is_named(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("nonsense\n" + json.dumps(line_of(1, 1.0)) + "\n")
    with pytest.raises(ValueError, match="line 1.*nonsense"):
        plot_losses(log, tmp_path / "losses.png")


def test_log_without_losses_is_refused(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [{"step": 1, "metrics": {}}])
    with pytest.raises(ValueError, match="no line has losses"):
        plot_losses(log, tmp_path / "losses.png")


def test_undefined_losses_do_not_spoil_the_picture(tmp_path, recwarn):
    lines = [line_of(n, float("nan")) for n in range(3)] + [line_of(4, 1.0)]
    plot_losses(write_log(tmp_path / "log.jsonl", lines), tmp_path / "losses.png")
    assert not [warning for warning in recwarn if "nan" in str(warning.message).lower()]
