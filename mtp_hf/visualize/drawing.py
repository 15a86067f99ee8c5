"""The strokes that pictures of samples are made of: overlays, boxes, turned boxes, names.

What is unusual: maps and masks keep the resolution of the image, while the picture is an integer
`scale` times larger, so that lines stay thin and names stay legible on images of 128 pixels.
Names are written last and only where they cover no other name.

Letters: S the scale.
"""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mtp_hf.modeling.ops_rotated_boxes import rotated_boxes_to_polygons

LINE_WIDTH_PX = 2
FRONT_WIDTH_PX = 5
FONT_SIZE_PX = 12

Color = tuple[int, int, int]


def enlarge(image: np.ndarray, scale: int) -> Image.Image:
    """Make the canvas: the image, S times larger.

    Args:
        image: uint8 (3, H, W).
        scale: S, at least 1.

    Returns:
        RGB picture of H * S by W * S pixels.
    """
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    size = (picture.width * scale, picture.height * scale)
    return picture.resize(size, Image.Resampling.BICUBIC) if scale > 1 else picture


def overlay_semantic_map(
    picture: Image.Image, semantic_map: np.ndarray, palette: np.ndarray, *, alpha: float
) -> Image.Image:
    """Tint the classes of a map; background (0) stays clear and ignored pixels (255) go dark.

    Args:
        picture: Canvas, S times larger than the map.
        semantic_map: Integers (H, W) of 0 (background), 1..K, 255 (ignored).
        palette: uint8 (K, 3), of the classes without background.
        alpha: Opacity.

    Returns:
        The tinted picture.
    """
    colors = np.zeros((256, 4), dtype=np.uint8)
    colors[1 : len(palette) + 1, :3] = palette
    colors[1 : len(palette) + 1, 3] = colors[255, 3] = round(255 * alpha)
    return _paste(picture, colors[semantic_map])


def overlay_masks(
    picture: Image.Image, masks: np.ndarray, colors: list[Color], *, alpha: float
) -> Image.Image:
    """Tint masks and draw their outlines; later ones cover earlier ones.

    Args:
        picture: Canvas, S times larger than the masks.
        masks: bool (N, H, W).
        colors: One colour a mask.
        alpha: Opacity inside the outlines.

    Returns:
        The tinted picture.
    """
    if len(masks) == 0:
        return picture
    numbers = np.zeros(masks.shape[1:], dtype=np.int64)
    for number, mask in enumerate(masks, start=1):
        numbers[mask] = number
    scale = picture.height // masks.shape[1]
    numbers = numbers.repeat(scale, axis=0).repeat(scale, axis=1)  # (H, W) -> (H * S, W * S)
    edge = np.zeros(numbers.shape, dtype=bool)
    across, along = numbers[1:] != numbers[:-1], numbers[:, 1:] != numbers[:, :-1]
    edge[1:] |= across
    edge[:-1] |= across
    edge[:, 1:] |= along
    edge[:, :-1] |= along
    table = np.array([(0, 0, 0), *colors], dtype=np.uint8)
    opacity = np.where(numbers > 0, np.where(edge, 255, round(255 * alpha)), 0).astype(np.uint8)
    return _paste(picture, np.dstack([table[numbers], opacity]))


def draw_boxes(
    picture: Image.Image,
    boxes: np.ndarray,
    colors: list[Color],
    *,
    scale: int,
    width: int = LINE_WIDTH_PX,
) -> list[tuple[float, float]]:
    """Draw upright boxes in place.

    Args:
        picture: Canvas.
        boxes: x1 y1 x2 y2 (N, 4) in pixels of the image.
        colors: One colour a box.
        scale: S.
        width: Of the lines in pixels.

    Returns:
        Where a name of each box may stand on: its upper left corner in pixels of the picture.
    """
    pen = ImageDraw.Draw(picture)
    corners = []
    for box, color in zip(boxes, colors, strict=True):
        left, top, right, bottom = (float(value) * scale for value in box)
        right, bottom = max(left, right - 1), max(top, bottom - 1)
        pen.rectangle((left, top, right, bottom), outline=color, width=width)
        corners.append((left, top))
    return corners


