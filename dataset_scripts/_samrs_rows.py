"""Turn the files of one SAMRS image into one row, checking everything a training run relies on.

Instances and rotated objects are two independent lists: masks come from the SAM pickles, rotated
boxes from text or xml files, and their lengths differ. Boxes and masks stay exactly as the files
have them, including empty masks and boxes that leave the image; the transforms filter.

An image without a single object has no annotation files in these sets, and its row gets an
all-background map. One that has an object in any file must have all files.

Source: SAMRS generation scripts (pickle keys, gray values) and the loaders of the published
pretraining code.
"""

import io
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    PolygonRecord,
    read_image_size,
    read_oriented_xml,
    read_polygon_text,
)
from mtp_hf.dataset_scripts._rle import measure_runs, rle_runs
from mtp_hf.dataset_scripts._safe_pickle import read_pickle
from mtp_hf.dataset_scripts._samrs_layout import SamrsLayout
from mtp_hf.dataset_scripts.class_names import normalize_class_name

BACKGROUND = 255  # gray value of pixels without a class
BOX_SUFFIXES = (".txt", ".xml")
OBJECT_FIELDS = ("id", "category", "bbox", "prompt_bbox", "area", "iscrowd", "segmentation")
FIELDS = {"ss": "semantic_mask", "is": "objects", "rd": "rotated_objects"}
ROTATED_FIELDS = ("id", "category", "polygon", "difficult")


