"""Painting tools of the demo set: noise textures, polygons in a rotated frame, soft shadows.

Everything is drawn four times too large and reduced at the end, so edges are smooth. Coordinates
are scene units (1 unit = 1 pixel of a 128-pixel picture), x to the right, y down, angles in
radians and clockwise. A `Sprite` is plain data: filled polygons around the origin, the long axis
along x.
"""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 4

Color = tuple[int, ...]  # RGB or RGBA, 0-255


class Pose(NamedTuple):
    """Where a sprite stands and where its x axis points."""

    x: float
    y: float
    angle: float


class Sprite(NamedTuple):
    """Polygons `(N, 2)` with their fill, back to front, and what of them is the object."""

    parts: list[tuple[np.ndarray, Color]]
    outline: list[np.ndarray]  # their union is the instance mask
    height: float  # length of the shadow
    under: list[tuple[np.ndarray, Color]]  # painted on the ground before any shadow
    clearance: list[np.ndarray]  # what must be free besides the object


def place(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Move `(N, 2)` points from the frame of a pose into the scene."""
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.asarray(points, np.float64) @ rotation + (pose.x, pose.y)


def place_all(polygons: list[np.ndarray], pose: Pose) -> list[np.ndarray]:
    """`place` many polygons in one go."""
    ends = np.cumsum([len(points) for points in polygons])
    moved = place(np.concatenate(polygons), pose) if polygons else np.zeros((0, 2))
    return [moved[end - len(p) : end] for p, end in zip(polygons, ends, strict=True)]


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Corners `(4, 2)`, clockwise from the top left."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def ellipse(x: float, y: float, rx: float, ry: float, num_points: int = 40) -> np.ndarray:
    """Points `(num_points, 2)` of an ellipse."""
    return _unit_circle(num_points) * (rx, ry) + (x, y)


def rounded(length: float, width: float, radius: float) -> np.ndarray:
    """Centred rectangle with round corners."""
    t = np.linspace(0, np.pi / 2, 5)
    corner = np.stack([np.cos(t), np.sin(t)], axis=1) * radius
    dx, dy = length / 2 - radius, width / 2 - radius
    quarters = [
        corner * (sx, sy) + (sx * dx, sy * dy) for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    return np.concatenate([q if i % 2 == 0 else q[::-1] for i, q in enumerate(quarters)])


def stroke(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """A straight line as a quadrilateral."""
    a, b = np.array(start, np.float64), np.array(end, np.float64)
    along = (b - a) / max(np.hypot(*(b - a)), 1e-9)
    side = np.array([-along[1], along[0]]) * width / 2
    return np.stack([a - side, b - side, b + side, a + side])


def shade(color: Color, factor: float) -> tuple[int, int, int]:
    """Darker below 1, towards white above."""
    rgb = np.array(color[:3], np.float64)
    rgb = rgb * factor if factor <= 1 else rgb + (255 - rgb) * (factor - 1)
    return tuple(int(v) for v in rgb.clip(0, 255))  # type: ignore[return-value]


def smooth_noise(rng: np.random.Generator, size: int, cells: tuple[int, ...]) -> np.ndarray:
    """Sum of ever finer smooth noise, `(size, size)`, mean 0 and deviation 1."""
    total = np.zeros((size, size), np.float32)
    for octave, count in enumerate(cells):
        grid = Image.fromarray(rng.standard_normal((count, count), np.float32))
        total += np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)) * 0.62**octave
    return (total - total.mean()) / (total.std() + 1e-6)


@functools.cache
def _unit_circle(num_points: int) -> np.ndarray:
    t = np.arange(num_points) * (2 * np.pi / num_points)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


class Canvas:
    """A square picture in the making: grounds first, then markings, shadows and sprites.

    Attributes:
        ground: `(size, size)` of uint8, which kind of ground every pixel has.
    """

    def __init__(self, rng: np.random.Generator, size: int, extent: float) -> None:
        self.rng = rng
        self.size = size
        self.scale = size / extent  # pixels per unit
        self.ground = np.zeros((size, size), np.uint8)
        self._base = Image.new("RGB", (size, size))
        self._markings: list[tuple[np.ndarray, Color]] = []
        self._shadow = Image.new("L", (size * SUPERSAMPLING,) * 2)
        self._shadow_draw = ImageDraw.Draw(self._shadow)
        self._fine: ImageDraw.ImageDraw | None = None

    def texture(
        self, colors: tuple[Color, Color, Color], cells: tuple[int, ...] = (3, 6, 13, 29, 61)
    ) -> Image.Image:
        """A ground texture: dark to light in fine patches, with wide patches of a third colour."""
        light = (0.5 + 0.24 * smooth_noise(self.rng, self.size, cells)).clip(0, 1)[..., None]
        patch = (0.35 * smooth_noise(self.rng, self.size, (3, 5)) - 0.1).clip(0, 0.6)[..., None]
        dark, bright, third = (np.array(color, np.float32) for color in colors)
        pixels = dark + (bright - dark) * light
        pixels += (third - pixels) * patch
        grain = self.rng.standard_normal((self.size, self.size, 1), np.float32) * 4.0
        return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))

    def water(self, dark: Color, bright: Color) -> Image.Image:
        """Water: wide currents and small waves that run in one direction."""
        size = self.size
        light = 0.45 + 0.2 * smooth_noise(self.rng, size, (3, 5))
        waves = self.rng.standard_normal((max(size * 2 // 3, 1), max(size // 6, 1)), np.float32)
        ripple = Image.fromarray(waves).resize((2 * size, 2 * size), Image.Resampling.BICUBIC)
        ripple = ripple.rotate(float(self.rng.uniform(0, 180)), Image.Resampling.BILINEAR)
        quarter = np.asarray(ripple)[size // 2 :, size // 2 :][:size, :size]
        light = (light + 0.13 * quarter).clip(0, 1)[..., None]
        base, top = np.array(dark, np.float32), np.array(bright, np.float32)
        return Image.fromarray((base + (top - base) * light).clip(0, 255).astype(np.uint8))

    def fill_ground(
        self, kind: int, texture: Image.Image, polygons: list[np.ndarray] | None = None
    ) -> None:
        """Cover the picture, or polygons of it, with a texture and note the kind of ground."""
        if polygons is None:
            self._base.paste(texture)
            self.ground[:] = kind
            return
        mask = self._mask(polygons).reduce(SUPERSAMPLING)
        self._base.paste(texture, mask=mask)
        self.ground[np.asarray(mask) > 127] = kind

    def add_marking(self, points: np.ndarray, color: Color) -> None:
        """Note a flat polygon; all of them lie on the finished grounds, in this order."""
        self._markings.append((points, color))

    def add_shadow(self, outline: list[np.ndarray], pose: Pose, reach: np.ndarray) -> None:
        """Note the shadow of an object whose top is `reach` (x, y) away from its foot."""
        for points in place_all(outline, pose):
            for step in np.linspace(0, 1, 5):
                self._shadow_draw.polygon(self._pixels(points + step * reach), 255)

    def start_painting(self, shadow_strength: float) -> None:
        """Close the grounds: lay markings and shadows on them. Sprites can be painted then."""
        self._image = self._base.resize(self._shadow.size, Image.Resampling.BICUBIC)
        self._fine = ImageDraw.Draw(self._image, "RGBA")
        for points, color in self._markings:
            self._fine.polygon(self._pixels(points), fill=tuple(color))
        soft = self._shadow.reduce(2).filter(ImageFilter.GaussianBlur(0.7 * self.scale))
        soft = soft.point([int(value * shadow_strength) for value in range(256)])
        mask = soft.resize(self._shadow.size, Image.Resampling.BILINEAR)
        self._image.paste((16, 22, 34), mask=mask)

    def paint(self, parts: list[tuple[np.ndarray, Color]], pose: Pose) -> None:
        """Fill the polygons of a sprite; an RGBA colour lets what is under it through."""
        assert self._fine is not None, "start_painting comes first"
        placed = place_all([points for points, _ in parts], pose)
        for points, (_, color) in zip(placed, parts, strict=True):
            self._fine.polygon(self._pixels(points), fill=tuple(color))

    def mask(self, polygons: list[np.ndarray]) -> np.ndarray:
        """Pixels `(size, size)` of bool that the polygons cover by half or more."""
        return np.asarray(self._mask(polygons).reduce(SUPERSAMPLING)) > 127

    def finish(self) -> Image.Image:
        """Reduce, and give the picture the light, tint and grain of one flight."""
        rng = self.rng
        pixels = np.asarray(self._image.reduce(SUPERSAMPLING), np.float32)
        contrast, brightness = rng.uniform(0.96, 1.12), rng.uniform(-6, 14)
        tint = (rng.uniform(-4, 4, 3) * (1, 0.4, 1)).astype(np.float32)
        pixels = (pixels - 118) * contrast + 118 + brightness + tint
        grain = rng.standard_normal((*pixels.shape[:2], 1), np.float32)
        pixels = pixels + grain * rng.uniform(1.0, 2.5)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def _pixels(self, points: np.ndarray) -> list[tuple[float, ...]]:
        # ImageDraw fills up to and with its corners: half a fine pixel less centres the shape.
        scaled = np.asarray(points) * (self.scale * SUPERSAMPLING) - 0.5
        return list(map(tuple, scaled.tolist()))

    def _mask(self, polygons: list[np.ndarray]) -> Image.Image:
        mask = Image.new("L", self._shadow.size)
        draw = ImageDraw.Draw(mask)
        for points in polygons:
            draw.polygon(self._pixels(points), fill=255)
        return mask
