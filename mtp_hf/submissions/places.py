"""Numbers and places of objects as files for test servers have them: are they possible?

Sizes are (height, width).
"""

import math
from collections.abc import Sequence

Size = tuple[int, int]

FAR = 1.0  # sides of an image that a box may lie beside it: what is found on padding is no mistake
MIN_AREA = 1e-5  # square pixels; corners have two decimals, so the next area is five times that


def read_numbers(words: Sequence[str]) -> list[float]:
    """Finite numbers; none where one of the words is not."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    is_plain = not any("_" in word for word in words)  # Python takes 1_0
    return values if is_plain and all(map(math.isfinite, values)) else []


def hull_of(polygon: Sequence[float]) -> list[float]:
    """Smallest upright box around corners, x1 y1 x2 y2."""
    xs, ys = polygon[0::2], polygon[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def area_of(polygon: Sequence[float]) -> float:
    """Area inside an outline of corners x y."""
    xs = [x - polygon[0] for x in polygon[0::2]]
    ys = [y - polygon[1] for y in polygon[1::2]]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def box_problem(box: Sequence[float], size: Size | None) -> str | None:
    """Say what is wrong with x1 y1 x2 y2; None: nothing.

    Args:
        box: of an object.
        size: of its image; None: not known.
    """
    if box[2] <= box[0] or box[3] <= box[1]:
        return f"box {_shown(box)}; expected x1 < x2 and y1 < y2"
    return None if size is None else distance_problem(box, size)


def distance_problem(box: Sequence[float], size: Size) -> str | None:
    """Say whether x1 y1 x2 y2 lies too far from an image to be of it; None: it does not."""
    height, width = size
    x, y = FAR * width, FAR * height
    if box[2] < -x or box[0] > width + x or box[3] < -y or box[1] > height + y:
        return f"box {_shown(box)} lies far from the image of {width} x {height} pixels"
    return None


def polygon_problem(polygon: Sequence[float], size: Size | None) -> str | None:
    """Say what is wrong with four corners; arguments as `box_problem`."""
    if area_of(polygon) < MIN_AREA:
        return f"corners {_shown(polygon)} have no area"
    return box_problem(hull_of(polygon), size)


def _shown(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
