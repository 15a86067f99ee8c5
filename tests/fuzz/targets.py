"""One function for each parser of files from elsewhere: bytes in, nothing out.

A target writes the bytes to a file, reads it, and uses what was read as a builder does. It lets
pass what the readers promise: an `AnnotationError` (a `ValueError`) that names the file. Anything
else that is raised is a finding, and so is a value that does not fit the columns of a row.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pycocotools import mask as coco
from rasterio import Affine

from mtp_hf.dataset_scripts._annotations_xml import (
    read_fair1m_xml,
    read_oriented_xml,
    read_voc_xml,
)
from mtp_hf.dataset_scripts._detection_rows import ClassNumbers, box_columns, polygon_columns
from mtp_hf.dataset_scripts._footprints import Grid, burn_footprints, read_footprints
from mtp_hf.dataset_scripts._readers import (
    AnnotationError,
    OrientedFile,
    read_coco_json,
    read_dota_text,
)
from mtp_hf.dataset_scripts._rle import encode_mask, measure_runs, rle_runs
from mtp_hf.dataset_scripts._xview_labels import read_xview_geojson, xview_boxes
from mtp_hf.dataset_scripts.class_names import DOTA_V2_CLASSES, FAST_CLASSES, SIOR_CLASSES
from mtp_hf.dataset_scripts.class_names import XVIEW_CLASSES as XVIEW
from tests.fakes_detection import (
    annotation_xml,
    dota_line,
    fair1m_xml,
    oriented_object,
    voc_object,
)

DOTA, DIOR, FAIR1M = map(ClassNumbers, (DOTA_V2_CLASSES, SIOR_CLASSES, FAST_CLASSES))
XVIEW_NUMBERS = ClassNumbers(XVIEW)
MASK = np.add.outer(np.arange(9) ** 2, np.arange(7)) % 5 < 2
# A valid file of each format, to start from.
SEEDS: dict[str, bytes] = {
    "dota_text": (
        "imagesource:GoogleEarth\r\ngsd:0.25\r\n"
        f"{dota_line(0, 'ship', 1)}\r\n{dota_line(1, 'large-vehicle')}\r\n"
    ).encode(),
    "voc_xml": annotation_xml(voc_object(0, "ship"), voc_object(1, "dam", "robndbox")).encode(),
    "dior_xml": annotation_xml(oriented_object(0, "ship", 1), voc_object(1, "Dam")).encode(),
    "fair1m_xml": fair1m_xml((0, "Dry Cargo Ship"), (1, "other-ship")).encode(),
    "xview_geojson": (
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {'
        b'"bounds_imcoords": "1,2,3,4", "type_id": 73, "image_id": "10.tif"}, "geometry": {'
        b'"type": "Polygon", "coordinates": [[[-90.5, 14.5], [-90.4, 14.5], [-90.5, 14.5]]]}}]}'
    ),
    "footprints": (
        b'{"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": '
        b'"urn:ogc:def:crs:OGC:1.3:CRS84"}}, "features": [{"type": "Feature", "properties": {},'
        b' "geometry": {"type": "Polygon", "coordinates": [[[1.0, 2.0, 0.0], [5.0, 2.0, 0.0],'
        b" [5.0, 6.0, 0.0], [1.0, 2.0, 0.0]]]}}]}"
    ),
    "coco_json": (
        b'{"images": [{"id": 1, "file_name": "a/b.png"}], "categories": [{"id": 2, "name": "x"}],'
        b' "annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}]}'
    ),
    "rle": bytes(MASK.shape) + encode_mask(MASK)["counts"].encode(),
}


def dota_text(path: Path) -> None:
    """A label file of DOTA."""
    check_polygons(read_dota_text(path), DOTA)


def voc_xml(path: Path) -> None:
    """A horizontal file of DIOR."""
    check_columns(box_columns(read_voc_xml(path), DIOR))


def dior_xml(path: Path) -> None:
    """An oriented file of DIOR-R."""
    check_polygons(OrientedFile(read_oriented_xml(path)), DIOR)


def fair1m(path: Path) -> None:
    """A file of FAIR1M."""
    check_polygons(read_fair1m_xml(path), FAIR1M)


def xview_geojson(path: Path) -> None:
    """The label file of xView."""
    for features in read_xview_geojson(path).features.values():
        check_columns(box_columns(xview_boxes(features, str(path)), XVIEW_NUMBERS))


def footprints(path: Path) -> None:
    """Outlines of buildings, burned into a small grid whose unit is a pixel."""
    mask = burn_footprints(read_footprints(path), Grid(8, 9, Affine.identity()), path)
    assert mask.shape == (8, 9)
    assert set(np.unique(mask)) <= {0, 1}


def coco_json(path: Path) -> None:
    """A COCO file; its stems are the keys."""
    assert all(isinstance(stem, str) for stem in read_coco_json(path))


def rle(path: Path) -> None:
    """A run-length mask: height, width, and the string; measured as pycocotools measures it."""
    data = path.read_bytes()
    height, width = (*data[:2], 0, 0)[:2]
    counts = data[2:].decode("latin-1")
    try:
        runs = rle_runs(counts, (height, width))
    except AnnotationError:
        raise
    except ValueError as error:  # its callers add the names of file and object
        raise AnnotationError(f"{path}: {error}") from None
    area, box = measure_runs(runs, height)
    assert 0 <= area <= height * width
    if height and width:
        theirs = {"size": [height, width], "counts": counts}
        assert area == coco.area(theirs), counts
        assert not area or box == coco.toBbox(theirs).tolist(), counts


def check_polygons(labels: OrientedFile, classes: ClassNumbers) -> None:
    """What a row of rotated objects needs."""
    columns = polygon_columns(labels.records, classes)
    check_columns(columns)
    assert set(columns["difficult"]) <= {0, 1, 2}
    assert labels.gsd is None or np.isfinite(labels.gsd)
    assert labels.image_source != ""


def check_columns(columns: dict[str, list]) -> None:
    """Lists of equal length, of numbers that float32 holds, widths and heights from 0 on."""
    assert len(set(map(len, columns.values()))) == 1
    for name in ("bbox", "area", "polygon"):
        assert np.isfinite(np.asarray(columns.get(name, []), np.float32)).all()
    assert all(width >= 0 and height >= 0 for _, _, width, height in columns["bbox"])


TARGETS: dict[str, Callable[[Path], None]] = {
    "dota_text": dota_text,
    "voc_xml": voc_xml,
    "dior_xml": dior_xml,
    "fair1m_xml": fair1m,
    "xview_geojson": xview_geojson,
    "footprints": footprints,
    "coco_json": coco_json,
    "rle": rle,
}


def run_target(name: str, data: bytes, path: Path) -> bool:
    """Give bytes to a parser; whether it took them.

    Raises:
        AssertionError: the parser refused them without naming the file, or gave wrong values.
        Exception: whatever else it raised.
    """
    path.write_bytes(data)
    try:
        TARGETS[name](path)
    except AnnotationError as error:
        assert str(error).startswith(str(path)), f"the file is not named: {error}"
        return False
    return True
