"""Whether a test server will take a file: names, classes, numbers, and that the archive is safe.

All that is wrong is listed, up to a number that a reader can take in, not the first alone.

Source: rules of the servers of DOTA, FAIR1M and LoveDA as `writing` describes them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts._readers import read_image_size
from mtp_hf.pipelines.picture_folders import index_picture_stems, index_pictures
from mtp_hf.submissions.coco_check import coco_problems
from mtp_hf.submissions.coco_numbers import CocoNumbers, read_coco_numbers
from mtp_hf.submissions.dota_check import dota_problems
from mtp_hf.submissions.fair1m_check import fair1m_problems
from mtp_hf.submissions.loveda_check import loveda_problems
from mtp_hf.submissions.places import Size

MAX_SHOWN = 20


def check_submission(
    path: Path, kind: str, images: Path | None = None, annotations: Path | None = None
) -> str:
    """Check a file.

    Args:
        path: of the file.
        kind: of `CHECKS`.
        images: folder of the test images, also in folders below it, whose names and sizes are
            compared.
        annotations: COCO file whose images and categories are compared; for `coco`.

    Returns:
        A line that says what is in it.

    Raises:
        ValueError: something is wrong, all of it in the message.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if annotations is not None and kind != "coco":
        raise ValueError(f"{annotations}: format {kind} has no annotations; expected images")
    counts: Counter[str] = Counter()
    if kind == "coco":
        known: Any = _coco_numbers(images, annotations)
    else:
        known = None if images is None else _picture_sizes(index_picture_stems(images), images)
    problems = list(CHECKS[kind](path, known, counts))
    if problems:
        more = [f"... and {len(problems) - MAX_SHOWN} more"] * (len(problems) > MAX_SHOWN)
        lines = "\n  ".join([*problems[:MAX_SHOWN], *more])
        raise ValueError(f"{path}: {len(problems)} problems for format {kind}:\n  {lines}")
    words = ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))
    return f"{path}: fine for format {kind}: {words}"


def _picture_sizes(pictures: dict[str, str], folder: Path) -> dict[str, Size]:
    if not pictures:
        raise ValueError(f"{folder}: no image; expected those of the test set")
    return {name: read_image_size(path) for name, path in pictures.items()}


def _coco_numbers(images: Path | None, annotations: Path | None) -> CocoNumbers | None:
    """Numbers of a file, or of images that count from 0."""
    if annotations is not None:
        return read_coco_numbers(annotations)
    if images is None:
        return None
    sizes = _picture_sizes(index_pictures(images), images)
    return CocoNumbers(
        origin=str(images),
        images={name: number for number, name in enumerate(sizes)},
        sizes=dict(enumerate(sizes.values())),
        categories={},
        is_counted=True,
    )


Check = Callable[[Path, Any, Counter[str]], Iterator[str]]

CHECKS: dict[str, Check] = {
    "dota_task1": partial(dota_problems, task=1),
    "dota_task2": partial(dota_problems, task=2),
    "fair1m": fair1m_problems,
    "loveda": loveda_problems,
    "coco": coco_problems,
}
