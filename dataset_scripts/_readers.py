"""Read images' headers, lists, text and json files as they are on disk into plain values.

Every function takes a path and returns Python values; nothing is clipped, sorted or dropped.
Whatever a file holds that it should not is an `AnnotationError` that says which file, which row,
what was found and what was expected. The xml dialects are in `_annotations_xml`.

Source: file formats of DOTA (text) and COCO (json).
"""

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from mtp_hf.dataset_scripts._errors import AnnotationError, naming_absent
from mtp_hf.dataset_scripts._files import PICTURE_SUFFIXES

TEXT_HEADERS = ("imagesource:", "gsd:", "acquisition")
SHORTEST_OBJECT = 9  # words: four corners and a name
NUMBERS_ONLY = (9, 10)  # words of an object without letters
DIFFICULTIES = (0, 1, 2)  # 2: cut by the border of a tile
MAX_COORDINATE = 1e7  # pixels; no image is that large, and float32 still tells neighbours apart
# Last bytes of a whole file. Some writers add bytes after them, so the tail is searched.
IMAGE_ENDS = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
TAIL_BYTES = 512
MAX_PIXELS = 1_000_000_000  # the largest published pictures have half as many
TIFF_PLACES = ((273, 279), (324, 325))  # tags of where strips or tiles begin, and their lengths
TIFF_BITS, TIFF_BANDS, TIFF_FORMAT = 258, 277, 339  # tags
UNSIGNED = 1  # of TIFF_FORMAT
ORIENTATION, UPRIGHT = 274, 1  # tag of EXIF and its usual value
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height
PICTURE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")
MOST_BITS, MOST_BANDS = 8, 4  # of a picture that is shown as it is


class ImageHeader(NamedTuple):
    """What the head of an image file says.

    Attributes:
        height: rows of the picture as it is shown, that is, turned by its EXIF orientation.
        width: columns of it.
        is_plain: whether its pixels are shown as they are: upright, of 8 bits, 4 bands at most.
    """

    height: int
    width: int
    is_plain: bool


class BoxRecord(NamedTuple):
    """One horizontal object: x1, y1, x2, y2 in pixels; `row` says where it stands."""

    row: str
    box: list[float]
    name: str
    difficult: int


class PolygonRecord(NamedTuple):
    """One rotated object: 8 coordinates in pixels, corner order as annotated."""

    row: str
    polygon: list[float]
    name: str
    difficult: int
    label: int | None


class OrientedFile(NamedTuple):
    """Rotated objects of one image, and what the file says about the image."""

    records: list[PolygonRecord]
    image_source: str | None = None
    gsd: float | None = None  # metres a pixel


def read_image_list(path: str | Path) -> list[str]:
    """Read image stems, one a line; blank lines and image extensions are dropped.

    Raises:
        AnnotationError: the list is empty or names an image twice.
    """
    stems: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        stem = line.strip()
        if stem.lower().endswith(PICTURE_SUFFIXES):
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


def read_image_size(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width as shown, from the header.

    Raises:
        AnnotationError: the file is no image, is cut short, or claims more than `max_pixels`.
        MissingFileError: it is not there.
    """
    header = read_image_header(path, max_pixels)
    if header is None:
        raise AnnotationError(f"{path}: the image file is no image (cannot identify image file)")
    return header.height, header.width


def read_image_header(path: str | Path, max_pixels: int = MAX_PIXELS) -> ImageHeader | None:
    """What the header says, None if Pillow knows no such file.

    A file that stops early is decoded to make sure.

    Raises:
        AnnotationError: the file is cut short, or claims more than `max_pixels`.
        MissingFileError: it is not there.
    """
    try:
        with (
            naming_absent(path),
            open(path, "rb") as file,
            no_limit_of_pillow(),
            Image.open(file) as image,
        ):
            width, height = image.size
            if width * height > max_pixels:
                raise AnnotationError(
                    f"{path}: the image claims {width} x {height} pixels; expected at most "
                    f"max_pixels={max_pixels}, which guards against decompression bombs"
                )
            if not _is_whole(file, image):
                with Image.open(path) as whole:
                    whole.load()
            orientation = read_orientation(image)
            if orientation in SIDEWAYS:
                width, height = height, width
            return ImageHeader(height, width, orientation == UPRIGHT and _is_plain(image))
    except AnnotationError:
        raise
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise AnnotationError(f"{path}: the image file is damaged or cut short ({error})") from None


def read_polygon_text(path: str | Path) -> list[PolygonRecord]:
    """Read `x1 y1 x2 y2 x3 y3 x4 y4 name [number]` lines; header lines of DOTA are skipped.

    The tenth column is returned as `label` and means what the dataset says it means. A line of
    words, less than an object has, is a header that we do not know.

    Differs: a short line with a number in it is refused. The published rule drops it, and with it
    an object that was cut off.

    Raises:
        AnnotationError: a line has no name, a broken number or a polygon without four corners.
    """
    records = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        tokens = line.split()
        if tokens and not _is_header(tokens):
            records.append(_polygon_line(f"{path}, line {number}", tokens))
    return records


def read_dota_text(path: str | Path) -> OrientedFile:
    """Read a label file of DOTA: objects, whose tenth column is the difficulty, and its header.

    What is a header is decided as in `read_polygon_text`.

    Raises:
        AnnotationError: a line has no name, a broken number or a polygon without four corners.
    """
    records, header = [], {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        tokens = line.split()
        if tokens and _is_header(tokens):
            name, _, value = line.strip().partition(":")
            header[name.lower()] = value.strip()
        elif tokens:
            record = _polygon_line(f"{path}, line {number}", tokens)
            difficult = record.label or 0
            if difficult not in DIFFICULTIES:
                raise AnnotationError(
                    f"{record.row}: the tenth column is {difficult}; expected a difficulty, "
                    "0 or 1, or 2 for an object that a tile cuts"
                )
            records.append(record._replace(difficult=difficult))
    source, gsd = header.get("imagesource", ""), parse_number(header.get("gsd", ""))
    return OrientedFile(
        records,
        source if source.lower() not in ("", "none", "null") else None,
        gsd if gsd is not None and math.isfinite(gsd) else None,
    )


def read_coco_json(path: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Group the annotations of a COCO file by the stem of the image they belong to.

    Every annotation gets a `category_name`; images without annotations have an empty list.

    Raises:
        AnnotationError: the file is no COCO json, or an annotation names an unknown image or class.
    """
    content = read_json(path)
    try:
        stems = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        groups: dict[str, list[dict[str, Any]]] = {stem: [] for stem in stems.values()}
        for annotation in content.get("annotations", []):
            annotation["category_name"] = names[annotation["category_id"]]
            groups[stems[annotation["image_id"]]].append(annotation)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path}: not a COCO file, or an annotation names an image or category that the file "
            f"does not list ({type(error).__name__}: {error})"
        ) from None
    return groups


