"""Sheets of pictures: rows with a title, captions and a legend, one under the other."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from mtp_hf.visualize.drawing import Color, load_font

MARGIN_PX = 8
TITLE_PX = 24
TITLE_FONT_PX = 15
CAPTION_FONT_PX = 13


def lay_out_row(
    title: str,
    panels: Sequence[tuple[str, Image.Image]],
    legend: Image.Image | None = None,
    *,
    caption_colors: Sequence[Color] | None = None,
) -> Image.Image:
    """Put pictures side by side under their captions and a title, the legend at the right.

    Args:
        title: of the row; an empty one takes no room.
        panels: caption and picture of each column.
        legend: see above.
        caption_colors: one a column; default: black.
    """
    top = TITLE_PX * (2 if title else 1)
    height = max(picture.height for _, picture in panels)
    width = sum(picture.width + MARGIN_PX for _, picture in panels)
    if legend is not None:
        height, width = max(height, legend.height), width + legend.width
    row = Image.new("RGB", (width, top + height), "white")
    pen = ImageDraw.Draw(row)
    font = load_font(TITLE_FONT_PX)
    pen.text((0, TITLE_PX / 2), title, fill="black", font=font, anchor="lm")
    colors = caption_colors or [(0, 0, 0)] * len(panels)
    left = 0
    for (caption, picture), color in zip(panels, colors, strict=True):
        middle = (left, top - TITLE_PX / 2)
        pen.text(middle, caption, fill=color, font=load_font(CAPTION_FONT_PX), anchor="lm")
        row.paste(picture, (left, top))
        left += picture.width + MARGIN_PX
    if legend is not None:
        row.paste(legend, (left, top))
    return row


def stack_rows(rows: Sequence[Image.Image]) -> Image.Image:
    """Put rows of different widths under each other on white."""
    width = max(row.width for row in rows) + 2 * MARGIN_PX
    height = sum(row.height + 2 * MARGIN_PX for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    top = MARGIN_PX
    for row in rows:
        sheet.paste(row, (MARGIN_PX, top))
        top += row.height + 2 * MARGIN_PX
    return sheet
