"""What is wrong with an archive for the server of FAIR1M: one xml file an image.

Source: result files of FAIR1M-2.0, see `fair1m_xml`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from defusedxml import DefusedXmlException, ElementTree

from mtp_hf.submissions.archives import name_problems, read_members
from mtp_hf.submissions.fair1m_xml import OFFICIAL_NAMES
from mtp_hf.submissions.places import Size, polygon_problem, read_numbers
from mtp_hf.submissions.writing import FAIR1M_FOLDER

NUM_POINTS = 5  # of a closed outline of four corners
KINDS = {"coordinate": "pixel", "type": "rectangle"}  # of every object


def fair1m_problems(
    path: Path, sizes: Mapping[str, Size] | None, counts: Counter[str]
) -> Iterator[str]:
    """List what is wrong.

    Args:
        path: of the archive.
        sizes: of the test images by name; None: not known.
        counts: gets what is in it.
    """
    members = read_members(path)
    if sizes is not None:
        names = [f"{FAIR1M_FOLDER}/{stem}.xml" for stem in sizes]
        yield from name_problems(members, names, f"not among the {len(names)} images")
    for name, content in members.items():
        place = PurePosixPath(name)
        if str(place.parent) != FAIR1M_FOLDER or place.suffix != ".xml":
            if sizes is None:
                yield f"{name}: unexpected; expected {FAIR1M_FOLDER}/<image>.xml"
        elif sizes is None or place.stem in sizes:
            counts["images"] += 1
            size = None if sizes is None else sizes[place.stem]
            found = _xml_problems(content, place.stem, size, counts)
            yield from (f"{name}: {problem}" for problem in found)
    if not members:
        yield "no file"


def _xml_problems(
    content: bytes, stem: str, size: Size | None, counts: Counter[str]
) -> Iterator[str]:
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        yield f"no xml: {error}"
        return
    if root.tag != "annotation":
        yield f"begins with {root.tag!r}; expected 'annotation'"
    file_name = root.findtext("source/filename")
    if not file_name:
        yield "source/filename is missing"
    elif PurePosixPath(file_name).stem != stem:
        yield f"source/filename is {file_name!r}; expected that of image {stem!r}"
    yield from _size_problems(root, size)
    if root.find("objects") is None:
        yield "objects is missing; expected it, also without an object"
    for number, node in enumerate(root.iterfind("objects/object"), start=1):
        counts["objects"] += 1
        yield from (f"object {number}: {problem}" for problem in _object_problems(node, size))


def _size_problems(root: Any, size: Size | None) -> Iterator[str]:
    found = tuple(root.findtext(f"size/{tag}") or "" for tag in ("width", "height"))
    wanted = found if size is None else (str(size[1]), str(size[0]))
    if found != wanted or not all(word.isdigit() for word in found):
        yield f"size is {' x '.join(found)!r}; expected {'numbers' if size is None else wanted}"


def _object_problems(node: Any, size: Size | None) -> Iterator[str]:
    for tag, expected in KINDS.items():
        if node.findtext(tag) != expected:
            yield f"{tag} {node.findtext(tag)!r}; expected {expected!r}"
    name = node.findtext("possibleresult/name")
    official = set(OFFICIAL_NAMES.values())
    if name not in official:
        yield f"class {name!r}; expected one of {', '.join(sorted(official))}"
    score = read_numbers([node.findtext("possibleresult/probability") or ""])
    if len(score) != 1 or not 0 <= score[0] <= 1:
        yield f"probability {node.findtext('possibleresult/probability')!r}"
    points = [
        read_numbers((point.text or "").split(",")) for point in node.iterfind("points/point")
    ]
    is_outline = len(points) == NUM_POINTS and all(len(point) == 2 for point in points)
    if not is_outline or points[0] != points[-1]:
        yield f"{len(points)} points; expected four corners x,y and the first again"
    elif problem := polygon_problem([x for point in points[:-1] for x in point], size):
        yield problem
