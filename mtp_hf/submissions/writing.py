"""Files that test servers take, made of predictions: DOTA, FAIR1M, LoveDA, and COCO results.

A prediction of an image is a record: `image_id`, `file_name`, `width`, `height`, and either
`objects`, each with `label`, `score` and `polygon` (8 numbers) or `bbox` (x, y, width, height), or
`map`, the file of a png whose pixels are class numbers.

Differs: scores have six decimals, so that the server ranks them as they were; the original writes
two (quirk 43), and hyphens of `other-*` stay in the names of FAIR1M.

Source: result files of the DOTA development kit; MTP's scripts for FAIR1M and LoveDA (spec 4.5).
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts.class_names import DOTA_V2_CLASSES, FAST_CLASSES, LOVEDA_CLASSES
from mtp_hf.dataset_scripts.class_names import normalize_class_name as spelling
from mtp_hf.submissions.fair1m_xml import OFFICIAL_NAMES, fair1m_xml

Record = Mapping[str, Any]

# Releases 1.0, 1.5 and 2.0.
DOTA_CLASSES = tuple(tuple(DOTA_V2_CLASSES[:count]) for count in (15, 16, 18))
FAIR1M_FOLDER = "test"
DOTA_TASKS = {"dota_task1.zip": "Task1", "dota_task2.zip": "Task2"}
_DATE = (1980, 1, 1, 0, 0, 0)  # of files in archives: equal predictions give equal files


def check_classes(kind: str, class_names: Sequence[str]) -> None:
    """Check that a format takes the classes of a model, in their order.

    Raises:
        ValueError: it takes others.
    """
    classes = FORMATS[kind][0]
    spelled = [[spelling(name) for name in each] for each in classes or ()]
    if classes and [spelling(name) for name in class_names] not in spelled:
        raise ValueError(
            f"format {kind}: the model has the classes {', '.join(class_names)}; expected"
            f" {' or '.join(', '.join(each) for each in classes)}"
        )


def write_submission(
    kind: str, records: Iterable[Record], class_names: Sequence[str], folder: Path
) -> list[Path]:
    """Write the files of a format.

    Args:
        kind: of `FORMATS`.
        records: one an image, see the module.
        class_names: K names of the model, in label order.
        folder: gets the files; paths of maps are relative to it.

    Returns:
        The files.

    Raises:
        ValueError: the format takes other classes, or other predictions.
    """
    images = list(records)
    check_classes(kind, class_names)
    _, needed, write = FORMATS[kind]
    for record in images:
        found = {"map"} & record.keys() or {
            key for each in record.get("objects", ()) for key in each
        }
        if needed not in found and (found or needed == "map"):
            raise ValueError(
                f"format {kind}: the prediction of image {record['image_id']!r} has no {needed}"
            )
    return write(images, class_names, folder)


def hull_of(polygon: Sequence[float]) -> list[float]:
    """Smallest upright box around corners, x1 y1 x2 y2."""
    xs, ys = polygon[0::2], polygon[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def _write_dota(images: list[Record], class_names: Sequence[str], folder: Path) -> list[Path]:
    """One text file a class, also without an object; turned boxes, and their hulls."""
    files = []
    for archive, prefix in DOTA_TASKS.items():
        lines: list[list[str]] = [[] for _ in class_names]
        for record in images:
            for each in record["objects"]:
                corners = each["polygon"] if prefix == "Task1" else hull_of(each["polygon"])
                words = " ".join(f"{number:.2f}" for number in corners)
                line = f"{record['image_id']} {each['score']:.6f} {words}\n"
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


def _write_coco(images: list[Record], class_names: Sequence[str], folder: Path) -> list[Path]:
    """COCO results; numbers of categories count from 0, as in the annotations made here."""
    results = [
        {
            "image_id": int(record["image_id"])
            if record["image_id"].isdigit()
            else record["image_id"],
            "category_id": each["label"],
            "bbox": each["bbox"],
            "score": each["score"],
        }
        for record in images
        for each in record["objects"]
    ]
    path = folder / "coco_results.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    return [path]


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, contents[name])
    return path


Write = Callable[[list[Record], Sequence[str], Path], list[Path]]
# Format -> class lists that it takes (none: any), what a prediction has to have, how it is written.
FORMATS: dict[str, tuple[tuple[Sequence[str], ...], str, Write]] = {
    "dota": (DOTA_CLASSES, "polygon", _write_dota),
    "fair1m": ((FAST_CLASSES,), "polygon", _write_fair1m),
    "loveda": ((LOVEDA_CLASSES,), "map", _write_loveda),
    "coco": ((), "bbox", _write_coco),
}
