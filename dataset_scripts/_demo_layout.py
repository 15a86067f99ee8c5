"""A picture of the demo set being laid out: grounds, poses, and what fits where.

A scene is laid out in a frame that is turned by a random angle; objects stand on the ground that
suits them (ships on water, planes on the apron, vehicles along roads), follow the frame where
people would park them so, and never overlap.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mtp_hf.dataset_scripts._demo_canvas import (
    Canvas,
    Color,
    Pose,
    Sprite,
    place,
    place_all,
    rectangle,
)

LAND, WATER, APRON, ROAD, PAD = range(5)
FAR = 400.0  # beyond the border of every picture

MAX_OBJECTS = 6  # of one picture
TRIES_PER_SHAPE = 5
MARGIN = 2.5  # least distance of an object from the border
GAP = 1.8  # and half of that between two objects


class DemoObject(NamedTuple):
    """One labelled object: what it is, its corners `(4, 2)` and mask `(H, W)`, in pixels."""

    kind: str
    polygon: np.ndarray
    mask: np.ndarray


class Scene:
    """A picture being laid out; items are painted when all have found their place."""

    def __init__(self, rng: np.random.Generator, size: int, kinds: set[str]) -> None:
        self.rng = rng
        # Small pictures keep objects large enough to see; large ones show them in more detail.
        self.extent = size / float(np.clip(size / 96, 0.6, 4))
        self.canvas = Canvas(rng, size, self.extent)
        self.kinds = kinds
        self.sun = float(rng.uniform(0, 2 * np.pi))
        middle = self.extent / 2 + rng.uniform(-12, 12, 2)
        self.frame = Pose(*middle, float(rng.uniform(0, 2 * np.pi)))
        self.taken = np.zeros((size, size), bool)
        self.num_objects = 0
        self.items: list[tuple[str | None, Sprite, Pose]] = []

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """Uniform number."""
        return float(self.rng.uniform(low, high))

    def strip(
        self, top: float, bottom: float, left: float = -FAR, right: float = FAR
    ) -> np.ndarray:
        """Rectangle of the turned frame, in the scene."""
        return place(rectangle(left, top, right, bottom), self.frame)

    def pose(self, u: float, v: float, turn: float) -> Pose:
        """Pose at a point of the turned frame, `turn` quarter turns from it."""
        (x, y) = place(np.array([(u, v)]), self.frame)[0]
        return Pose(float(x), float(y), self.frame.angle + turn * np.pi / 2)

    def anywhere(self) -> Pose:
        """Random pose in the picture."""
        x, y = self.rng.uniform(0, self.extent, 2)
        return Pose(float(x), float(y), self.between(0, 2 * np.pi))

    def aligned(self) -> Pose:
        """Random place in the picture, turned like the frame in quarter turns."""
        x, y = self.rng.uniform(0, self.extent, 2)
        turn = float(self.rng.integers(4))
        return Pose(float(x), float(y), self.frame.angle + turn * np.pi / 2)

    def line(self, v: float, width: float, color: Color, dash: float = 0) -> None:
        """A marking along the frame, solid or dashed."""
        starts = np.arange(-self.extent, self.extent, 2 * dash) if dash else [-FAR]
        for u in starts:
            end = u + dash if dash else FAR
            self.canvas.add_marking(self.strip(v - width / 2, v + width / 2, u, end), color)

    def put(
        self,
        kind: str | None,
        make: Callable[..., Sprite],
        pose: Callable[[], Pose],
        *,
        grounds: tuple[int, ...],
        count: int = 1,
        tries: int = 25,
    ) -> None:
        """Stand up to `count` objects where they fit; `kind` None is clutter without a label."""
        if kind is not None and kind not in self.kinds:
            return
        for _ in range(count):
            if kind is None or self.num_objects < MAX_OBJECTS:
                self._stand(kind, make, pose, grounds=grounds, tries=tries)

    def _stand(
        self,
        kind: str | None,
        make: Callable[..., Sprite],
        pose: Callable[[], Pose],
        *,
        grounds: tuple[int, ...],
        tries: int,
    ) -> None:
        for attempt in range(tries):
            if attempt % TRIES_PER_SHAPE == 0:
                seed = int(self.rng.integers(2**32))
                trial = make(np.random.default_rng(seed), light=0.0)
                box = _bounds(trial)
            where = pose()
            is_whole = kind is not None  # clutter may be cut by the border
            if self._fits([box, *trial.clearance], where, grounds, is_whole=is_whole):
                # The same shape again, now lit from the right side.
                sprite = make(np.random.default_rng(seed), light=self.sun - where.angle)
                self.items.append((kind, sprite, where))
                self.num_objects += kind is not None
                return

    def paint(self) -> tuple[Image.Image, list[DemoObject]]:
        """Paint all items; labelled ones come back in the order of painting."""
        reach = -np.array([np.cos(self.sun), np.sin(self.sun)])
        for _, sprite, pose in self.items:
            placed = place_all([points for points, _ in sprite.under], pose)
            for points, (_, color) in zip(placed, sprite.under, strict=True):
                self.canvas.add_marking(points, color)
            if sprite.height:
                self.canvas.add_shadow(sprite.outline, pose, reach * sprite.height)
        self.canvas.start_painting(shadow_strength=0.55)
        found = []
        for kind, sprite, pose in self.items:
            self.canvas.paint(sprite.parts, pose)
            if kind is not None:
                # A circle has no direction: its box stays upright.
                facing = pose._replace(angle=0.0) if kind == "tank" else pose
                polygon = place(_bounds(sprite), facing) * self.canvas.scale
                mask = self.canvas.mask(place_all(sprite.outline, pose))
                found.append(DemoObject(kind, polygon, mask))
        return self.canvas.finish(), found

    def _fits(
        self, shapes: list[np.ndarray], pose: Pose, grounds: tuple[int, ...], *, is_whole: bool
    ) -> bool:
        """Take the place of an object if it is free and of the right ground all over.

        Args:
            shapes: box of the object, then what else must be free, in its frame.
            pose: where it would stand.
            grounds: kinds of ground it may stand on.
            is_whole: the box must lie within the picture.
        """
        box, *clearance = shapes
        inside = place(box, pose)
        if is_whole and not ((inside > MARGIN) & (inside < self.extent - MARGIN)).all():
            return False
        column, row = (int(v * self.canvas.scale) for v in (pose.x, pose.y))
        if self.taken[row, column] or self.canvas.ground[row, column] not in grounds:
            return False
        grown = box + GAP * np.sign(box - box.mean(axis=0))
        area = self._cover(place_all([grown, *clearance], pose))
        if (self.taken & area).any() or not np.isin(self.canvas.ground[area], grounds).all():
            return False
        self.taken |= area
        return True

    def _cover(self, polygons: list[np.ndarray]) -> np.ndarray:
        """Pixels the polygons touch, drawn without supersampling: every try asks for it."""
        mask = Image.new("1", (self.canvas.size, self.canvas.size))
        draw = ImageDraw.Draw(mask)
        for points in polygons:
            draw.polygon(list(map(tuple, (points * self.canvas.scale).tolist())), fill=1)
        return np.asarray(mask)


def _bounds(sprite: Sprite) -> np.ndarray:
    """Box of the outline in the sprite's frame: clockwise from behind left of its nose."""
    points = np.concatenate(sprite.outline)
    return rectangle(*points.min(axis=0), *points.max(axis=0))
