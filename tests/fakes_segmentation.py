"""Tiny copies of the sets for segmentation in their official layouts, written at test time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image

LOVEDA_SIZE = 16
# Split folder -> scene -> numbers of its images; they run on through the splits.
LOVEDA_NUMBERS = {
    "Train": {"Rural": [0, 2, 10], "Urban": [1]},
    "Val": {"Rural": [11], "Urban": [12]},
    "Test": {"Rural": [13], "Urban": [14, 15]},
}


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """A PNG of 8-bit pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def loveda_mask(number: int) -> np.ndarray:
    """Values 0 to 7 as published, each in two rows of 16."""
    values = np.repeat(np.arange(8, dtype=np.uint8), 2)[:, None]
    return np.roll(np.repeat(values, LOVEDA_SIZE, axis=1), number, axis=1 - number % 2)


def write_loveda(root: Path) -> Path:
    """`{Train,Val,Test}/{Rural,Urban}/{images_png,masks_png}`; the test has no masks."""
    for split, scenes in LOVEDA_NUMBERS.items():
        for scene, numbers in scenes.items():
            for number in numbers:
                folder = root / split / scene
                rng = np.random.default_rng(number)
                pixels = rng.integers(0, 256, (LOVEDA_SIZE, LOVEDA_SIZE, 3), np.uint8)
                write_png(folder / f"images_png/{number}.png", pixels)
                if split != "Test":
                    write_png(folder / f"masks_png/{number}.png", loveda_mask(number))
    return root


# SpaceNet: degrees a pixel, and where the left upper corner of a chip lies.
STEP = 4.5e-6
WEST, NORTH = -43.6, -22.9
TRANSFORM = rasterio.Affine(STEP, 0, WEST, 0, -STEP, NORTH)
SPACENET_SIZE = (12, 16)  # height, width
SPACENET_FOLDERS = {
    "old": ("processedBuildingLabels/3band", "processedBuildingLabels/vectordata/geojson"),
    "new": ("SN1_buildings/train/3band", "SN1_buildings/train/geojson"),
    "mtp": ("data/3band", "data/geojson"),
}


def ring(*points: tuple[float, float]) -> list[list[float]]:
    """Closed ring of a GeoJSON, with heights, through points (x, y) in pixels."""
    return [[WEST + STEP * x, NORTH - STEP * y, 0.0] for x, y in (*points, points[0])]


def rectangle(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """Ring around a rectangle in pixels."""
    return ring((left, top), (right, top), (right, bottom), (left, bottom))


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    """Geometry of an outline and its holes."""
    return {"type": "Polygon", "coordinates": list(rings)}


def feature_collection(*geometries: dict[str, Any] | None) -> dict[str, Any]:
    """Content of a file of footprints as published."""
    return {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},
        "features": [
            {"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries
        ],
    }


def write_chip(
    path: Path,
    *,
    size: tuple[int, int] = SPACENET_SIZE,
    bands: int = 3,
    dtype: str = "uint8",
    crs: str | None = "EPSG:4326",
    transform: rasterio.Affine = TRANSFORM,
) -> Path:
    """A georeferenced TIFF of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (bands, *size)).astype(dtype)
    shape = {"count": bands, "height": size[0], "width": size[1], "dtype": dtype}
    with rasterio.open(path, "w", "GTiff", crs=crs, transform=transform, **shape) as file:
        file.write(pixels)
    return path


def write_spacenet(root: Path, layout: str = "old", num_chips: int = 7) -> Path:
    """Chips 1 to n; chip k has a footprint of k pixels in a row, those divisible by 3 none."""
    images, labels = (root / folder for folder in SPACENET_FOLDERS[layout])
    labels.mkdir(parents=True)
    for number in range(1, num_chips + 1):
        write_chip(images / f"3band_AOI_1_RIO_img{number}.tif")
        label = labels / f"Geo_AOI_1_RIO_img{number}.geojson"
        if number % 3 == 0:  # both ways of saying that there is nothing
            label.write_text("" if number % 2 else json.dumps(feature_collection()))
        else:
            footprint = polygon(rectangle(1, 2, 1 + number, 3))
            label.write_text(json.dumps(feature_collection(footprint)))
    return root
