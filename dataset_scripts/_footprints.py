"""Read outlines of buildings from GeoJSON files and burn them into the grid of an image.

Coordinates are longitude and latitude (CRS84, the only system that GeoJSON has today, or EPSG:4326
in files that name one), with or without heights. A pixel is building if its centre lies in an
outline and in none of its holes.

Points, lines and rings of fewer than three points have no area; they are left out, and the log says
so. Differs: GDAL, with which MTP burns, marks the pixels that a point or a line touches.

Source: GeoJSON (RFC 7946); labels of SpaceNet as published.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import rasterio.features
from rasterio import Affine

from mtp_hf.dataset_scripts._readers import AnnotationError, read_json

logger = datasets.utils.logging.get_logger(__name__)

CRS84 = re.compile(r"(CRS84|EPSG:+(\d+(\.\d+)*:+)?4326|WGS ?84)$", re.IGNORECASE)
MIN_RING_POINTS = 3
NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")
MAX_NESTING = 8  # of GeometryCollections


class Grid(NamedTuple):
    """Where pixels lie: `transform` takes (column, row) to (longitude, latitude)."""

    height: int
    width: int
    transform: Affine


def read_footprints(path: str | Path) -> list[dict[str, Any]]:
    """Polygons and MultiPolygons of a file, as GeoJSON geometries; an empty file has none.

    Raises:
        AnnotationError: the file is no FeatureCollection of areas in longitude and latitude.
    """
    is_empty = not Path(path).read_bytes().strip()
    content = {"type": "FeatureCollection"} if is_empty else read_json(path)
    kind = content.get("type") if isinstance(content, dict) else type(content).__name__
    if kind != "FeatureCollection":
        raise AnnotationError(f"{path}: a {kind!r}; expected a FeatureCollection")
    _check_crs(path, content.get("crs"))
    features = content.get("features") or []
    if not isinstance(features, list):
        raise AnnotationError(
            f"{path}: field 'features' is {type(features).__name__}; expected a list"
        )
    areas: list[dict[str, Any]] = []
    for index, feature in enumerate(features):
        where = f"{path}, feature {index}"
        if not isinstance(feature, dict):
            raise AnnotationError(f"{where}: {type(feature).__name__}; expected an object")
        areas += _areas(where, feature.get("geometry"))
    return areas


def burn_footprints(areas: list[dict[str, Any]], grid: Grid, where: str | Path) -> np.ndarray:
    """Mask (H, W) of uint8: 1 in an area, 0 elsewhere.

    Args:
        areas: of `read_footprints`.
        grid: of the image.
        where: file of the areas, for messages.

    Raises:
        AnnotationError: all areas lie outside of the image.
    """
    shape = (grid.height, grid.width)
    filled = [area for area in areas if area["coordinates"]]
    if not filled:
        return np.zeros(shape, np.uint8)
    if not any(_touches(area, grid) for area in filled):
        raise AnnotationError(
            f"{where}: none of {len(filled)} footprints lies in the image; expected those of its "
            "place"
        )
    return rasterio.features.rasterize(
        filled, shape, fill=0, default_value=1, transform=grid.transform, dtype="uint8"
    )


def _check_crs(path: str | Path, crs: Any) -> None:
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else crs
    if not isinstance(name, str) or not CRS84.search(name):
        raise AnnotationError(f"{path}: coordinates in {name!r}; expected CRS84 or EPSG:4326")


def _areas(where: str, geometry: Any, depth: int = 0) -> list[dict[str, Any]]:
    if geometry is None:  # a feature without a place
        return []
    kind = geometry.get("type") if isinstance(geometry, dict) else type(geometry).__name__
    if kind == "GeometryCollection" and depth < MAX_NESTING:
        members = geometry.get("geometries") or []
        if not isinstance(members, list):
            raise AnnotationError(f"{where}: field 'geometries' is no list")
        return [area for member in members for area in _areas(where, member, depth + 1)]
    if kind in NO_AREA:
        logger.warning(f"{where}: a {kind!r} has no area; left out")
        return []
    if kind not in ("Polygon", "MultiPolygon"):
        raise AnnotationError(f"{where}: a {kind!r}; expected a Polygon or MultiPolygon")
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list):
        raise AnnotationError(f"{where}: field 'coordinates' is no list")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    checked = [_polygon(where, polygon) for polygon in polygons]
    return [{"type": "Polygon", "coordinates": rings} for rings in checked if rings]


def _polygon(where: str, rings: Any) -> list[list[tuple[float, float]]]:
    """Outline and holes without heights; empty if the outline has no area."""
    if not isinstance(rings, list):
        raise AnnotationError(f"{where}: a polygon that is no list of rings")
    points = [[_point(where, point) for point in _list(where, ring)] for ring in rings]
    flat = [len(set(ring)) < MIN_RING_POINTS for ring in points]
    if any(flat):
        logger.warning(f"{where}: a ring of fewer than {MIN_RING_POINTS} points; left out")
    if not points or flat[0]:
        return []
    rings = [ring for ring, is_flat in zip(points, flat, strict=True) if not is_flat]
    return [ring if ring[0] == ring[-1] else [*ring, ring[0]] for ring in rings]


def _list(where: str, value: Any) -> list:
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: {value!r}; expected a list of points")
    return value


def _point(where: str, point: Any) -> tuple[float, float]:
    values = point if isinstance(point, list) else []
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < 2 or len(numbers) != len(values):
        raise AnnotationError(f"{where}: point {point!r}; expected longitude and latitude")
    x, y = numbers[:2]
    if not (abs(x) <= 180 and abs(y) <= 90):  # NaN is neither
        raise AnnotationError(f"{where}: point ({x}, {y}); expected degrees")
    return float(x), float(y)


def _touches(area: dict[str, Any], grid: Grid) -> bool:
    """Whether the box around an area meets the image, or lies next to its border."""
    outline = area["coordinates"][0]
    pixels = [~grid.transform @ point for point in outline]
    columns, rows = [p[0] for p in pixels], [p[1] for p in pixels]
    return (
        max(columns) >= -1
        and min(columns) <= grid.width + 1
        and max(rows) >= -1
        and min(rows) <= grid.height + 1
    )
