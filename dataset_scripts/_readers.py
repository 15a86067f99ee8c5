"""Read annotation files as they are on disk into plain lists and dicts.

Every function takes a path and returns Python values; nothing is clipped, sorted or dropped.
Whatever a file holds that it should not is an `AnnotationError` that says which file, which row,
what was found and what was expected.

Source: file formats of DOTA (text), Pascal VOC with the DIOR-R additions (xml), COCO (json).
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException
from PIL import Image, UnidentifiedImageError

TEXT_HEADERS = ("imagesource:", "gsd:", "acquisition")
XML_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
# Last bytes of a whole file. Some writers add bytes after them, so the tail is searched.
IMAGE_ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
TAIL_BYTES = 512


class AnnotationError(ValueError):
    """A dataset file whose content cannot be right; the message names the file and the field."""


class PolygonRecord(NamedTuple):
    """One rotated object: 8 coordinates in pixels, corner order as annotated."""

    row: str
    polygon: list[float]
    name: str
    difficult: int
    label: int | None


def read_image_list(path: str | Path) -> list[str]:
    """Read image stems, one a line; blank lines and image extensions are dropped.

    Raises:
        AnnotationError: the list is empty or names an image twice.
    """
    stems: dict[str, int] = {}
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        stem = line.strip()
        if stem.lower().endswith((".png", ".jpg", ".jpeg", ".tif")):
            stem = stem.rpartition(".")[0]
        if stem in stems:
            raise AnnotationError(
                f"{path}, line {number}: image {stem!r} is listed twice, first in line "
                f"{stems[stem]}; expected every image once"
            )
        if stem:
            stems[stem] = number
    if not stems:
        raise AnnotationError(f"{path}: the list is empty; expected one image stem a line")
    return list(stems)


def read_image_size(path: str | Path) -> tuple[int, int]:
    """Height and width from the header; a file that stops early is decoded to make sure.

    Raises:
        AnnotationError: the file is no image, or is cut short.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            width, height = image.size
            end = IMAGE_ENDS.get(image.format or "", b"")
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            if end not in file.read():
                with Image.open(path) as whole:
                    whole.load()
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        kind = "no image" if isinstance(error, UnidentifiedImageError) else "damaged or cut short"
        raise AnnotationError(f"{path}: the image file is {kind} ({error})") from None
    return height, width


def read_polygon_text(path: str | Path) -> list[PolygonRecord]:
    """Read `x1 y1 x2 y2 x3 y3 x4 y4 name [number]` lines; header lines of DOTA are skipped.

    The tenth column is returned as `label` and means what the dataset says it means.

    Raises:
        AnnotationError: a line has no name, a broken number or a polygon without four corners.
    """
    records = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        tokens = line.split()
        if tokens and not line.strip().lower().startswith(TEXT_HEADERS):
            records.append(_polygon_line(f"{path}, line {number}", tokens))
    return records


def read_oriented_xml(path: str | Path) -> list[PolygonRecord]:
    """Read the objects of a DIOR-R file; one that has only a `bndbox` becomes its four corners.

    Raises:
        AnnotationError: the file is no xml, or an object lacks its name or coordinates.
    """
    try:
        root = defusedxml.ElementTree.fromstring(Path(path).read_bytes())
    except (ParseError, DefusedXmlException, LookupError, UnicodeError) as error:
        raise AnnotationError(f"{path}: not a readable xml file ({error})") from None
    records = []
    for index, node in enumerate(root.iter("object")):
        row = f"{path}, object {index}"
        name = (node.findtext("name") or "").strip()
        if not name:
            raise AnnotationError(f"{row}: field 'name' is missing; expected a class name")
        difficult = (
            int(_xml_number(node, "difficult", row)) if node.find("difficult") is not None else 0
        )
        records.append(PolygonRecord(row, _xml_polygon(node, row), name, difficult, None))
    return records


def read_coco_json(path: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Group the annotations of a COCO file by the stem of the image they belong to.

    Every annotation gets a `category_name`; images without annotations have an empty list.

    Raises:
        AnnotationError: the file is no COCO json, or an annotation names an unknown image or class.
    """
    try:
        content = json.loads(_read_text(path))
        stems = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        groups: dict[str, list[dict[str, Any]]] = {stem: [] for stem in stems.values()}
        for annotation in content.get("annotations", []):
            annotation["category_name"] = names[annotation["category_id"]]
            groups[stems[annotation["image_id"]]].append(annotation)
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{path}: not a readable json file ({error})") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: not a COCO file, or an annotation names an image or category that the file "
            f"does not list ({type(error).__name__}: {error})"
        ) from None
    return groups


def _read_text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not a text file ({error})") from None


def _number(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None


def _polygon_line(row: str, tokens: list[str]) -> PolygonRecord:
    numbers = (_number(token) for token in tokens)
    coordinates = [
        n for n in itertools.takewhile(lambda n: n is not None, numbers) if n is not None
    ]
    if not all(map(math.isfinite, coordinates)):
        raise AnnotationError(f"{row}: a coordinate is not finite: {' '.join(tokens)!r}")
    if len(coordinates) > 8 and coordinates[:2] == coordinates[-2:]:  # ring closed by its start
        coordinates = coordinates[:-2]
        tokens = tokens[2:]
    if len(coordinates) != 8:
        raise AnnotationError(
            f"{row}: the polygon has {len(coordinates) / 2:g} corners; expected 4, that is "
            f"8 numbers before the class name, found {' '.join(tokens)!r}"
        )
    rest = tokens[8:]
    if not rest:
        raise AnnotationError(f"{row}: the class name after the 8 coordinates is missing")
    label = _number(rest[-1]) if len(rest) > 1 else None
    if label is None:
        return PolygonRecord(row, coordinates, " ".join(rest), 0, None)
    if not label.is_integer():
        raise AnnotationError(f"{row}: the tenth column is {rest[-1]!r}; expected an integer")
    return PolygonRecord(row, coordinates, " ".join(rest[:-1]), 0, int(label))


def _xml_number(node: Element, field: str, row: str) -> float:
    value = _number(node.findtext(field) or "")
    if value is None or not math.isfinite(value):
        raise AnnotationError(
            f"{row}: field {field!r} is {node.findtext(field)!r}; expected a number"
        )
    return value


def _xml_polygon(node: Element, row: str) -> list[float]:
    # bool(element) is False without children, so elements are compared with None.
    box = node.find("robndbox") if node.find("robndbox") is not None else node.find("bndbox")
    if box is None:
        raise AnnotationError(f"{row}: neither 'robndbox' nor 'bndbox'; expected one of them")
    if box.find("xmin") is not None:  # some files write the plain box under either name
        left, top, right, bottom = (
            _xml_number(box, field, row) for field in ("xmin", "ymin", "xmax", "ymax")
        )
        return [left, top, right, top, right, bottom, left, bottom]
    fields = [f"{axis}_{corner}" for corner in XML_CORNERS for axis in "xy"]
    missing = [field for field in fields if box.find(field) is None]
    if missing:
        raise AnnotationError(
            f"{row}: the polygon has {(8 - len(missing)) / 2:g} corners; expected 4, "
            f"{', '.join(missing)} missing"
        )
    return [_xml_number(box, field, row) for field in fields]
