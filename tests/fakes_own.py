"""Folders as people keep their own data sets, written at test time.

Pictures are of 60 x 40 pixels (width x height). Names of pictures are `a`, `b`, ...; in sets of
boxes `a` has two objects, the others none.
"""

import json
from pathlib import Path

import numpy as np
import rasterio
import yaml
from PIL import Image

from tests.fakes_detection import write_picture, write_text

WIDTH, HEIGHT = 60, 40
BOXES = ((10, 5, 30, 13), (32, 18, 58, 32))  # x1 y1 x2 y2
POLYGONS = ((10, 5, 30, 5, 30, 13, 10, 13), (41, 18, 50, 25, 41, 32, 32, 25))
NAMES = ("ship", "harbor")  # of the two objects
COCO_CLASSES = {18: "ship", 3: "harbor"}  # ids as in files: neither from 0 nor without gaps


def coco_content(stems: str, suffix: str = ".jpg") -> dict:
    """A COCO file; picture ids start at 1, the objects are those of `a`."""
    annotations = [
        {
            "id": 40 + index,
            "image_id": 1,
            "category_id": {name: i for i, name in COCO_CLASSES.items()}[name],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": index,
            "segmentation": [],
        }
        for index, (name, (x1, y1, x2, y2)) in enumerate(zip(NAMES, BOXES, strict=True))
    ]
    annotations[0]["area"] = 100.5
    images = [
        {"id": number, "file_name": stem + suffix, "width": WIDTH, "height": HEIGHT}
        for number, stem in enumerate(stems, start=1)
    ]
    categories = [{"id": i, "name": name} for i, name in COCO_CLASSES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_json(path: Path, content: object) -> Path:
    """A json file."""
    return write_text(path, json.dumps(content))


def write_coco(root: Path) -> Path:
    """As COCO publishes: train has `a` and `b`, validation `a`."""
    for split, stems in {"train2017": "ab", "val2017": "a"}.items():
        for stem in stems:
            write_picture(root / split / f"{stem}.jpg")
        write_json(root / f"annotations/instances_{split}.json", coco_content(stems))
    return root


def yolo_boxes() -> str:
    """Both objects as lines of YOLO; class 0 is the ship."""
    return "".join(
        f"{label} {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} "
        f"{(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}\n"
        for label, (x1, y1, x2, y2) in enumerate(BOXES)
    )


def yolo_polygons() -> str:
    """Both objects as lines of YOLO-OBB."""
    sizes = (WIDTH, HEIGHT) * 4
    return "".join(
        f"{label} {' '.join(str(v / s) for v, s in zip(polygon, sizes, strict=True))}\r\n"
        for label, polygon in enumerate(POLYGONS)
    )


def write_yolo(root: Path, labels: str, content: dict | None = None) -> Path:
    """As Ultralytics has it: train has `a` and `b` (without label file), validation `a`."""
    for picture in ("train/a", "train/b", "val/a"):
        write_picture(root / f"images/{picture}.png")
    for picture in ("train/a", "val/a"):
        write_text(root / f"labels/{picture}.txt", labels)
    default = {"train": "images/train", "val": "images/val", "names": list(NAMES)}
    write_text(root / "data.yaml", yaml.safe_dump(default if content is None else content))
    return root


def voc_xml(boxes: tuple = BOXES, names: tuple = NAMES) -> str:
    """A file of Pascal VOC."""
    fields = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{f}>{v}</{f}>" for f, v in zip(fields, box, strict=True))
        + "</bndbox></object>"
        for name, box in zip(names, boxes, strict=True)
    )
    return f"<annotation><filename>x.jpg</filename>{objects}</annotation>"


def write_voc(root: Path) -> Path:
    """As VOC publishes: lists say that train is `b` and `a`, validation `c`; `d` is in none."""
    folder = root / "VOCdevkit/VOC2012"
    for stem in "abcd":
        write_picture(folder / f"JPEGImages/{stem}.jpg")
        is_first = stem == "a"
        xml = voc_xml() if is_first else voc_xml((), ())
        write_text(folder / f"Annotations/{stem}.xml", xml)
    write_text(folder / "ImageSets/Main/train.txt", "b\na\n")
    write_text(folder / "ImageSets/Main/val.txt", "c\n")
    return root


def dota_lines() -> str:
    """Both objects as lines of DOTA, the second one difficult."""
    return "".join(
        f"{' '.join(map(str, polygon))} {name} {index}\n"
        for index, (name, polygon) in enumerate(zip(NAMES, POLYGONS, strict=True))
    )


def write_dota_folder(root: Path) -> Path:
    """Two splits of one picture and its text file, each in folders of its own."""
    for split in ("train", "val"):
        write_picture(root / split / "images/a.png")
        write_text(root / split / "labelTxt/a.txt", dota_lines())
    return root


def write_mask(path: Path, values: np.ndarray) -> Path:
    """An 8-bit image of one value a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def class_map() -> np.ndarray:
    """Classes 0, 1, 2 in columns, and a corner without label."""
    values = np.repeat(np.arange(WIDTH) // 20, HEIGHT).reshape(WIDTH, HEIGHT).T
    values[:5, :5] = 255
    return values


def write_masks(root: Path) -> Path:
    """Pictures and maps in folders of splits."""
    for picture in ("train/a", "train/b", "val/a"):
        write_picture(root / f"images/{picture}.jpg")
        write_mask(root / f"masks/{picture}.png", class_map())
    write_text(root / "classes.txt", "water\nroad\nbuilding\n")
    return root


def write_bands(path: Path, num_bands: int, dtype: str = "uint16") -> Path:
    """A TIFF whose band b has the value 40 * b at the left, and 40 * b + 20 at the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((num_bands, HEIGHT, WIDTH), dtype)
    for band in range(num_bands):
        values[band] = 40 * (band + 1)
        values[band, :, WIDTH // 2 :] += 20
    with rasterio.open(path, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=num_bands,
                       dtype=dtype, transform=rasterio.Affine.scale(2.0)) as file:  # fmt: skip
        file.write(values)
    return path
