"""Detections in the text files of DOTA's Task 1 as the xml files that the FAIR1M server takes.

One file `Task1_<class>.txt` a class, a line an object: `image score x1 y1 ... x4 y4`. Every test
image gets an xml file, also without an object. Class names are written as FAIR1M spells them:
blanks between words, but `other-airplane`, `other-ship` and `other-vehicle` with hyphens.

Source: the result script of MTP. Differs: it turns the hyphens of `other-*` into blanks too.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from mtp_hf.dataset_scripts.class_names import FAST_CLASSES, normalize_class_name
from mtp_hf.datasets_command.conversion import replace_text
from mtp_hf.datasets_command.pictures import read_header
from mtp_hf.pipelines.picture_folders import index_picture_stems

# Spelling without hyphens, blanks and case -> official spelling.
OFFICIAL_NAMES = {
    normalize_class_name(name): name if name.startswith("other-") else name.replace("-", " ")
    for name in FAST_CLASSES
}
TEAM = {"provider": "mtp_hf", "author": "mtp_hf"}
TEAM_OF_MTP = {"provider": "WHU", "author": "SIGMA_dw"}
RESEARCH = {
    "version": "2.0",
    **TEAM,
    "pluginname": "FAIR1M",
    "pluginclass": "object detection",
    "time": "2024-02",
}
ORIGIN = "GF2/GF3"
ID_PREFIX = "test_"  # of ids in rows

Detection = tuple[str, str, list[float]]  # official name, score as written, 8 coordinates


def export_fair1m_xml(texts: Path, images: Path, out: Path) -> str:
    """Write `out/test/<image>.xml` for every image, as MTP's script does, its team included.

    Args:
        texts: folder of `Task1_<class>.txt`.
        images: folder of the test images, also in folders below it.
        out: folder that gets `test`, which is zipped for the server.

    Returns:
        A line that says how much was written.

    Raises:
        ValueError: a class, an image or a number that cannot be, with file and line.
        FileNotFoundError: there is no text file or no image.
    """
    files = sorted(texts.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{texts}: no text file; expected Task1_<class>.txt")
    pictures = index_picture_stems(images)
    if not pictures:
        raise FileNotFoundError(f"{images}: no image; expected those of the test set")
    found: dict[str, list[Detection]] = defaultdict(list)
    for file in files:
        for image_id, detection in _read_detections(file, pictures):
            found[image_id].append(detection)
    (out / "test").mkdir(parents=True, exist_ok=True)
    for image_id, path in pictures.items():
        header = read_header(path)
        size = (header.height, header.width)
        text = fair1m_xml(Path(path).name, size, found[image_id], TEAM_OF_MTP)
        replace_text(out / "test" / f"{image_id}.xml", text)
    num_objects = sum(map(len, found.values()))
    return f"{out / 'test'}: {len(pictures):,} files, {num_objects:,} objects"


def fair1m_xml(
    file_name: str,
    size: tuple[int, int],
    detections: list[Detection],
    team: Mapping[str, str] = TEAM,
) -> str:
    """The xml of one image.

    Args:
        file_name: of the image.
        size: its height and width.
        detections: what was found in it.
        team: `provider` and `author`.
    """
    root = ElementTree.Element("annotation")
    source = ElementTree.SubElement(root, "source")
    _add(source, {"filename": file_name, "origin": ORIGIN})
    _add(ElementTree.SubElement(root, "research"), RESEARCH | {**team})
    sides = ElementTree.SubElement(root, "size")
    height, width = map(str, size)
    _add(sides, {"width": width, "height": height, "depth": "3"})
    objects = ElementTree.SubElement(root, "objects")
    for name, score, polygon in detections:
        node = ElementTree.SubElement(objects, "object")
        _add(node, {"coordinate": "pixel", "type": "rectangle", "description": "None"})
        result = ElementTree.SubElement(node, "possibleresult")
        _add(result, {"name": name, "probability": score})
        points = ElementTree.SubElement(node, "points")
        for x, y in zip(polygon[0::2] + polygon[:1], polygon[1::2] + polygon[1:2], strict=True):
            ElementTree.SubElement(points, "point").text = f"{x:.6f},{y:.6f}"
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def official_name(file: Path) -> str:
    """Class of a text file, `Task1_Small-Car.txt`, as FAIR1M spells it.

    It is what follows the last underscore, or an earlier one where they stand for blanks.

    Raises:
        ValueError: it is none of the 37 classes.
    """
    parts = file.stem.split("_")
    words = ["_".join(parts[start:]) for start in range(1, len(parts))]
    found = (OFFICIAL_NAMES.get(normalize_class_name(word)) for word in words)
    name = next(filter(None, found), None)
    if name is None:
        word = words[-1] if words else ""
        expected = f"Task1_<class>.txt with one of {', '.join(FAST_CLASSES)}"
        raise ValueError(f"{file}: class {word!r}; expected {expected}")
    return name


def _read_detections(file: Path, pictures: dict[str, str]) -> list[tuple[str, Detection]]:
    name = official_name(file)
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{file}, line {number}"
        try:
            values = [float(word) for word in words[1:]]
        except ValueError:
            values = []
        if len(values) != 9 or not all(map(math.isfinite, values)):
            raise ValueError(f"{where}: found {line!r}; expected: image score x1 y1 ... x4 y4")
        image_id = words[0] if words[0] in pictures else words[0].removeprefix(ID_PREFIX)
        if image_id not in pictures:
            raise ValueError(f"{where}: image {words[0]!r} is not among the {len(pictures)} images")
        found.append((image_id, (name, words[1], values[1:])))
    return found


def _add(parent: ElementTree.Element, texts: dict[str, str]) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text
