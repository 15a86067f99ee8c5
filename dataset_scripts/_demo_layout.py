"""A picture of the demo set being laid out: grounds, poses, and what fits where.

A scene is laid out in a frame that is turned by a random angle; objects stand on the ground that
suits them (ships on water, planes on the apron, vehicles along roads), follow the frame where
people would park them so, and never overlap.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._demo_canvas import Canvas, Color, Pose, Sprite, place, rectangle

LAND, WATER, APRON, ROAD, PAD = range(5)
FAR = 400.0  # beyond the border of every picture

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
        self.extent = size / float(np.clip(size / 128, 0.6, 4))
        self.canvas = Canvas(rng, size, self.extent)
        self.kinds = kinds
        self.sun = float(rng.uniform(0, 2 * np.pi))
        middle = self.extent / 2 + rng.uniform(-12, 12, 2)
        self.frame = Pose(*middle, float(rng.uniform(0, 2 * np.pi)))
        self.taken = np.zeros((size, size), bool)
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
        if not dash:
            self.canvas.polygon(self.strip(v - width / 2, v + width / 2), color)
            return
        for u in np.arange(-self.extent, self.extent, 2 * dash):
            mark = self.strip(v - width / 2, v + width / 2, u, u + dash)
            self.canvas.polygon(mark, color)

    def put(
        self,
        kind: str | None,
        make: Callable[[float], Sprite],
        pose: Callable[[], Pose],
        grounds: tuple[int, ...],
        count: int,
        tries: int = 25,
    ) -> int:
        """Stand up to `count` objects where they fit; `kind` None is clutter without a label."""
        if kind is not None and kind not in self.kinds:
            return 0
        done = 0
        for _ in range(tries * count):
            if done == count:
                break
            where = pose()
            sprite = make(self.sun - where.angle)
            if self._fits(kind, sprite, where, grounds):
                self.items.append((kind, sprite, where))
                done += 1
        return done

    def paint(self) -> tuple[Image.Image, list[DemoObject]]:
        """Paint all items; labelled ones come back in the order of painting."""
        reach = -np.array([np.cos(self.sun), np.sin(self.sun)])
        for _, sprite, pose in self.items:
            self.canvas.paint(sprite.under, pose)
            if sprite.height:
                self.canvas.add_shadow(sprite.outline, pose, reach * sprite.height)
        self.canvas.cast_shadows(0.55)
        found = []
        for kind, sprite, pose in self.items:
            self.canvas.paint(sprite.parts, pose)
            if kind is not None:
                polygon = _corners(kind, sprite, pose) * self.canvas.scale
                found.append(DemoObject(kind, polygon, self.canvas.mask(sprite.outline, pose)))
        return self.canvas.finish(), found

    def _fits(self, kind: str | None, sprite: Sprite, pose: Pose, grounds: tuple[int, ...]) -> bool:
        box = _corners("", sprite, pose)
        if kind is not None and not ((box > MARGIN).all() and (box < self.extent - MARGIN).all()):
            return False
        grown = _corners("", sprite, pose, grow=GAP)
        area = self.canvas.mask([grown], Pose(0, 0, 0))
        if not area.any() or (self.taken & area).any():
            return False
        if not np.isin(self.canvas.ground[area], grounds).all():
            return False
        self.taken |= area
        return True


def _corners(kind: str, sprite: Sprite, pose: Pose, grow: float = 0) -> np.ndarray:
    """Box of the outline in the sprite's frame: clockwise, first corner behind left of its nose."""
    points = np.concatenate(sprite.outline)
    if kind == "tank":  # a circle has no direction
        pose = pose._replace(angle=0.0)
    (left, top), (right, bottom) = points.min(axis=0) - grow, points.max(axis=0) + grow
    return place(rectangle(left, top, right, bottom), pose)