def draw_rotated_boxes(
    picture: Image.Image, rotated_boxes: np.ndarray, colors: list[Color], *, scale: int
) -> list[tuple[float, float]]:
    """Draw turned boxes in place, the side that the angle points to as a thick line.

    Args:
        picture: Canvas.
        rotated_boxes: cx cy w h angle (N, 5) in pixels of the image.
        colors: One colour a box.
        scale: S.

    Returns:
        Where a name of each box may stand on: its highest corner in pixels of the picture.
    """
    polygons = rotated_boxes_to_polygons(torch.from_numpy(rotated_boxes)).numpy() * scale
    return draw_polygons(picture, polygons, colors)  # corners 1 and 2: end of +w


def draw_polygons(
    picture: Image.Image,
    polygons: np.ndarray,
    colors: list[Color],
    *,
    width: int = LINE_WIDTH_PX,
    front_width: int = FRONT_WIDTH_PX,
) -> list[tuple[float, float]]:
    """Draw polygons of four corners in place, the side from the first corner as a thick line.

    Args:
        picture: Canvas.
        polygons: x1 y1 ... x4 y4 (N, 8) in pixels of the picture.
        colors: One colour a polygon.
        width: Of the lines in pixels.
        front_width: Of the first side.

    Returns:
        Where a name of each polygon may stand on: its highest corner.
    """
    pen = ImageDraw.Draw(picture)
    corners = []
    for polygon, color in zip(polygons.reshape(-1, 4, 2), colors, strict=True):
        points = [(float(x), float(y)) for x, y in polygon]
        pen.line([*points, points[0]], fill=color, width=width, joint="curve")
        pen.line(points[:2], fill=color, width=front_width)
        corners.append(min(points, key=lambda point: point[1]))
    return corners


class NamePlates:
    """Write names beside objects, where there is room.

    Args:
        picture: Canvas, drawn upon in place.
    """

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture
        self.font = load_font()
        self.taken: list[tuple[float, float, float, float]] = []

    def write(self, text: str, corner: tuple[float, float], color: Color) -> bool:
        """Write a name above a corner, else inside, else at the left, else not at all.

        Args:
            text: The name.
            corner: x, y in pixels of the picture.
            color: Colour of the plate; the letters are black or white.

        Returns:
            Whether there was room.
        """
        width = math.ceil(self.font.getlength(text)) + 4
        height = FONT_SIZE_PX + 4
        x, y = corner
        for left, top in ((x, y - height), (x, y), (x - width, y - height), (x - width, y)):
            left = min(max(0.0, left), self.picture.width - width)
            top = min(max(0.0, top), self.picture.height - height)
            place = (left, top, left + width, top + height)
            if not any(_overlap(place, other) for other in self.taken):
                self.taken.append(place)
                pen = ImageDraw.Draw(self.picture)
                pen.rectangle((left, top, left + width - 1, top + height - 1), fill=color)
                middle = (left + 2, top + height / 2)
                pen.text(middle, text, fill=ink_on(color), font=self.font, anchor="lm")
                return True
        return False


def load_font(size: int = FONT_SIZE_PX) -> ImageFont.FreeTypeFont:
    """Load the font that comes with Pillow.

    Args:
        size: Height in pixels.

    Returns:
        The font.
    """
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def ink_on(color: Color) -> Color:
    """Choose black or white letters, whichever is easier to read.

    Args:
        color: Colour of the ground.

    Returns:
        Black or white.
    """
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def _paste(picture: Image.Image, overlay: np.ndarray) -> Image.Image:
    """Lay colours with opacity (H, W, 4) over a canvas of the same or a larger size."""
    layer = Image.fromarray(overlay, "RGBA").resize(picture.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Tell whether two rectangles (left, top, right, bottom) share an area."""
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
