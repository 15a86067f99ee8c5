"""Read label files of YOLO: boxes and rotated boxes in shares of the picture's size.

    class cx cy w h                          horizontal
    class x1 y1 x2 y2 x3 y3 x4 y4            rotated

Classes are numbers from 0. Coordinates run from 0 to 1; rounding may carry them a little beyond.

Source: label formats of Ultralytics YOLO (detect and obb).
"""

from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    BoxRecord,
    PolygonRecord,
    parse_number,
    read_text,
)

BEYOND = 0.01  # what rounding and clipping of other programs leave outside 0...1
FORMATS = {5: "class cx cy w h", 9: "class x1 y1 x2 y2 x3 y3 x4 y4"}
OTHER = {5: "horizontal boxes, format 'yolo'", 9: "rotated boxes, format 'yolo_obb'"}


def read_yolo_boxes(path: str, size: tuple[int, int], class_names: list[str]) -> list[BoxRecord]:
    """Horizontal objects, in pixels of a picture of this height and width.

    Raises:
        AnnotationError: a line is none, is not in shares of the picture, or has no such class.
    """
    height, width = size
    records = []
    for row, name, (cx, cy, w, h) in _read_lines(path, 5, class_names):
        if w < 0 or h < 0:
            raise AnnotationError(f"{row}: width {w:g} and height {h:g}; expected 0 to 1")
        left, top = (cx - w / 2) * width, (cy - h / 2) * height
        right, bottom = (cx + w / 2) * width, (cy + h / 2) * height
        records.append(BoxRecord(row, [left, top, right, bottom], name, 0))
    return records


def read_yolo_polygons(
    path: str, size: tuple[int, int], class_names: list[str]
) -> list[PolygonRecord]:
    """Rotated objects, in pixels of a picture of this height and width.

    Raises:
        AnnotationError: a line is none, is not in shares of the picture, or has no such class.
    """
    height, width = size
    return [
        PolygonRecord(row, [v * s for v, s in zip(shares, (width, height) * 4, strict=True)],
                      name, 0, None)
        for row, name, shares in _read_lines(path, 9, class_names)
    ]  # fmt: skip


def _read_lines(
    path: str, num_values: int, class_names: list[str]
) -> list[tuple[str, str, list[float]]]:
    """Where a line stands, its class and its coordinates."""
    lines = read_text(path).splitlines()
    rows = [(f"{path}, line {n}", line.split()) for n, line in enumerate(lines, start=1)]
    return [_parse_line(row, tokens, num_values, class_names) for row, tokens in rows if tokens]


def _parse_line(
    row: str, tokens: list[str], num_values: int, class_names: list[str]
) -> tuple[str, str, list[float]]:
    if len(tokens) != num_values:
        hint = f", which are {OTHER[len(tokens)]}" if len(tokens) in OTHER else ""
        raise AnnotationError(
            f"{row}: {len(tokens)} values{hint}; expected {num_values}: {FORMATS[num_values]}"
        )
    label, *shares = (parse_number(token) for token in tokens)
    if label is None or not 0 <= label < len(class_names) or not label.is_integer():
        raise AnnotationError(
            f"{row}: class {tokens[0]!r}; expected an integer from 0 to {len(class_names) - 1}"
        )
    wrong = [
        token
        for token, share in zip(tokens[1:], shares, strict=True)
        if share is None or not -BEYOND <= share <= 1 + BEYOND
    ]
    if wrong:
        raise AnnotationError(
            f"{row}: coordinate {wrong[0]!r}; expected shares of the picture's width and height, "
            "0 to 1 (pixels are not)"
        )
    return row, class_names[int(label)], [share for share in shares if share is not None]
