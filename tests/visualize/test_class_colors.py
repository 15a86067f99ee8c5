import numpy as np
import pytest

from mtp_hf.visualize.class_colors import BACKDROP, default_palette


def test_first_colors_do_not_depend_on_the_number_of_classes():
    np.testing.assert_array_equal(default_palette(37)[:5], default_palette(5))


@pytest.mark.parametrize(("number", "least"), [(12, 70), (37, 50)])
def test_colors_differ_clearly_from_each_other(number, least):
    colors = default_palette(number).astype(float)
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    distances[np.arange(number), np.arange(number)] = np.inf
    assert distances.min() >= least


def test_colors_differ_clearly_from_the_backdrop():
    colors, backdrop = default_palette(37).astype(float), np.array(BACKDROP)
    assert np.linalg.norm(colors[:, None] - backdrop[None], axis=-1).min() >= 40


def test_colors_are_bright_enough_for_lines():
    brightness = default_palette(37) @ np.array([0.299, 0.587, 0.114])
    assert brightness.min() > 60


def test_zero_classes_have_no_colors():
    assert default_palette(0).shape == (0, 3)


def test_palette_is_read_only_because_it_is_cached():
    with pytest.raises(ValueError, match="read-only"):
        default_palette(3)[0] = 0


@pytest.mark.parametrize("number", [-1, 101])
def test_numbers_out_of_range_are_refused(number):
    with pytest.raises(ValueError, match=str(number)):
        default_palette(number)