@dataclass
class SamrsRowReader:
    """Read rows of one set; counts images without objects in `num_empty`."""

    layout: SamrsLayout
    class_names: list[str]
    tasks: tuple[str, ...]
    check_maps: bool = True
    json_instances: dict[str, list[dict[str, Any]]] | None = None
    num_empty: int = 0
    _labels: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        names = [normalize_class_name(name) for name in self.class_names]
        self._labels = {name: label for label, name in enumerate(names)}

    def read(self, image_path: str) -> dict[str, Any]:
        """Row of one image.

        Raises:
            AnnotationError: with file, image id, field, what was found and what was expected.
        """
        image_id = Path(image_path).stem
        size = read_image_size(image_path)
        files = {
            "ss": _file(self.layout.gray, image_id, (".png",)),
            "is": _file(self.layout.instances, image_id, (".pkl",)),
            "rd": _file(self.layout.boxes, image_id, BOX_SUFFIXES),
        }
        # A missing gray map is right only for an image without objects, so these are looked up.
        look = "is" in self.tasks or ("ss" in self.tasks and files["ss"] is None)
        instances = self._instances(image_id, files["is"], size) if look else []
        rotated = self._rotated_objects(image_id, files["rd"]) if "rd" in self.tasks else []
        if instances or rotated:
            self._expect_files(image_id, files, f"{len(instances)} masks, {len(rotated)} polygons")
        self.num_empty += files["ss"] is None and not instances and not rotated
        return {
            "image_id": image_id,
            "image": image_path,
            "width": size[1],
            "height": size[0],
            "semantic_mask": self._semantic_mask(image_id, files["ss"], size),
            "objects": _columns(instances, OBJECT_FIELDS) if "is" in self.tasks else None,
            "rotated_objects": _columns(rotated, ROTATED_FIELDS) if "rd" in self.tasks else None,
        }

    def _expect_files(self, image_id: str, files: dict[str, str | None], objects: str) -> None:
        folders = {"ss": self.layout.gray, "is": self.layout.instances, "rd": self.layout.boxes}
        for task in self.tasks:
            if files[task] is None and folders[task] is not None:
                expected = f"a file for an image that has objects ({objects})"
                _fail(f"{folders[task]}/{image_id}", image_id, FIELDS[task], "no file", expected)

    def _semantic_mask(self, image_id: str, path: str | None, size: tuple[int, int]) -> Any:
        if "ss" not in self.tasks:
            return None
        if path is None:
            return {"path": None, "bytes": _background_png(size)}
        try:
            with Image.open(path) as gray:
                found = f"{gray.height} x {gray.width} pixels of mode {gray.mode!r}"
                if (gray.height, gray.width) != size or gray.mode != "L":
                    expected = f"{size[0]} x {size[1]} pixels (the image) of mode 'L'"
                    _fail(path, image_id, "semantic_mask", found, expected)
                counts = gray.histogram() if self.check_maps else []
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            kind = "no image" if isinstance(error, UnidentifiedImageError) else f"damaged, {error}"
            _fail(path, image_id, "semantic_mask", kind, "an 8-bit gray png")
        num_classes = len(self.class_names)
        wrong = [v for v in range(num_classes, len(counts)) if counts[v] and v != BACKGROUND]
        if wrong:
            expected = f"0 to {num_classes - 1}, or {BACKGROUND} for background"
            _fail(path, image_id, "semantic_mask", f"values {wrong}", expected)
        return path

    def _instances(
        self, image_id: str, path: str | None, size: tuple[int, int]
    ) -> list[dict[str, Any]]:
        if self.layout.instances is None and self.json_instances is not None:
            source = " or ".join(self.layout.instance_json)
            entries = [_from_coco(entry) for entry in self.json_instances.get(image_id, [])]
        elif path is None:
            return []
        else:
            source, entries = path, read_pickle(path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            _fail(source, image_id, "objects", type(entries).__name__, "a list of dicts")
        return [
            self._instance(_Entry(source, image_id, row, entry), size)
            for row, entry in enumerate(entries)
        ]

    def _instance(self, entry: "_Entry", size: tuple[int, int]) -> dict[str, Any]:
        mask = entry.get("mask")
        shape = (
            np.asarray(mask["size"]).tolist() if isinstance(mask, dict) and "size" in mask else None
        )
        if shape != list(size):
            entry.fail("mask", f"size {shape}", f"size {list(size)}, height and width of the image")
        counts = mask.get("counts")
        counts = counts.decode("latin-1") if isinstance(counts, bytes) else counts
        try:
            area, bbox = measure_runs(rle_runs(counts, size), size[0])
        except (ValueError, TypeError, OverflowError) as error:
            entry.fail("mask", str(error), "run lengths that fill the image")
        return {
            "id": entry.row,
            "category": self._category(entry),
            "bbox": bbox,
            "prompt_bbox": _prompt_box(entry),
            "area": area,
            "iscrowd": bool(entry.value.get("iscrowd", False)),
            "segmentation": {"size": shape, "counts": counts},
        }

    def _category(self, entry: "_Entry") -> int:
        name = entry.value.get("category")
        label = entry.value.get("label")
        if label is None and not isinstance(name, str):  # early release: category is the id
            name, label = None, entry.get("category")
        if label is not None:
            label = self._label_in_range(entry.source, entry.image_id, entry.row, label)
        if isinstance(name, str):
            named = self._label_of(name, entry.source, entry.image_id, entry.row, "category")
            if label is not None and label != named:
                entry.fail("label", f"{label} with category {name!r}", f"{named}")
            return named
        return label

    def _rotated_objects(self, image_id: str, path: str | None) -> list[dict[str, Any]]:
        if path is None:
            return []
        records = read_oriented_xml(path) if path.endswith(".xml") else read_polygon_text(path)
        return [self._rotated_object(path, image_id, i, record) for i, record in enumerate(records)]

    def _rotated_object(
        self, path: str, image_id: str, index: int, record: PolygonRecord
    ) -> dict[str, Any]:
        category = self._label_of(record.name, path, image_id, record.row, "class name")
        # The tenth column of these files is the class id, not a difficulty.
        if record.label is not None and record.label != category:
            found = f"{record.label} after class name {record.name!r}"
            _fail(path, image_id, "class id (tenth column)", found, f"{category}", record.row)
        return {
            "id": index,
            "category": category,
            "polygon": record.polygon,
            "difficult": record.difficult,
        }

    def _label_of(self, name: str, file: str, image_id: str, row: Any, what: str) -> int:
        label = self._labels.get(normalize_class_name(name))
        if label is None:
            _fail(file, image_id, what, repr(name), f"one of {', '.join(self.class_names)}", row)
        return label

    def _label_in_range(self, file: str, image_id: str, row: Any, label: Any) -> int:
        try:
            value = operator.index(label)
        except TypeError:
            value = -1
        if not 0 <= value < len(self.class_names):
            expected = f"an integer from 0 to {len(self.class_names) - 1}"
            _fail(file, image_id, "label", repr(label), expected, row)
        return value


@dataclass
class _Entry:
    """One instance of a pickle and where it stands, for messages."""

    source: str
    image_id: str
    row: int
    value: dict[str, Any]

    def get(self, key: str) -> Any:
        if self.value.get(key) is None:
            self.fail(key, "nothing", f"a value; the keys are {sorted(map(str, self.value))}")
        return self.value[key]

    def fail(self, name: str, found: str, expected: str) -> NoReturn:
        _fail(self.source, self.image_id, name, found, expected, self.row)


def _fail(
    file: str, image_id: str, name: str, found: str, expected: str, row: Any = None
) -> NoReturn:
    where = "" if row is None else f", object {row}" if isinstance(row, int) else f", {row}"
    raise AnnotationError(
        f"{file}: image {image_id!r}{where}, field {name!r}: found {found}; expected {expected}"
    )


def _file(folder: str | None, stem: str, suffixes: tuple[str, ...]) -> str | None:
    paths = [Path(folder, stem + suffix) for suffix in suffixes] if folder else []
    return next((str(path) for path in paths if path.is_file()), None)


def _prompt_box(entry: _Entry) -> list[float] | None:
    """The box SAM was asked with, xyxy in the file, xywh here; None in files without it."""
    corners = entry.value.get("bbox", entry.value.get("rhbox"))
    if corners is None:
        return None
    try:
        left, top, right, bottom = np.asarray(corners, np.float64).ravel().tolist()
    except (ValueError, TypeError):
        entry.fail("bbox", repr(corners), "four numbers xmin, ymin, xmax, ymax")
    return [left, top, right - left, bottom - top]


def _from_coco(annotation: dict[str, Any]) -> dict[str, Any]:
    """The keys of a pickle entry; the box of a COCO file is that of the mask, not the prompt."""
    mask = annotation.get("segmentation")
    return {
        "mask": mask if isinstance(mask, dict) else None,
        "category": annotation["category_name"],
        "iscrowd": annotation.get("iscrowd", 0),
    }


def _columns(objects: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list | None]:
    columns: dict[str, list | None] = {name: [o[name] for o in objects] for name in names}
    if None in columns.get("prompt_bbox", []):
        columns["prompt_bbox"] = None
    return columns


def _background_png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (size[1], size[0]), BACKGROUND).save(buffer, "PNG")
    return buffer.getvalue()
