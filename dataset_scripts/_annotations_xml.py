"""Read the xml dialects of detection: Pascal VOC, DIOR-R and FAIR1M.

As in `_readers`, every function takes a path and returns Python values; nothing is clipped, sorted
or dropped, and whatever cannot be right is an `AnnotationError` that names file, object and field.
Entities and outside references are refused.

Source: file formats of Pascal VOC as DIOR uses it, DIOR-R (`robndbox`) and FAIR1M (`points`).
"""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from mtp_hf.dataset_scripts._errors import AnnotationError, naming_absent
from mtp_hf.dataset_scripts._readers import (
    DIFFICULTIES,
    BoxRecord,
    OrientedFile,
    PolygonRecord,
    check_coordinates,
    parse_number,
)

XML_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
CORNER_FIELDS = [f"{axis}_{corner}" for corner in XML_CORNERS for axis in "xy"]
BOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")
NOT_TOLD = ("", "unspecified")  # words for a difficulty that nobody judged
BOX_NAMES = ("robndbox", "bndbox")


def read_voc_xml(path: str | Path) -> list[BoxRecord]:
    """Read the horizontal boxes of a Pascal VOC file; a few of DIOR call the box `robndbox`.

    Raises:
        AnnotationError: the file is no such xml, or an object lacks its name or coordinates.
    """
    records = []
    for row, node in _objects(path):
        box = _box_node(node, row)
        if box.find(BOX_FIELDS[0]) is None and box.find(CORNER_FIELDS[0]) is not None:
            raise AnnotationError(
                f"{row}: a rotated box of four corners; expected {', '.join(BOX_FIELDS)}"
            )
        records.append(
            BoxRecord(row, _plain_box(box, row), _name(node, row), _difficult(node, row))
        )
    return records


def read_oriented_xml(path: str | Path) -> list[PolygonRecord]:
    """Read the objects of a DIOR-R file; one that has only a `bndbox` becomes its four corners.

    Raises:
        AnnotationError: the file is no such xml, or an object lacks its name or coordinates.
    """
    return [
        PolygonRecord(row, _polygon(node, row), _name(node, row), _difficult(node, row), None)
        for row, node in _objects(path)
    ]


def read_fair1m_xml(path: str | Path) -> OrientedFile:
    """Read the objects of a FAIR1M file, whose fifth corner repeats the first, and its satellite.

    Raises:
        AnnotationError: the file is no such xml, or an object lacks its name or four corners.
    """
    root = _read_root(path)
    origin = (root.findtext("source/origin") or "").strip()
    records = []
    for row, node in _objects(path, root):
        unit = (node.findtext("coordinate") or "pixel").strip()
        if unit != "pixel":
            raise AnnotationError(f"{row}: field 'coordinate' is {unit!r}; expected 'pixel'")
        result = node.find("possibleresult")
        if result is None:
            raise AnnotationError(f"{row}: field 'possibleresult' is missing; expected a class")
        records.append(PolygonRecord(row, _points(node, row), _name(result, row), 0, None))
    return OrientedFile(records, origin or None)


def _read_root(path: str | Path) -> Element:
    with naming_absent(path):
        content = Path(path).read_bytes()
    try:
        root = defusedxml.ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise AnnotationError(f"{path}: not a readable xml file ({error})") from None
    if root.tag != "annotation":
        raise AnnotationError(f"{path}: the outer element is {root.tag!r}; expected 'annotation'")
    return root


def _objects(path: str | Path, root: Element | None = None) -> list[tuple[str, Element]]:
    """Every object with the words that name it in a message."""
    root = _read_root(path) if root is None else root
    return [(f"{path}, object {index}", node) for index, node in enumerate(root.iter("object"))]


def _name(node: Element, row: str) -> str:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise AnnotationError(f"{row}: field 'name' is missing; expected a class name")
    return name


def _difficult(node: Element, row: str) -> int:
    if (node.findtext("difficult") or "").strip().lower() in NOT_TOLD:
        return 0
    value = _number(node, "difficult", row)
    if value not in DIFFICULTIES:
        raise AnnotationError(f"{row}: field 'difficult' is {value:g}; expected 0 or 1")
    return int(value)


def _number(node: Element, field: str, row: str) -> float:
    value = parse_number(node.findtext(field) or "")
    if value is None:
        raise AnnotationError(
            f"{row}: field {field!r} is {node.findtext(field)!r}; expected a number"
        )
    return value


def _box_node(node: Element, row: str) -> Element:
    # bool(element) is False without children, so elements are compared with None.
    found = [box for name in BOX_NAMES if (box := node.find(name)) is not None]
    if not found:
        raise AnnotationError(f"{row}: neither 'robndbox' nor 'bndbox'; expected one of them")
    return found[0]


def _plain_box(box: Element, row: str) -> list[float]:
    corners = [_number(box, field, row) for field in BOX_FIELDS]
    check_coordinates(corners, row)
    left, top, right, bottom = corners
    if right < left or bottom < top:
        raise AnnotationError(
            f"{row}: the box {corners} ends before it starts; expected {', '.join(BOX_FIELDS)}"
        )
    return corners


def _polygon(node: Element, row: str) -> list[float]:
    box = _box_node(node, row)
    if box.find(BOX_FIELDS[0]) is not None:  # some files write the plain box under either name
        left, top, right, bottom = _plain_box(box, row)
        return [left, top, right, top, right, bottom, left, bottom]
    missing = [field for field in CORNER_FIELDS if box.find(field) is None]
    if missing:
        raise AnnotationError(
            f"{row}: the polygon has {(8 - len(missing)) / 2:g} corners; expected 4, "
            f"{', '.join(missing)} missing"
        )
    polygon = [_number(box, field, row) for field in CORNER_FIELDS]
    check_coordinates(polygon, row)
    return polygon


def _points(node: Element, row: str) -> list[float]:
    polygon: list[float] = []
    for index, point in enumerate(node.iterfind("points/point")):
        numbers = [parse_number(token) for token in (point.text or "").split(",")]
        if len(numbers) != 2 or None in numbers:
            raise AnnotationError(f"{row}: point {index} is {point.text!r}; expected 'x,y'")
        polygon += [number for number in numbers if number is not None]
    check_coordinates(polygon, row)
    if len(polygon) == 10 and polygon[:2] == polygon[-2:]:
        polygon = polygon[:-2]
    if len(polygon) != 8:
        raise AnnotationError(
            f"{row}: the polygon has {len(polygon) // 2} corners; expected 4, or 5 of which the "
            "last is the first"
        )
    return polygon
