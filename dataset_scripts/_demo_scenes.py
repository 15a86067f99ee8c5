"""The scenes of the demo set: harbour, open sea, airfield, tank farm, suburb and farmland.

Each function paints its grounds, stands the objects that belong there, and adds clutter that has
no label (trees, houses, halls, piers). They are rough likenesses of aerial pictures, made so that
a small network can learn them in minutes.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from mtp_hf.dataset_scripts import _demo_objects as objects
from mtp_hf.dataset_scripts._demo_canvas import Color, Pose, ellipse, place
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
    ((28, 58, 78), (58, 98, 118)),
    ((34, 68, 72), (66, 108, 108)),
    ((24, 48, 74), (50, 84, 114)),
]
PAINT = (236, 234, 224, 200)
YELLOW = (222, 182, 70, 220)
DRY = (LAND, APRON, ROAD, PAD)


def harbor(scene: Scene, occupied: bool = True) -> None:
    """A straight quay with piers; ships alongside and under way, a road and tanks ashore."""
    rng, canvas = scene.rng, scene.canvas
    shore = scene.between(-18, 4)
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, SOIL, MEADOW])))
    canvas.fill_ground(WATER, canvas.water(*_pick(rng, WATERS)), [scene.strip(shore, FAR)])
    quay = [scene.strip(shore - scene.between(8, 14), shore)]
    piers = []
    for u in np.arange(scene.between(-60, -40), 60, scene.between(34, 48)):
        if scene.chance(0.7):
            piers.append(scene.strip(shore - 1, shore + scene.between(24, 44), u - 3, u + 3))
    canvas.fill_ground(PAD, canvas.texture(CONCRETE), quay + piers)
    canvas.polygon(scene.strip(shore, shore + 0.9), (12, 22, 30, 130))
    if occupied:
        _ships(
            scene,
            int(rng.integers(1, 4)),
            [lambda: scene.pose(scene.between(-60, 60), shore + scene.between(7, 9), _flip(scene))],
        )
    _road(scene, shore - scene.between(22, 30), int(rng.integers(0, 3)) if occupied else 0)
    if occupied and scene.chance(0.5):
        _tanks(scene, int(rng.integers(1, 3)), (LAND,))
    _clutter(scene, roofs=3, trees=9)


def open_sea(scene: Scene, occupied: bool = True) -> None:
    """Water everywhere, or a beach in a corner; ships under way with their wakes."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(WATER, canvas.water(*_pick(rng, WATERS)))
    if scene.chance(0.6):
        _beach(scene, scene.between(24, 52))
    if occupied:
        _ships(scene, int(rng.integers(1, 5)), [])
    _clutter(scene, roofs=1, trees=10)


def airfield(scene: Scene, occupied: bool = True) -> None:
    """An apron with stands in a row, a taxiway line, a service road; a terminal beside it."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, MEADOW])))
    half = scene.between(34, 52)
    canvas.fill_ground(
        APRON, canvas.texture(_pick(rng, [CONCRETE, ASPHALT])), [scene.strip(-half, half)]
    )
    joint = (60, 62, 64, 60)
    for v in np.arange(-half, half, 12):
        scene.line(float(v), 0.5, joint)
    for u in np.arange(-96, 96, 12):
        canvas.polygon(scene.strip(-half, half, u, u + 0.5), joint)
    taxi = half - scene.between(12, 18)
    scene.line(taxi, 1.1, YELLOW)
    stands = np.arange(scene.between(-90, -60), 90, scene.between(44, 50))
    for u in stands:
        canvas.polygon(scene.strip(-half + 6, taxi, u - 0.5, u + 0.5), YELLOW)
    if occupied:
        turn = _pick(rng, [1.0, 3.0])

        def parked() -> Pose:
            return scene.pose(float(_pick(rng, list(stands))), scene.between(-half + 18, 6), turn)

        _planes(scene, int(rng.integers(1, 4)), parked)
        if scene.chance(0.4):
            _planes(scene, 1, scene.anywhere)
    _road(scene, -half - scene.between(11, 15), int(rng.integers(0, 3)) if occupied else 0)
    _clutter(scene, roofs=3, trees=12)


def tank_farm(scene: Scene, occupied: bool = True) -> None:
    """Tanks in a grid within their banks, a road with lorries, halls."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [SOIL, GRASS, MEADOW])))
    top, bottom = scene.between(-34, -26), scene.between(40, 60)
    pad = scene.strip(top, bottom, scene.between(-70, -50), scene.between(50, 70))
    canvas.polygon(
        place(np.array([(0.0, 0.0)]), Pose(0, 0, 0)) + ellipse(0, 0, 0.1, 0.1), (0, 0, 0)
    )
    canvas.fill_ground(PAD, canvas.texture(_pick(rng, [CONCRETE, SOIL])), [pad])
    for v in (top, bottom):
        scene.line(v, 1.6, (206, 198, 180, 180))
    if occupied:
        _tanks(scene, int(rng.integers(2, 6)), (PAD,))
    _road(scene, top - scene.between(12, 16), int(rng.integers(1, 4)) if occupied else 0)
    _clutter(scene, roofs=3, trees=8)


