"""Files that test servers take, made of predictions: DOTA, FAIR1M, LoveDA, and COCO results.

A prediction of an image is a record: `image_id`, `file_name`, `width`, `height`, and either
`objects`, each with `label`, `score` and `polygon` (8 numbers) or `bbox` (x, y, width, height), or
`map`, the file of a png whose pixels are class numbers.

Differs: scores have six decimals, so that the server ranks them as they were; the original writes
two (quirk 43), and hyphens of `other-*` stay in the names of FAIR1M.

Servers know an image by the name of its file without folders and suffix.

Source: result files of the DOTA development kit; MTP's scripts for FAIR1M and LoveDA (spec 4.5).
"""

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts.class_names import DOTA_V2_CLASSES, FAST_CLASSES, LOVEDA_CLASSES
from mtp_hf.dataset_scripts.class_names import normalize_class_name as spelling
from mtp_hf.submissions.coco_numbers import (
    CocoNumbers,
    count_from_zero,
    path_of,
    write_coco_numbers,
)
from mtp_hf.submissions.fair1m_xml import OFFICIAL_NAMES, fair1m_xml
from mtp_hf.submissions.places import hull_of

Record = Mapping[str, Any]

# Releases 1.0, 1.5 and 2.0.
DOTA_CLASSES = tuple(tuple(DOTA_V2_CLASSES[:count]) for count in (15, 16, 18))
FAIR1M_FOLDER = "test"
COCO_RESULTS, COCO_NUMBERS = "coco_results.json", "coco_images.json"
# Task -> what its predictions have.
NEEDED = {
    "horizontal_detection": "bbox",
    "rotated_detection": "polygon",
    "semantic_segmentation": "map",
}
DOTA_TASKS = {"dota_task1.zip": "Task1", "dota_task2.zip": "Task2"}
_DATE = (1980, 1, 1, 0, 0, 0)  # of files in archives: equal predictions give equal files


def check_format(kind: str, task: str, class_names: Sequence[str]) -> None:
    """Check that a format takes what a model finds.

    Args:
        kind: of `FORMATS`.
        task: of the model.
        class_names: K names of the model, in label order.

    Raises:
        ValueError: it takes other classes, or another task.
    """
    classes = FORMATS[kind].classes
    spelled = [[spelling(name) for name in each] for each in classes]
    if classes and [spelling(name) for name in class_names] not in spelled:
        raise ValueError(
            f"format {kind}: the model has the classes {', '.join(class_names)}; expected"
            f" {' or '.join(', '.join(each) for each in classes)}"
        )
    if task != FORMATS[kind].task:
        raise ValueError(f"format {kind}: the model does {task}; expected {FORMATS[kind].task}")


def check_names(kind: str, file_names: Iterable[str]) -> None:
    """Check that a server can tell images apart.

    Raises:
        ValueError: two have the same name.
    """
    times = Counter(Path(name).stem for name in file_names)
    twice = [name for name, count in times.items() if count > 1]
    if twice and kind != "coco":
        raise ValueError(
            f"format {kind}: {times[twice[0]]} images are called {twice[0]!r}; the server knows"
            " them by name, so predict one split or folder at a time"
        )


def write_submission(
    kind: str,
    records: Iterable[Record],
    class_names: Sequence[str],
    folder: Path,
    numbers: CocoNumbers | None = None,
) -> list[Path]:
    """Write the files of a format.

    Args:
        kind: of `FORMATS`.
        records: one an image, see the module.
        class_names: K names of the model, in label order.
        folder: gets the files; paths of maps are relative to it.
        numbers: of images and classes, for COCO results; default: from 0.

    Returns:
        The files.

    Raises:
        ValueError: the format takes other classes or other predictions, or two images share a name.
    """
    images, form = list(records), FORMATS[kind]
    check_format(kind, form.task, class_names)
    check_names(kind, (record["file_name"] for record in images))
    needed = NEEDED[form.task]
    for record in images:
        if _lacks(record, needed):
            raise ValueError(
                f"format {kind}: the prediction of image {record['image_id']!r} has no {needed}"
            )
    options = {} if numbers is None else {"numbers": numbers}
    return form.write(images, class_names, folder, **options)


