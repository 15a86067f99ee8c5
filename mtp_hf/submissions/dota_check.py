"""What is wrong with an archive for the server of DOTA: one text file a class.

Source: result files of the DOTA development kit.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtp_hf.pipelines.picture_folders import SUFFIXES
from mtp_hf.submissions.archives import name_problems, read_members
from mtp_hf.submissions.places import Size, box_problem, polygon_problem, read_numbers
from mtp_hf.submissions.writing import DOTA_CLASSES

NUM_VALUES = {1: 9, 2: 5}  # of a line after the image: score, then four corners or two
TILE = re.compile(r"__\d+__")  # in names of tiles, which nobody merged


def dota_problems(
    path: Path, sizes: Mapping[str, Size] | None, counts: Counter[str], *, task: int
) -> Iterator[str]:
    """List what is wrong.

    Args:
        path: of the archive.
        sizes: of the test images by name; None: not known.
        counts: gets what is in it.
        task: 1, rotated boxes, or 2, their hulls.
    """
    members = read_members(path)
    prefix = f"Task{task}_"
    releases = [{f"{prefix}{name}.txt" for name in classes} for classes in DOTA_CLASSES]
    nearest = min(releases, key=lambda names: len(names ^ set(members)))
    hint = f"unexpected; one file {prefix}<class>.txt a class, in no folder"
    yield from name_problems(members, nearest, hint)
    counts["classes"] = len(members)
    for name, content in members.items():
        if not name.startswith(prefix):
            continue  # told above
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            counts["objects"] += 1
            problem = _line_problem(line, sizes, NUM_VALUES[task])
            if problem:
                yield f"{name}, line {number}: {problem}"


def _line_problem(line: str, sizes: Mapping[str, Size] | None, num_values: int) -> str | None:
    image_id, *words = line.split() or [""]
    values = read_numbers(words)
    if len(values) != num_values:
        return f"found {line!r}; expected: image score and {num_values - 1} numbers"
    score, *place = values
    if not 0 <= score <= 1:
        return f"score {score}; expected 0 to 1"
    if sizes is not None and image_id not in sizes:
        return f"image {image_id!r} is not among the {len(sizes)} images"
    if sizes is None and (TILE.search(image_id) or image_id.lower().endswith(SUFFIXES)):
        return f"image {image_id!r}: expected the name of a whole image without suffix"
    return _place_problem(place, None if sizes is None else sizes[image_id])


def _place_problem(place: Sequence[float], size: Size | None) -> str | None:
    return polygon_problem(place, size) if len(place) == 8 else box_problem(place, size)
