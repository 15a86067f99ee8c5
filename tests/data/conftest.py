"""Generated rows of the `samrs` schema: coloured quadrilaterals on black ground."""

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch.nn import functional as F  # noqa: N812

# Far apart, and far from the black ground, so that a pixel's object can be read off its colour.
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]


def encode(mask: np.ndarray) -> dict:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def rotated_rectangle(center, size, angle) -> list[float]:
    """Corners x1 y1 .. x4 y4 of a rectangle turned clockwise on the screen."""
    along = np.array([np.cos(angle), np.sin(angle)]) * size[0] / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * size[1] / 2
    corners = [-along - across, along - across, along + across, -along + across]
    return [float(v) for corner in corners for v in np.asarray(center) + corner]


def inside_polygon(polygon, size) -> np.ndarray:
    """Pixels of a (height, width) map whose centre lies in a clockwise convex polygon."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    corners = np.reshape(polygon, (4, 2))
    mask = np.ones(size, dtype=bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        mask &= (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) >= 0
    return mask


def draw_scene(seed: int, size=(96, 96), num_objects: int = 4) -> dict:
    """A row whose object i has class i and colour i; objects do not touch each other."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = np.zeros((height, width, 3), dtype=np.uint8)
    gray = np.full((height, width), 255, dtype=np.uint8)
    polygons, codes = [], []
    cell_w, cell_h = width / 3, height / 2
    for i in range(num_objects):
        center = ((i % 3 + 0.5) * cell_w, (i // 3 + 0.5) * cell_h)
        side = rng.uniform(0.45, 0.65, 2) * min(cell_w, cell_h)
        polygon = rotated_rectangle(center, side, rng.uniform(-np.pi, np.pi))
        mask = inside_polygon(polygon, size)
        image[mask] = COLORS[i]
        gray[mask] = i
        polygons.append(polygon)
        codes.append(encode(mask))
    categories = list(range(num_objects))
    return {
        "image_id": f"scene-{seed}",
        "image": Image.fromarray(image),
        "semantic_mask": Image.fromarray(gray),
        "width": width,
        "height": height,
        "objects": {
            "category": categories,
            "segmentation": codes,
            "iscrowd": [False] * num_objects,
        },
        "rotated_objects": {"category": categories, "polygon": polygons},
    }


def signed_distance(rotated_box, size) -> np.ndarray:
    """Pixels outside (positive) of a rectangle, at each pixel centre: (H, W)."""
    cx, cy, w, h, angle = rotated_box.tolist()
    y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    along = np.abs((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) - w / 2
    across = np.abs((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) - h / 2
    return np.maximum(along, across)


def draw_patches(seed: int, size, num_classes: int) -> np.ndarray:
    """Squares of 20 pixels of random classes 0..K-1 or of 255, uint8 (H, W)."""
    rng = np.random.default_rng(seed)
    squares = rng.choice([*range(num_classes), 255], (size[0] // 20 + 1, size[1] // 20 + 1))
    return squares.astype(np.uint8).repeat(20, 0).repeat(20, 1)[: size[0], : size[1]]


def inner_pixels(labels: torch.Tensor) -> torch.Tensor:
    """Pixels of a map (H, W) with all neighbours up to two pixels away, and of one label: bool."""
    levels = F.pad(labels.float()[None], (2, 2, 2, 2), value=-1.0)
    largest = F.max_pool2d(levels, 5, 1)
    smallest = -F.max_pool2d(-levels, 5, 1)
    return (largest == smallest)[0]


@pytest.fixture(name="draw_scene")
def _draw_scene():
    return draw_scene


@pytest.fixture(name="encode")
def _encode():
    return encode


@pytest.fixture(scope="session")
def colors():
    return COLORS


@pytest.fixture(name="signed_distance")
def _signed_distance():
    return signed_distance


@pytest.fixture(name="draw_patches")
def _draw_patches():
    return draw_patches


@pytest.fixture(name="inner_pixels")
def _inner_pixels():
    return inner_pixels
