"""Turn the files of one SAMRS image into one row, checking everything a training run relies on.

Instances and rotated objects are two independent lists: masks come from the SAM pickles, rotated
boxes from text or xml files, and their lengths differ. Boxes and masks stay exactly as the files
have them, including empty masks and boxes that leave the image; the transforms filter.

An image without a single object has no annotation files in these sets, and its row gets an
all-background map. One that has an object in any file that is read must have all of them.

Source: SAMRS generation scripts (pickle keys, gray values) and the loaders of the published
pretraining code.
"""

import io
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._annotations_xml import read_oriented_xml
from mtp_hf.dataset_scripts._readers import (
    MAX_PIXELS,
    AnnotationError,
    PolygonRecord,
    no_limit_of_pillow,
    read_image_size,
    read_polygon_text,
)
from mtp_hf.dataset_scripts._rle import measure_runs, rle_runs, write_counts
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
    """Read rows of one set, and count the images that got an all-background map.

    Attributes:
        max_pixels: larger pictures and maps are refused.
        json_instances: entries of COCO files by image id, for sets without pickles.
    """

    layout: SamrsLayout
    class_names: list[str]
    tasks: tuple[str, ...]
    check_maps: bool = True
    max_pixels: int = MAX_PIXELS
    json_instances: dict[str, list[dict[str, Any]]] | None = None
    num_background: int = 0
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
        try:
            return self._read(image_id, image_path)
        except AnnotationError as error:
            raise AnnotationError(f"image {image_id!r}: {error}") from None

    def _read(self, image_id: str, image_path: str) -> dict[str, Any]:
        size = read_image_size(image_path, self.max_pixels)
        files = {
            "ss": _file(self.layout.gray, image_id, (".png",)),
            "is": _file(self.layout.instances, image_id, (".pkl",)),
            "rd": _file(self.layout.boxes, image_id, BOX_SUFFIXES),
        }
        # A missing gray map is right only for an image without objects, so these are looked up.
        look = "is" in self.tasks or ("ss" in self.tasks and files["ss"] is None)
        instances = self._instances(image_id, files["is"], size) if look else []
        rotated = self._rotated_objects(files["rd"]) if "rd" in self.tasks else []
        marked = self._check_map(files["ss"], size) if "ss" in self.tasks else 0
        if instances or rotated or marked:
            objects = f"{len(instances)} masks, {len(rotated)} polygons, {marked} pixels of a class"
            self._expect_files(image_id, files, objects)
        return {
            "image_id": image_id,
            "image": image_path,
            "width": size[1],
            "height": size[0],
            "semantic_mask": self._semantic_mask(files["ss"], size) if "ss" in self.tasks else None,
            "objects": _columns(instances, OBJECT_FIELDS) if "is" in self.tasks else None,
            "rotated_objects": _columns(rotated, ROTATED_FIELDS) if "rd" in self.tasks else None,
        }

    def _expect_files(self, image_id: str, files: dict[str, str | None], objects: str) -> None:
        folders = {"ss": self.layout.gray, "is": self.layout.instances, "rd": self.layout.boxes}
        for task in self.tasks:
            if files[task] is None and folders[task] is not None:
                expected = f"a file for an image that has objects ({objects})"
                _fail(f"{folders[task]}/{image_id}", FIELDS[task], "no file", expected)

    def _semantic_mask(self, path: str | None, size: tuple[int, int]) -> Any:
        if path is None:
            self.num_background += 1
            return {"path": None, "bytes": _background_png(size)}
        return path

    def _check_map(self, path: str | None, size: tuple[int, int]) -> int:
        """Check size and values of a gray map; number of its pixels that have a class."""
        if path is None:
            return 0
        height, width = read_image_size(path, self.max_pixels)
        if (height, width) != size:
            expected = f"{size[0]} x {size[1]}, the size of the image"
            _fail(path, FIELDS["ss"], f"{height} x {width} pixels", expected)
        if not self.check_maps:
            return 0
        try:
            with no_limit_of_pillow(), Image.open(path) as gray:
                mode, counts = gray.mode, gray.histogram()
        except (OSError, SyntaxError, ValueError) as error:
            raise AnnotationError(f"{path}: the gray map is damaged ({error})") from None
        if mode != "L":
            _fail(path, FIELDS["ss"], f"an image of mode {mode!r}", "8-bit gray, mode 'L'")
        num_classes = len(self.class_names)
        wrong = [v for v in range(num_classes, BACKGROUND) if counts[v]]
        if wrong:
            expected = f"0 to {num_classes - 1}, or {BACKGROUND} for background"
            _fail(path, FIELDS["ss"], f"values {wrong}", expected)
        return sum(counts[:num_classes])

    def _instances(
        self, image_id: str, path: str | None, size: tuple[int, int]
    ) -> list[dict[str, Any]]:
        entries: Any = []
        if self.layout.instances is None and self.json_instances is not None:
            path = " or ".join(self.layout.instance_json)
            entries = [_from_coco(entry) for entry in self.json_instances.get(image_id, [])]
        elif path is not None:
            entries = read_pickle(path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            _fail(str(path), FIELDS["is"], type(entries).__name__, "a list of dicts")
        return [
            self._instance(row, entry, f"{path}, object {row}", size)
            for row, entry in enumerate(entries)
        ]

    def _instance(
        self, row: int, entry: dict[str, Any], where: str, size: tuple[int, int]
    ) -> dict[str, Any]:
        mask = entry.get("mask")
        if not isinstance(mask, dict) or not {"size", "counts"} <= set(mask):
            _fail(
                where, "mask", type(mask).__name__, "a run-length mask: a dict of size and counts"
            )
        if np.asarray(mask["size"]).tolist() != list(size):
            expected = f"{list(size)}, height and width of the image"
            _fail(where, "mask", f"size {mask['size']}", expected)
        counts = mask["counts"]
        counts = counts.decode("latin-1") if isinstance(counts, bytes) else counts
        try:
            runs = rle_runs(counts, size)
        except (ValueError, TypeError, OverflowError) as error:
            _fail(where, "mask", str(error), "run lengths that fill the image")
        area, bbox = measure_runs(runs, size[0])
        return {
            "id": row,
            "category": self._category(entry, where),
            "bbox": bbox,
            "prompt_bbox": _prompt_box(entry, where),
            "area": area,
            "iscrowd": bool(entry.get("iscrowd", False)),
            "segmentation": {
                "size": list(size),
                "counts": counts if isinstance(counts, str) else write_counts(counts),
            },
        }

    def _category(self, entry: dict[str, Any], where: str) -> int:
        name, label = entry.get("category"), entry.get("label")
        if not isinstance(name, str):  # early release: category is the id
            return self._label_in_range(name if label is None else label, where)
        named = self._label_of(name, where, "category")
        if label is not None and self._label_in_range(label, where) != named:
            _fail(where, "label", f"{label} with category {name!r}", str(named))
        return named

    def _rotated_objects(self, path: str | None) -> list[dict[str, Any]]:
        if path is None:
            return []
        records = read_oriented_xml(path) if path.endswith(".xml") else read_polygon_text(path)
        return [self._rotated_object(index, record) for index, record in enumerate(records)]

    def _rotated_object(self, index: int, record: PolygonRecord) -> dict[str, Any]:
        category = self._label_of(record.name, record.row, "class name")
        # The tenth column of these files is the class id, not a difficulty.
        if record.label is not None and record.label != category:
            found = f"{record.label} after class name {record.name!r}"
            _fail(record.row, "class id (tenth column)", found, str(category))
        return {
            "id": index,
            "category": category,
            "polygon": record.polygon,
            "difficult": record.difficult,
        }

    def _label_of(self, name: str, where: str, name_of_field: str) -> int:
        label = self._labels.get(normalize_class_name(name))
        if label is None:
            _fail(where, name_of_field, repr(name), f"one of {', '.join(self.class_names)}")
        return label

    def _label_in_range(self, label: Any, where: str) -> int:
        try:
            value = operator.index(label)
        except TypeError:
            value = -1
        if not 0 <= value < len(self.class_names):
            expected = f"an integer from 0 to {len(self.class_names) - 1}"
            _fail(where, "label", repr(label), expected)
        return value


def _fail(where: str, name: str, found: str, expected: str) -> NoReturn:
    raise AnnotationError(f"{where}, field {name!r}: found {found}; expected {expected}")


def _file(folder: str | None, stem: str, suffixes: tuple[str, ...]) -> str | None:
    paths = [Path(folder, stem + suffix) for suffix in suffixes] if folder else []
    return next((str(path) for path in paths if path.is_file()), None)


def _prompt_box(entry: dict[str, Any], where: str) -> list[float] | None:
    """The box SAM was asked with, xyxy in the file, xywh here; None in files without it."""
    corners = entry.get("bbox", entry.get("rhbox"))
    if corners is None:
        return None
    try:
        left, top, right, bottom = np.asarray(corners, np.float64).ravel().tolist()
    except (ValueError, TypeError):
        _fail(where, "bbox", repr(corners), "four numbers xmin, ymin, xmax, ymax")
    return [left, top, right - left, bottom - top]


def _from_coco(annotation: dict[str, Any]) -> dict[str, Any]:
    """The keys of a pickle entry.

    The box of a COCO file is that of the mask; `make-sota-rbb` writes the prompt as well.
    """
    return {
        "mask": annotation.get("segmentation"),
        "category": annotation["category_name"],
        "rhbox": annotation.get("rhbox"),
        "iscrowd": annotation.get("iscrowd", 0),
    }


def _columns(objects: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list | None]:
    columns: dict[str, list | None] = {name: [o[name] for o in objects] for name in names}
    if None in (columns.get("prompt_bbox") or []):
        columns["prompt_bbox"] = None
    return columns


def _background_png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (size[1], size[0]), BACKGROUND).save(buffer, "PNG")
    return buffer.getvalue()
