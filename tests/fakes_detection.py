"""Tiny copies of DOTA, DIOR, FAIR1M and xView in their official layouts, written at test time."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
XML_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")
# Corners clockwise on the screen; the second one leaves the image.
POLYGONS = (
    (10.0, 5.0, 30.0, 5.0, 30.0, 13.0, 10.0, 13.0),
    (51.0, 18.5, 69.5, 25.0, 51.0, 31.5, 32.5, 25.0),
)
BOXES = ((10, 5, 30, 13), (32, 18, 70, 32))  # x1 y1 x2 y2 around them, in whole pixels


def write_picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A picture of noise; `size` is (width, height) as in PIL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def write_turned_picture(path: Path, orientation: int = 6) -> Path:
    """A picture as `write_picture` stores it, that its EXIF tag turns, by default by a quarter."""
    write_picture(path)
    with Image.open(path) as image:
        exif = image.getexif()
        exif[274] = orientation
        image.save(path, exif=exif)
    return path


def write_text(path: Path, text: str) -> Path:
    """A text file with its line ends as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def dota_line(index: int, name: str, difficult: int | None = 0) -> str:
    """One object of a label file."""
    numbers = " ".join(f"{value:g}" for value in POLYGONS[index])
    return f"{numbers} {name}" + ("" if difficult is None else f" {difficult}")


def write_dota(root: Path, labels: str = "labelTxt") -> Path:
    """DOTA: P0 (train) two objects, P1 (train) none, P2 (val) one, P3 (test) without labels.

    Line ends are CRLF; P1 is gray and has no header, P2 an alpha channel and a third header line.
    """
    header = "imagesource:GoogleEarth\r\ngsd:0.25\r\n"
    for image, mode in {"train/images/P0": "RGB", "train/images/P1": "L"}.items():
        write_picture(root / f"{image}.png", mode)
    write_picture(root / "val/images/P2.png", "RGBA")
    write_picture(root / "test/images/P3.png")
    lines = [dota_line(0, "ship", 1), dota_line(1, "large-vehicle")]
    write_text(root / f"train/{labels}/P0.txt", header + "\r\n".join(lines) + "\r\n")
    write_text(root / f"train/{labels}/P1.txt", "")
    third = "imagesource:GF\r\nacquisition dates:2018-01-01\r\ngsd:null\r\n"
    write_text(root / f"val/{labels}/P2.txt", third + dota_line(0, "plane", None) + "\r\n")
    return root


def voc_object(index: int, name: str, tag: str = "bndbox") -> str:
    """One object of a horizontal xml file."""
    fields = zip(("xmin", "ymin", "xmax", "ymax"), BOXES[index], strict=True)
    box = "".join(f"<{field}>{value}</{field}>" for field, value in fields)
    return f"<object><name>{name}</name><pose>Unspecified</pose><{tag}>{box}</{tag}></object>"


def oriented_object(index: int, name: str, difficult: int = 0) -> str:
    """One object of an oriented xml file."""
    points = zip(XML_CORNERS, np.reshape(POLYGONS[index], (4, 2)), strict=True)
    fields = "".join(f"<x_{c}>{x}</x_{c}><y_{c}>{y}</y_{c}>" for c, (x, y) in points)
    return (
        f"<object><type>robndbox</type><name>{name}</name><truncated>0</truncated>"
        f"<difficult>{difficult}</difficult><robndbox>{fields}</robndbox><angle>0</angle></object>"
    )


def annotation_xml(*objects: str) -> str:
    """An xml file of DIOR."""
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}{''.join(objects)}</annotation>"


