"""Claims about sheets of pictures."""

import numpy as np
from PIL import Image

from mtp_hf.visualize.sheets import MARGIN_PX, TITLE_PX, lay_out_row, stack_rows

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _picture(width, height, color=RED):
    return Image.new("RGB", (width, height), color)


def test_a_row_has_its_pictures_under_title_and_captions():
    row = lay_out_row("title", [("one", _picture(40, 30)), ("two", _picture(20, 50, BLUE))])
    assert row.size == (40 + 20 + 2 * MARGIN_PX, 2 * TITLE_PX + 50)
    assert row.getpixel((0, 2 * TITLE_PX)) == RED
    assert row.getpixel((40 + MARGIN_PX, 2 * TITLE_PX)) == BLUE
    assert row.getpixel((0, 2 * TITLE_PX + 30)) == (255, 255, 255)  # below the shorter one
    heading = np.asarray(row)[: 2 * TITLE_PX]
    assert (heading.min(axis=-1) < 128).any()


def test_a_row_without_title_is_lower_and_a_caption_may_have_a_colour():
    row = lay_out_row("", [("word", _picture(60, 30))], caption_colors=[BLUE])
    assert row.height == TITLE_PX + 30
    caption = np.asarray(row)[:TITLE_PX].reshape(-1, 3)
    assert (caption == BLUE).all(axis=1).any()


def test_a_tall_legend_stands_at_the_right():
    row = lay_out_row("t", [("a", _picture(40, 30))], _picture(10, 90, BLUE))
    assert row.size == (40 + MARGIN_PX + 10, 2 * TITLE_PX + 90)
    assert row.getpixel((40 + MARGIN_PX, 2 * TITLE_PX + 89)) == BLUE


def test_rows_of_different_widths_lie_under_each_other():
    sheet = stack_rows([_picture(40, 30), _picture(20, 10, BLUE)])
    assert sheet.size == (40 + 2 * MARGIN_PX, 30 + 10 + 4 * MARGIN_PX)
    assert sheet.getpixel((MARGIN_PX, MARGIN_PX)) == RED
    assert sheet.getpixel((MARGIN_PX, MARGIN_PX + 30 + 2 * MARGIN_PX)) == BLUE
