"""Whether a test server will take a file: names, classes, numbers, and that the archive is safe.

All that is wrong is listed, up to a number that a reader can take in, not the first alone.

Source: rules of the servers of DOTA, FAIR1M and LoveDA as `submissions` describes them.
"""

import io
import json
import math
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from defusedxml import DefusedXmlException, ElementTree
from PIL import Image, UnidentifiedImageError

from mtp_hf.dataset_scripts._files import IMAGE_SUFFIXES, index_files
from mtp_hf.dataset_scripts.class_names import LOVEDA_CLASSES
from mtp_hf.datasets_command.pictures import read_header
from mtp_hf.submissions.fair1m_xml import OFFICIAL_NAMES
from mtp_hf.submissions.writing import DOTA_CLASSES, FAIR1M_FOLDER

MAX_SHOWN = 20
MAX_BYTES = 4 << 30  # of one unpacked file
NUM_POINTS = 5  # of a closed outline of four corners

Images = Mapping[str, str] | None  # stem -> path
Members = Mapping[str, bytes]


def check_submission(path: Path, kind: str, images: Path | None = None) -> str:
    """Check a file.

    Args:
        path: of the file.
        kind: of `CHECKS`.
        images: folder of the test images, whose names and sizes are compared.

    Returns:
        A line that says what is in it.

    Raises:
        ValueError: something is wrong, all of it in the message.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    known = index_files((str(images),), IMAGE_SUFFIXES) if images else None
    if known is not None and not known:
        raise ValueError(f"{images}: no image; expected those of the test set")
    counts: Counter[str] = Counter()
    problems = list(CHECKS[kind](path, known, counts))
    if problems:
        more = [f"... and {len(problems) - MAX_SHOWN} more"] * (len(problems) > MAX_SHOWN)
        lines = "\n  ".join([*problems[:MAX_SHOWN], *more])
        raise ValueError(f"{path}: {len(problems)} problems for format {kind}:\n  {lines}")
    words = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))
    return f"{path}: fine for format {kind}: {words}"


def read_members(path: Path) -> dict[str, bytes]:
    """Read the files of an archive that is safe to unpack.

    Raises:
        ValueError: it is damaged, or has names or kinds of members that no server should unpack.
    """
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                    raise ValueError(f"{path}: member {info.filename!r} leaves the archive")
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ValueError(f"{path}: member {info.filename!r} is a link")
                if info.filename in members:
                    raise ValueError(f"{path}: member {info.filename!r} is there twice")
                if info.file_size > MAX_BYTES:
                    raise ValueError(f"{path}: member {info.filename!r} has {info.file_size} bytes")
                if not info.is_dir():
                    members[info.filename] = archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path}: no whole zip archive: {error}") from None
    return members


def _check_dota(path: Path, images: Images, counts: Counter, *, task: int) -> Iterator[str]:
    members = read_members(path)
    prefix, num_values = f"Task{task}_", {1: 9, 2: 5}[task]
    expected = [{f"{prefix}{name}.txt" for name in classes} for classes in DOTA_CLASSES]
    if set(members) not in expected:
        wanted = min(expected, key=lambda each: len(each ^ set(members)))
        yield from (f"{name}: missing" for name in sorted(wanted - set(members)))
        yield from (
            f"{name}: unexpected; one file {prefix}<class>.txt a class, in no folder"
            for name in sorted(set(members) - wanted)
        )
    counts["classes"] = len(members)
    for name, content in members.items():
        if not name.startswith(prefix):
            continue  # told above
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            counts["objects"] += 1
            image_id, *words = line.split() or [""]
            values = _numbers(words)
            where = f"{name}, line {number}"
            if len(values) != num_values:
                yield f"{where}: found {line!r}; expected: image score and {num_values - 1} numbers"
            elif not 0 <= values[0] <= 1:
                yield f"{where}: score {values[0]}; expected 0 to 1"
            elif images is not None and image_id not in images:
                yield f"{where}: image {image_id!r} is not among the {len(images)} images"


def _check_fair1m(path: Path, images: Images, counts: Counter) -> Iterator[str]:
    members = read_members(path)
    names = {f"{FAIR1M_FOLDER}/{stem}.xml" for stem in images} if images is not None else None
    if names is not None:
        yield from (f"{name}: missing" for name in sorted(names - set(members)))
    for name, content in members.items():
        place = PurePosixPath(name)
        if str(place.parent) != FAIR1M_FOLDER or place.suffix != ".xml":
            yield f"{name}: unexpected; expected {FAIR1M_FOLDER}/<image>.xml"
        elif names is not None and name not in names:
            yield f"{name}: not among the {len(names)} images"
        else:
            counts["images"] += 1
            yield from (f"{name}: {problem}" for problem in _xml_problems(content, counts))
    if not members:
        yield "no file"


def _xml_problems(content: bytes, counts: Counter) -> Iterator[str]:
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        yield f"no xml: {error}"
        return
    if not root.findtext("source/filename"):
        yield "source/filename is missing"
    official = set(OFFICIAL_NAMES.values())
    for number, node in enumerate(root.iterfind("objects/object"), start=1):
        counts["objects"] += 1
        where = f"object {number}"
        name = node.findtext("possibleresult/name")
        if name not in official:
            yield f"{where}: class {name!r}; expected one of {', '.join(sorted(official))}"
        score = _numbers([node.findtext("possibleresult/probability") or ""])
        if len(score) != 1 or not 0 <= score[0] <= 1:
            yield f"{where}: probability {node.findtext('possibleresult/probability')!r}"
        points = [
            _numbers((point.text or "").split(",")) for point in node.iterfind("points/point")
        ]
        is_outline = len(points) == NUM_POINTS and all(len(point) == 2 for point in points)
        if not is_outline or points[0] != points[-1]:
            yield f"{where}: {len(points)} points; expected four corners x,y and the first again"


def _check_loveda(path: Path, images: Images, counts: Counter) -> Iterator[str]:
    members = read_members(path)
    names = {f"{stem}.png" for stem in images} if images is not None else None
    if names is not None:
        yield from (f"{name}: missing" for name in sorted(names - set(members)))
    for name, content in members.items():
        stem = name.removesuffix(".png")
        if stem == name or "/" in name or (names is None and not stem.isdigit()):
            yield f"{name}: unexpected; expected <number>.png, in no folder"
            continue
        if names is not None and name not in names:
            yield f"{name}: not among the {len(names)} images"
            continue
        counts["maps"] += 1
        size = None
        if images is not None:
            header = read_header(images[stem])
            size = (header.width, header.height)
        yield from (f"{name}: {problem}" for problem in _map_problems(content, size))
    if not members:
        yield "no file"


def _map_problems(content: bytes, size: tuple[int, int] | None) -> Iterator[str]:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        yield f"no picture: {error}"
        return
    if picture.mode != "L" or picture.format != "PNG":
        yield f"{picture.format} of mode {picture.mode!r}; expected png of 8-bit gray"
        return
    if size is not None and picture.size != size:
        yield f"{picture.width} x {picture.height}; the image has {size[0]} x {size[1]}"
    highest = len(LOVEDA_CLASSES) - 1
    if int(np.asarray(picture).max()) > highest:
        yield f"values up to {int(np.asarray(picture).max())}; expected 0 to {highest}"


def _check_coco(path: Path, images: Images, counts: Counter) -> Iterator[str]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no json: {error}") from None
    if not isinstance(results, list):
        yield f"found {type(results).__name__}; expected a list of results"
        return
    for number, each in enumerate(results):
        counts["objects"] += 1
        if not isinstance(each, dict):
            yield f"result {number}: found {each!r}; expected a mapping"
            continue
        box = _numbers(each.get("bbox") if isinstance(each.get("bbox"), list) else [])
        score, label = _numbers([each.get("score")]), each.get("category_id")
        if len(box) != 4 or min(box[2:]) < 0:
            yield f"result {number}: bbox {each.get('bbox')!r}; expected x, y, width, height"
        elif len(score) != 1 or not 0 <= score[0] <= 1:
            yield f"result {number}: score {each.get('score')!r}; expected 0 to 1"
        elif not isinstance(label, int) or label < 0:
            yield f"result {number}: category_id {label!r}; expected a number from 0"
        elif images is not None and str(each.get("image_id")) not in images:
            yield f"result {number}: image {each.get('image_id')!r} is not among the images"


def _numbers(words: object) -> list[float]:
    """Finite numbers; none where one of the words is not."""
    try:
        values = [float(word) for word in words]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return []
    return values if all(map(math.isfinite, values)) else []


Check = Callable[[Path, Images, Counter], Iterator[str]]


def _check_task1(path: Path, images: Images, counts: Counter) -> Iterator[str]:
    return _check_dota(path, images, counts, task=1)


def _check_task2(path: Path, images: Images, counts: Counter) -> Iterator[str]:
    return _check_dota(path, images, counts, task=2)


CHECKS: dict[str, Check] = {
    "dota_task1": _check_task1,
    "dota_task2": _check_task2,
    "fair1m": _check_fair1m,
    "loveda": _check_loveda,
    "coco": _check_coco,
}