def write_dior(root: Path) -> Path:
    """DIOR and DIOR-R: 00001 (train) two objects, 00002 (val) none, 00003 (test) one.

    The first horizontal file calls one box `robndbox`, the last oriented file has a plain box.
    """
    for stem, part in {"00001": "trainval", "00002": "trainval", "00003": "test"}.items():
        write_picture(root / f"JPEGImages-{part}/{stem}.jpg")
    objects = {
        "Horizontal": {
            "00001": [voc_object(0, "Expressway-Service-area"), voc_object(1, "dam", "robndbox")],
            "00002": [],
            "00003": [voc_object(0, "ship")],
        },
        "Oriented": {
            "00001": [oriented_object(0, "Expressway-Service-area", 1), oriented_object(1, "dam")],
            "00002": [],
            "00003": [voc_object(0, "ship")],
        },
    }
    for kind, files in objects.items():
        for stem, nodes in files.items():
            path = root / f"Annotations/{kind} Bounding Boxes/{stem}.xml"
            write_text(path, annotation_xml(*nodes))
    for name, stem in {"train": "00001", "val": "00002", "test": "00003"}.items():
        write_text(root / f"ImageSets/Main/{name}.txt", f"{stem}\r\n")
    return root


def fair1m_xml(*objects: tuple[int, str]) -> str:
    """An xml file of FAIR1M: polygons by index, with official class names."""
    nodes = []
    for index, name in objects:
        corners = np.reshape(POLYGONS[index], (4, 2)).tolist()
        points = "".join(f"<point>{x:.6f},{y:.6f}</point>" for x, y in [*corners, corners[0]])
        nodes.append(
            "<object><coordinate>pixel</coordinate><type>rectangle</type>"
            "<description>None</description>"
            f"<possibleresult><name>{name}</name></possibleresult><points>{points}</points></object>"
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotation>'
        "<source><filename>0.tif</filename><origin>GF2/GF3</origin></source>"
        "<research><version>4.0</version></research>"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        f"<objects>{''.join(nodes)}</objects></annotation>"
    )


def write_fair1m(root: Path) -> Path:
    """FAIR1M: train 0 (part1) two objects and 1 (part2) none, validation 0 one, test 0."""
    for image in ("train/part1", "train/part2", "validation", "test"):
        number = 1 if image == "train/part2" else 0
        write_picture(root / f"{image}/images/{number}.tif")
    write_text(
        root / "train/part1/labelXml/0.xml", fair1m_xml((0, "Dry Cargo Ship"), (1, "other-ship"))
    )
    write_text(root / "train/part2/labelXmls/1.xml", fair1m_xml())
    write_text(root / "validation/labelXml/0.xml", fair1m_xml((1, "Boeing737")))
    return root


def xview_feature(image_id: str, type_id: int, bounds: object) -> dict:
    """One feature; `bounds` is text, or an empty list for one without a box."""
    ring = [[-90.5316, 14.566], [-90.5316, 14.5661], [-90.5315, 14.5661], [-90.5316, 14.566]]
    properties = {"bounds_imcoords": bounds, "cat_id": "1040", "type_id": type_id}
    return {
        "type": "Feature",
        "properties": properties | {"image_id": image_id, "feature_id": 7, "grid_file": "a.shp"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def write_xview_labels(path: Path, features: list[dict]) -> Path:
    """A label file."""
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    content = {"type": "FeatureCollection", "crs": crs, "features": features}
    return write_text(path, json.dumps(content))


def write_xview(root: Path) -> Path:
    """xView: images 10 to 19; 10 has two objects, the others one each, and 5 is not labelled.

    With the irregular features of the published file: numbers that stand for no class, an object
    without box, and one of the image 1395, which is not there.
    """
    boxes = [",".join(map(str, box)) for box in BOXES]
    features = [
        xview_feature("10.tif", 11, boxes[0]),
        xview_feature("10.tif", 75, boxes[0]),
        xview_feature("1395.tif", 73, boxes[0]),
        xview_feature("10.tif", 94, boxes[1]),
        xview_feature("11.tif", 82, boxes[0]),
        xview_feature("11.tif", 18, []),
    ]
    features += [xview_feature(f"{number}.tif", 73, boxes[0]) for number in range(11, 20)]
    write_xview_labels(root / "train_labels/xView_train.geojson", features)
    for number in (5, *range(10, 20)):
        write_picture(root / f"train_images/{number}.tif")
    write_picture(root / "val_images/20.tif")
    return root
