"""The scenes of the demo set: harbour, open sea, airfield, tank farm, suburb and farmland.

Each function paints its grounds, stands the objects that belong there, and adds clutter that has
no label (trees, houses, halls, piers). They are rough likenesses of aerial pictures, made so that
a small network can learn them in minutes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mtp_hf.dataset_scripts import _demo_objects as objects
from mtp_hf.dataset_scripts._demo_canvas import Color, Pose, place
from mtp_hf.dataset_scripts._demo_layout import APRON, FAR, LAND, PAD, ROAD, WATER, Scene

Texture = tuple[Color, Color, Color]

GRASS: Texture = ((70, 92, 50), (112, 124, 72), (136, 128, 84))
MEADOW: Texture = ((92, 112, 58), (128, 140, 80), (104, 112, 66))
SOIL: Texture = ((142, 122, 92), (178, 158, 124), (120, 112, 78))
CONCRETE: Texture = ((150, 148, 142), (174, 172, 164), (140, 138, 132))
ASPHALT: Texture = ((84, 86, 90), (104, 106, 108), (94, 94, 96))
SAND: Texture = ((186, 170, 132), (210, 196, 158), (176, 160, 124))
CROPS: list[Texture] = [
    ((104, 120, 54), (134, 146, 74), (122, 128, 66)),
    ((156, 142, 84), (184, 170, 108), (146, 132, 80)),
    ((76, 104, 50), (98, 124, 66), (86, 108, 58)),
    ((128, 104, 76), (152, 128, 96), (118, 98, 70)),
]
WATERS: list[tuple[Color, Color]] = [
    ((34, 66, 88), (68, 110, 130)),
    ((40, 78, 82), (76, 122, 120)),
    ((30, 58, 88), (58, 98, 130)),
]
PAINT = (236, 234, 224, 200)
YELLOW = (222, 182, 70, 220)
DRY = (LAND, APRON, ROAD, PAD)


def harbor(scene: Scene) -> None:
    """A straight quay with piers; ships alongside and under way, a road and tanks ashore."""
    rng, canvas = scene.rng, scene.canvas
    shore = scene.between(-18, 2)
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, SOIL, MEADOW])))
    canvas.fill_ground(WATER, canvas.water(*_pick(rng, WATERS)), [scene.strip(shore, FAR)])
    concrete = [scene.strip(shore - scene.between(8, 12), shore)]
    for u in np.arange(scene.between(-60, -40), 60, scene.between(36, 50)):
        if scene.chance(0.6):
            concrete.append(scene.strip(shore - 1, shore + scene.between(24, 44), u - 3, u + 3))
    canvas.fill_ground(PAD, canvas.texture(CONCRETE), concrete)
    scene.line(shore - 0.7, 0.7, (240, 226, 160, 130))
    _road(scene, shore - scene.between(24, 32), vehicles=int(rng.integers(0, 3)))

    def berth() -> Pose:
        return scene.pose(scene.between(-60, 60), shore + scene.between(7, 9), _flip(scene))

    _ships(scene, int(rng.integers(2, 5)), berth)
    if scene.chance(0.5):
        scene.put(
            "tank", objects.tank, scene.aligned, grounds=(LAND,), count=int(rng.integers(1, 3))
        )
    _clutter(scene, roofs=3, trees=9)


def open_sea(scene: Scene) -> None:
    """Water everywhere, or a beach in a corner; ships under way with their wakes."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(WATER, canvas.water(*_pick(rng, WATERS)))
    if scene.chance(0.6):
        _beach(scene, scene.between(24, 52))
    _ships(scene, int(rng.integers(2, 6)))
    _clutter(scene, roofs=1, trees=10)


def airfield(scene: Scene) -> None:
    """An apron with stands in a row, a taxiway line, a service road, hangars beside it."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, MEADOW])))
    half = scene.between(36, 56)
    apron = canvas.texture(_pick(rng, [CONCRETE, ASPHALT]))
    canvas.fill_ground(APRON, apron, [scene.strip(-half, half)])
    joint = (60, 62, 64, 60)
    for v in np.arange(-half, half, 12):
        scene.line(float(v), 0.5, joint)
    for u in np.arange(-96, 96, 12):
        canvas.add_marking(scene.strip(-half, half, u, u + 0.5), joint)
    taxi = half - scene.between(12, 18)
    scene.line(taxi, 1.1, YELLOW)
    stands = np.arange(scene.between(-90, -60), 90, scene.between(40, 46))
    for u in stands:
        canvas.add_marking(scene.strip(-half + 6, taxi, u - 0.5, u + 0.5), YELLOW)
    turn = _pick(rng, [1.0, 3.0])

    def parked() -> Pose:
        return scene.pose(_pick(rng, list(stands)), scene.between(-half + 18, 6), turn)

    _road(scene, -half - scene.between(11, 15), vehicles=int(rng.integers(0, 3)))
    scene.put("plane", objects.plane, parked, grounds=(APRON,), count=int(rng.integers(1, 4)))
    scene.put(
        "plane", objects.plane, scene.anywhere, grounds=(APRON,), count=int(rng.integers(0, 3))
    )
    _clutter(scene, roofs=3, trees=12)


def tank_farm(scene: Scene) -> None:
    """A paved yard with tanks, or with lorries where the set has no tanks; a road, halls."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [SOIL, GRASS, MEADOW])))
    top, bottom = scene.between(-36, -26), scene.between(40, 60)
    left, right = scene.between(-70, -50), scene.between(50, 70)
    yard = canvas.texture(_pick(rng, [CONCRETE, SOIL]))
    canvas.fill_ground(PAD, yard, [scene.strip(top, bottom, left, right)])
    for v in (top, bottom):  # banks
        canvas.add_marking(scene.strip(v - 0.9, v + 0.9, left, right), (206, 198, 180, 190))
    _road(scene, top - scene.between(12, 16), vehicles=int(rng.integers(1, 4)))
    scene.put("tank", objects.tank, scene.aligned, grounds=(PAD,), count=int(rng.integers(2, 6)))
    if "tank" not in scene.kinds:
        scene.put(
            "truck", objects.truck, scene.aligned, grounds=(PAD,), count=int(rng.integers(2, 5))
        )
    _clutter(scene, roofs=3, trees=8)