def _lacks(record: Record, needed: str) -> bool:
    if needed == "map":
        return "map" not in record
    return "objects" not in record or any(needed not in each for each in record["objects"])


def _write_dota(images: list[Record], class_names: Sequence[str], folder: Path) -> list[Path]:
    """One text file a class, also without an object; turned boxes, and their hulls."""
    files = []
    for archive, prefix in DOTA_TASKS.items():
        lines: list[list[str]] = [[] for _ in class_names]
        for record in images:
            for each in record["objects"]:
                corners = each["polygon"] if prefix == "Task1" else hull_of(each["polygon"])
                words = " ".join(f"{number:.2f}" for number in corners)
                line = f"{Path(record['file_name']).stem} {each['score']:.6f} {words}\n"
                lines[each["label"]].append(line)
        contents = {
            f"{prefix}_{name}.txt": "".join(own).encode()
            for name, own in zip(class_names, lines, strict=True)
        }
        files.append(_write_zip(folder / archive, contents))
    return files


def _write_fair1m(images: list[Record], class_names: Sequence[str], folder: Path) -> list[Path]:
    """One xml file an image, also without an object, in a folder `test`."""
    official = [OFFICIAL_NAMES[spelling(name)] for name in class_names]
    contents = {}
    for record in images:
        found = [
            (official[each["label"]], f"{each['score']:.6f}", each["polygon"])
            for each in record["objects"]
        ]
        text = fair1m_xml(record["file_name"], (record["height"], record["width"]), found)
        contents[f"{FAIR1M_FOLDER}/{Path(record['file_name']).stem}.xml"] = text.encode()
    return [_write_zip(folder / "fair1m.zip", contents)]


def _write_loveda(images: list[Record], class_names: Sequence[str], folder: Path) -> list[Path]:
    """One png an image, its pixels the class numbers 0 to 6."""
    names = [f"{Path(record['file_name']).stem}.png" for record in images]
    contents = {
        name: (folder / record["map"]).read_bytes()
        for name, record in zip(names, images, strict=True)
    }
    return [_write_zip(folder / "loveda.zip", contents)]


def _write_coco(
    images: list[Record],
    class_names: Sequence[str],
    folder: Path,
    numbers: CocoNumbers | None = None,
) -> list[Path]:
    """COCO results; numbers that no file says are written beside them."""
    if numbers is None:
        names = [path_of(record["image_id"], record["file_name"]) for record in images]
        numbers = count_from_zero(names)
    if numbers.is_counted:
        write_coco_numbers(folder / COCO_NUMBERS, numbers, images, class_names)
    categories = numbers.of_classes(class_names)
    results = [
        {
            "image_id": numbers.of_image(record["image_id"], record["file_name"]),
            "category_id": categories[each["label"]],
            "bbox": each["bbox"],
            "score": each["score"],
        }
        for record in images
        for each in record["objects"]
    ]
    path = folder / COCO_RESULTS
    path.write_text(json.dumps(results), encoding="utf-8")
    return [path]


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, contents[name])
    return path


@dataclass(frozen=True)
class Format:
    """What a server takes.

    Args:
        task: of the model, a key of `NEEDED`.
        classes: lists that it takes; none: any.
        write: of records, class names and folder.
    """

    task: str
    classes: tuple[Sequence[str], ...]
    write: Callable[..., list[Path]]


FORMATS = {
    "dota": Format("rotated_detection", DOTA_CLASSES, _write_dota),
    "fair1m": Format("rotated_detection", (FAST_CLASSES,), _write_fair1m),
    "loveda": Format("semantic_segmentation", (LOVEDA_CLASSES,), _write_loveda),
    "coco": Format("horizontal_detection", (), _write_coco),
}