def read_json(path: str | Path, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """Read a json file in any encoding of Unicode.

    Raises:
        AnnotationError: it is none, or is nested too deeply.
    """
    with naming_absent(path):
        content = Path(path).read_bytes()
    try:
        return json.loads(content, object_hook=object_hook)
    except ValueError as error:  # no json, no Unicode, or a number of thousands of digits
        raise AnnotationError(f"{path}: not a readable json file ({error})") from None
    except RecursionError:
        raise AnnotationError(f"{path}: not a readable json file (nested too deeply)") from None


def check_coordinates(coordinates: list[float], row: str) -> None:
    """Refuse coordinates that are not finite or lie farther away than any image is large.

    Raises:
        AnnotationError: naming the object and its coordinates.
    """
    if not all(-MAX_COORDINATE < value < MAX_COORDINATE for value in coordinates):  # NaN too
        raise AnnotationError(
            f"{row}: a coordinate is not finite or beyond {MAX_COORDINATE:g} pixels: {coordinates}"
        )


def read_text(path: str | Path) -> str:
    """Text of a file in UTF-8.

    Raises:
        AnnotationError: it is no text.
        MissingFileError: it is not there.
    """
    try:
        with naming_absent(path):
            return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not a text file ({error})") from None


def parse_number(token: str) -> float | None:
    """The number a word is, None if it is none; it may still be infinite."""
    try:
        # Python alone reads 1_0 as ten, and digits of other scripts.
        return float(token) if token.isascii() and "_" not in token else None
    except ValueError:
        return None


def read_orientation(image: Image.Image) -> int:
    """How who opens an image turns it; Pillow itself turns a TIFF."""
    if image.format == "TIFF":
        return UPRIGHT
    # The method of a PNG would decode it to look behind its pixels.
    return Image.Image.getexif(image).get(ORIENTATION) or UPRIGHT


@contextlib.contextmanager
def no_limit_of_pillow() -> Iterator[None]:
    """Pillow's own limit is below the largest pictures of DOTA; ours is checked instead."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _is_whole(file: BinaryIO, image: Image.Image) -> bool:
    """False where the file ends before its picture does, as far as that shows."""
    size = file.seek(0, 2)
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    for starts, lengths in TIFF_PLACES:
        places = zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)
        if any(start + length > size for start, length in places):
            return False
    file.seek(max(0, size - TAIL_BYTES))
    return IMAGE_ENDS.get(image.format or "", b"") in file.read()


def _is_plain(image: Image.Image) -> bool:
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        is_unsigned = set(tags.get(TIFF_FORMAT, ())) <= {UNSIGNED}
        has_few_bits = max(tags.get(TIFF_BITS, (1,))) <= MOST_BITS
        return is_unsigned and has_few_bits and tags.get(TIFF_BANDS, 1) <= MOST_BANDS
    # A PNG of 16-bit colours has the mode RGB, but unpacks from "RGB;16B".
    return image.mode in PICTURE_MODES and ";16" not in str(getattr(image, "tile", ""))


def _is_header(tokens: list[str]) -> bool:
    is_short = len(tokens) < SHORTEST_OBJECT and all(parse_number(t) is None for t in tokens)
    return is_short or tokens[0].lower().startswith(TEXT_HEADERS)


def _polygon_line(row: str, tokens: list[str]) -> PolygonRecord:
    numbers = (parse_number(token) for token in tokens)
    coordinates = [
        n for n in itertools.takewhile(lambda n: n is not None, numbers) if n is not None
    ]
    check_coordinates(coordinates, row)
    if len(coordinates) > 8 and coordinates[:2] == coordinates[-2:]:  # ring closed by its start
        coordinates = coordinates[:-2]
        tokens = tokens[2:]
    elif len(tokens) == len(coordinates) in NUMBERS_ONLY:  # the class is called by a number
        coordinates = coordinates[:8]
    if len(coordinates) != 8:
        raise AnnotationError(
            f"{row}: the polygon has {len(coordinates) / 2:g} corners; expected 4, that is "
            f"8 numbers before the class name, found {' '.join(tokens)!r}"
        )
    rest = tokens[8:]
    if not rest:
        raise AnnotationError(f"{row}: the class name after the 8 coordinates is missing")
    label = parse_number(rest[-1]) if len(rest) > 1 else None
    if label is None:
        return PolygonRecord(row, coordinates, " ".join(rest), 0, None)
    if not label.is_integer():
        raise AnnotationError(f"{row}: the tenth column is {rest[-1]!r}; expected an integer")
    return PolygonRecord(row, coordinates, " ".join(rest[:-1]), 0, int(label))