def suburb(scene: Scene) -> None:
    """Tennis courts side by side, houses with gardens, a street with traffic."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, MEADOW])))
    _road(scene, scene.between(34, 46) * _pick(rng, [-1, 1]), vehicles=int(rng.integers(1, 4)))
    step, turn = scene.between(24, 26), _pick(rng, [0.0, 1.0])
    start = scene.between(-44, -18)
    for index in range(int(rng.integers(2, 5))):
        along, across = start + index * step, scene.between(-5, -4)
        u, v = (along, across) if turn else (across, along)
        where = partial(scene.pose, u, v, turn)
        scene.put("court", objects.court, where, grounds=(LAND,), tries=3)
    _clutter(scene, roofs=6, trees=16)


def farmland(scene: Scene) -> None:
    """Fields with furrows, trees, a country road with traffic, here and there a tank."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(MEADOW))
    crops = [canvas.texture(crop) for crop in CROPS]
    edges = np.cumsum(rng.uniform(26, 54, 8)) - 130
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        for low, high in ((-FAR, -11.0), (11.0, FAR)):
            canvas.fill_ground(LAND, _pick(rng, crops), [scene.strip(low, high, left, right - 1.5)])
            if scene.chance(0.6):
                for u in np.arange(left + 1.5, right - 2, 3.0):
                    canvas.add_marking(scene.strip(low, high, u, u + 0.9), (60, 52, 34, 46))
    _road(scene, 0.0, vehicles=int(rng.integers(2, 5)))
    if scene.chance(0.35):
        scene.put(
            "tank", objects.tank, scene.aligned, grounds=(LAND,), count=int(rng.integers(1, 3))
        )
    _clutter(scene, roofs=2, trees=18)


SCENES: list[Callable[[Scene], None]] = [
    harbor,
    airfield,
    tank_farm,
    suburb,
    open_sea,
    farmland,
]


def _pick(rng: np.random.Generator, options: list) -> Any:
    return options[int(rng.integers(len(options)))]


def _flip(scene: Scene) -> float:
    return 2.0 * float(scene.chance(0.5))


def _road(scene: Scene, v: float, vehicles: int) -> None:
    """A road along the frame with traffic on the right of both lanes."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(ROAD, canvas.texture(ASPHALT), [scene.strip(v - 9.5, v + 9.5)])
    for side in (-8.6, 8.6):
        scene.line(v + side, 0.6, PAINT)
    scene.line(v, 0.6, PAINT, dash=4)

    def lane() -> Pose:
        turn = _flip(scene)
        return scene.pose(scene.between(-90, 90), v + (4.4 if turn == 0 else -4.4), turn)

    kinds = [kind for kind in ("truck", "car") if kind in scene.kinds]
    for _ in range(vehicles if kinds else 0):
        kind = _pick(rng, kinds)
        make = objects.truck if kind == "truck" else objects.car
        scene.put(kind, make, lane, grounds=DRY)


def _ships(scene: Scene, count: int, berth: Callable[[], Pose] | None = None) -> None:
    for _ in range(count):
        moored = berth is not None and scene.chance(0.5)
        make = partial(objects.ship, moving=not moored)
        where = berth if berth is not None and moored else scene.anywhere
        scene.put("ship", make, where, grounds=(WATER,), tries=30)


def _clutter(scene: Scene, roofs: int, trees: int) -> None:
    rng = scene.rng
    num_trees = int(rng.integers(trees // 2, trees + 1))
    scene.put(
        None,
        objects.roof,
        scene.aligned,
        grounds=(LAND,),
        count=int(rng.integers(roofs + 1)),
        tries=5,
    )
    scene.put(None, objects.tree, scene.anywhere, grounds=(LAND,), count=num_trees, tries=3)


def _beach(scene: Scene, distance: float) -> None:
    """Land beyond a wavy shore, with shallow water and sand along it."""
    rng, canvas = scene.rng, scene.canvas
    u = np.linspace(-160, 160, 60)
    wave = np.zeros(60)
    for _ in range(4):
        wave += rng.uniform(1, 5) * np.sin(u / rng.uniform(9, 40) + rng.uniform(0, 6))

    def edge(offset: float) -> np.ndarray:
        return place(np.stack([u, distance + wave + offset], axis=1), scene.frame)

    corners = place(np.array([(160.0, FAR), (-160.0, FAR)]), scene.frame)
    for offset in (-8, -5, -2.5):
        shallow = np.concatenate([edge(offset), edge(0.3)[::-1]])
        canvas.add_marking(shallow, (126, 186, 174, 54))
    canvas.fill_ground(PAD, canvas.texture(SAND), [np.concatenate([edge(0), corners])])
    grass = canvas.texture(_pick(rng, [GRASS, MEADOW]))
    canvas.fill_ground(LAND, grass, [np.concatenate([edge(9), corners])])