def suburb(scene: Scene, occupied: bool = True) -> None:
    """Tennis courts side by side, houses with gardens, a street with traffic."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, MEADOW])))
    _road(
        scene,
        scene.between(30, 44) * _pick(rng, [-1, 1]),
        int(rng.integers(1, 4)) if occupied else 0,
    )
    if occupied:
        step, turn = scene.between(25, 27), float(rng.integers(2))
        start = scene.between(-30, 0)
        for index in range(int(rng.integers(1, 4))):
            offset = start + index * step
            u, v = (offset, scene.between(-4, -3)) if turn else (scene.between(-4, -3), offset)
            where = partial(scene.pose, u, v, turn)
            scene.put("court", lambda light: objects.court(rng, light), where, (LAND,), 1, tries=3)
    _clutter(scene, roofs=6, trees=16)


def farmland(scene: Scene, occupied: bool = True) -> None:
    """Fields with furrows, rows of trees, a country road."""
    rng, canvas = scene.rng, scene.canvas
    canvas.fill_ground(LAND, canvas.texture(MEADOW))
    edges = np.cumsum(rng.uniform(26, 54, 8)) - 130
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        crop = _pick(rng, CROPS)
        for low, high in ((-FAR, -4.0), (4.0, FAR)):
            field = scene.strip(low, high, left, right - 1.5)
            canvas.fill_ground(LAND, canvas.texture(crop), [field])
            if scene.chance(0.6):
                for u in np.arange(left + 1.5, right - 2, 3.0):
                    canvas.polygon(scene.strip(low, high, u, u + 0.9), (60, 52, 34, 46))
            crop = _pick(rng, CROPS)
    _road(scene, 0.0, int(rng.integers(2, 5)) if occupied else 0)
    if occupied and scene.chance(0.35):
        _tanks(scene, 1, (LAND,))
    _clutter(scene, roofs=2, trees=18)


SCENES: list[Callable[[Scene, bool], None]] = [
    harbor,
    airfield,
    tank_farm,
    suburb,
    open_sea,
    farmland,
]


def _pick(rng: np.random.Generator, options: list) -> object:
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
        kind = str(_pick(rng, kinds))
        make = objects.truck if kind == "truck" else objects.car
        scene.put(kind, lambda light, make=make: make(rng, light), lane, DRY, 1)


def _ships(scene: Scene, count: int, berths: list[Callable[[], Pose]]) -> None:
    for _ in range(count):
        moored = bool(berths) and scene.chance(0.5)
        make = partial(objects.ship, scene.rng, moving=not moored)
        scene.put("ship", make, berths[0] if moored else scene.anywhere, (WATER,), 1, tries=40)


def _planes(scene: Scene, count: int, where: Callable[[], Pose]) -> None:
    rng = scene.rng
    scene.put("plane", lambda light: objects.plane(rng, light), where, (APRON,), count)


def _tanks(scene: Scene, count: int, grounds: tuple[int, ...]) -> None:
    rng = scene.rng
    scene.put("tank", lambda light: objects.tank(rng, light), scene.aligned, grounds, count)


def _clutter(scene: Scene, roofs: int, trees: int) -> None:
    rng = scene.rng
    house, tree = partial(objects.roof, rng), partial(objects.tree, rng)
    scene.put(None, house, scene.aligned, (LAND,), int(rng.integers(roofs + 1)), tries=5)
    scene.put(
        None, tree, scene.anywhere, (LAND,), int(rng.integers(trees // 2, trees + 1)), tries=3
    )


def _beach(scene: Scene, distance: float) -> None:
    """Land beyond a wavy shore, with shallow water and sand along it."""
    rng, canvas = scene.rng, scene.canvas
    u = np.linspace(-160, 160, 60)
    wave = sum(
        rng.uniform(1, 5) * np.sin(u / rng.uniform(9, 40) + rng.uniform(0, 6)) for _ in range(4)
    )

    def beyond(offset: float) -> np.ndarray:
        edge = np.stack([u, distance + wave + offset], axis=1)
        return place(np.concatenate([edge, [(160.0, FAR), (-160.0, FAR)]]), scene.frame)

    for offset in (-7, -4.5, -2.5):
        canvas.polygon(beyond(offset), (120, 178, 168, 52))
    canvas.fill_ground(PAD, canvas.texture(SAND), [beyond(0)])
    canvas.fill_ground(LAND, canvas.texture(_pick(rng, [GRASS, MEADOW])), [beyond(9)])
