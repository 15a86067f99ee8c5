"""What is wrong with COCO results.

Source: COCO's results format.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts._readers import MAX_COORDINATE, read_json
from mtp_hf.submissions.coco_numbers import CocoNumbers
from mtp_hf.submissions.places import distance_problem


def coco_problems(path: Path, known: CocoNumbers | None, counts: Counter[str]) -> Iterator[str]:
    """List what is wrong.

    Args:
        path: of the json file.
        known: numbers of images and classes; None: any.
        counts: gets what is in it.
    """
    results = read_json(path)
    if not isinstance(results, list):
        yield f"found {type(results).__name__}; expected a list of results"
        return
    images = None if known is None else set(known.images.values())
    for number, each in enumerate(results):
        counts["objects"] += 1
        if not isinstance(each, dict):
            yield f"result {number}: found {each!r}; expected a mapping"
        elif problem := _value_problem(each) or _number_problem(each, known, images):
            yield f"result {number}: {problem}"


def _value_problem(result: Mapping[str, Any]) -> str | None:
    box, score, label = (result.get(key) for key in ("bbox", "score", "category_id"))
    is_box = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    if not is_box or min(box[2:]) < 0:  # type: ignore[index]
        return f"bbox {box!r}; expected x, y, width, height"
    if not _is_number(score) or not 0 <= score <= 1:  # type: ignore[operator]
        return f"score {score!r}; expected 0 to 1"
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        return f"category_id {label!r}; expected a number from 0"
    return None


def _number_problem(
    result: Mapping[str, Any], known: CocoNumbers | None, images: set | None
) -> str | None:
    """Say what image or class a result has that is not known; and where its box cannot be."""
    image, label = result.get("image_id"), result["category_id"]
    if not isinstance(image, int | str) or isinstance(image, bool):
        return f"image_id {image!r}; expected a number"
    if known is None or images is None:
        return None
    if image not in images:
        counted = ", which count from 0" * known.is_counted
        return f"image {image!r} is not among the {len(images)} images of {known.origin}{counted}"
    if known.categories and label not in known.categories.values():
        numbers = ", ".join(map(str, sorted(known.categories.values())))
        return f"category_id {label}; expected one of {numbers}"
    x, y, width, height = result["bbox"]
    size = known.sizes.get(image)
    return None if size is None else distance_problem([x, y, x + width, y + height], size)


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    return is_plain and abs(value) < MAX_COORDINATE  # no NaN either
