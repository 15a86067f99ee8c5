"""A contact sheet: rows of a data set drawn in a grid, with a legend of the classes that occur."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.datasets_command.families import Family
from mtp_hf.datasets_command.row_panels import Panels
from mtp_hf.datasets_command.source import read_rows
from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.drawing import load_font
from mtp_hf.visualize.samples import draw_legend

MARGIN_PX = 8
TITLE_PX = 22
FONT_PX = 14
SHAPE = 4 / 3  # width over height that a sheet comes near


def pick_rows(
    builder: FilesBuilder, records: Sequence[Any], num: int, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Choose rows by chance, from different records as far as there are enough.

    Args:
        builder: reads the records.
        records: of one split.
        num: rows to choose.
        seed: of the choice.

    Returns:
        The rows, and why records are left out (`on_error="skip"`).

    Raises:
        AnnotationError: a chosen record cannot be read.
    """
    draw = np.random.default_rng(seed)
    chosen: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    skipped: list[str] = []
    for index in draw.permutation(len(records)):
        rows, reason = read_rows(builder, records[index])
        skipped += [reason] if reason is not None else []
        if rows:
            chosen.append(rows.pop(int(draw.integers(len(rows)))))
            left += rows
        if len(chosen) == num:
            return chosen, skipped
    order = draw.permutation(len(left))[: num - len(chosen)]
    return chosen + [left[index] for index in order], skipped


def draw_sheet(rows: Sequence[Panels], family: Family, heading: str) -> Image.Image:
    """Lay drawn rows out in a grid.

    Args:
        rows: at least one.
        family: names the classes.
        heading: written above all.
    """
    cells = [_draw_cell(panels) for panels in rows]
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    columns = max(1, min(len(cells), round(math.sqrt(len(cells) * SHAPE * height / width))))
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in line) + MARGIN_PX for line in lines]
    classes = sorted(set().union(*(panels.classes for panels in rows)))
    palette = default_palette(len(family.class_names))
    legend = draw_legend([family.class_names[label] for label in classes], palette[classes])
    right = MARGIN_PX + columns * (width + MARGIN_PX)
    total = max(right + (legend.width + MARGIN_PX if classes else 0), _text_width(heading))
    top = TITLE_PX + MARGIN_PX
    tall = top + max(sum(heights), legend.height + MARGIN_PX)
    sheet = Image.new("RGB", (total, tall), "white")
    _write(sheet, heading, (MARGIN_PX, 0))
    sheet.paste(legend, (right, top))
    for line, line_height in zip(lines, heights, strict=True):
        for column, cell in enumerate(line):
            sheet.paste(cell, (MARGIN_PX + column * (width + MARGIN_PX), top))
        top += line_height
    return sheet


def _draw_cell(panels: Panels) -> Image.Image:
    """The pictures of one row side by side under its title."""
    gaps = MARGIN_PX // 2 * (len(panels.pictures) - 1)
    width = sum(picture.width for picture in panels.pictures) + gaps
    height = max(picture.height for picture in panels.pictures)
    cell = Image.new("RGB", (width, height + TITLE_PX), "white")
    for left, picture in zip(_lefts(panels.pictures), panels.pictures, strict=True):
        cell.paste(picture, (left, TITLE_PX))
    title = panels.title
    while title and _text_width(title) - 2 * MARGIN_PX > width:
        title = title[:-1]
    _write(cell, title, (0, 0))
    return cell


def _lefts(pictures: Sequence[Image.Image]) -> Iterator[int]:
    left = 0
    for picture in pictures:
        yield left
        left += picture.width + MARGIN_PX // 2


def _write(picture: Image.Image, text: str, corner: tuple[int, int]) -> None:
    middle = (corner[0], corner[1] + TITLE_PX / 2)
    pen = ImageDraw.Draw(picture)
    pen.text(middle, text, fill="black", font=load_font(FONT_PX), anchor="lm")


def _text_width(text: str) -> int:
    return math.ceil(load_font(FONT_PX).getlength(text)) + 2 * MARGIN_PX
