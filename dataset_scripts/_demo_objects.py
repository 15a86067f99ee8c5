"""Objects and clutter of the demo set as sprites: ships, planes, tanks, courts, vehicles, trees.

Sizes are in scene units. `light` is the angle towards the sun in the sprite's own frame; shading
follows it, so that every object of a picture is lit from the same side.
"""

import numpy as np

from mtp_hf.dataset_scripts._demo_canvas import (
    Color,
    Sprite,
    ellipse,
    rectangle,
    rounded,
    shade,
    stroke,
)

PAINTS: list[Color] = [
    (236, 236, 232),
    (226, 228, 230),
    (198, 52, 44),
    (46, 92, 168),
    (236, 190, 56),
    (64, 140, 96),
    (226, 122, 48),
]
HULLS: list[Color] = [(150, 58, 48), (196, 200, 204), (74, 86, 104), (112, 74, 58), (52, 78, 118)]
DECKS: list[Color] = [(176, 104, 84), (206, 204, 196), (152, 160, 160), (186, 158, 122)]
ROOFS: list[Color] = [(142, 84, 66), (122, 112, 104), (160, 140, 118), (104, 100, 104)]
GLASS: Color = (34, 42, 56)
WHITE: Color = (244, 244, 240)


def _choice(rng: np.random.Generator, colors: list[Color]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def ship(rng: np.random.Generator, light: float, moving: bool) -> Sprite:
    """A freighter: pointed bow at +x, bridge aft, hatches or containers on deck."""
    length = rng.uniform(26, 48)
    width = length * rng.uniform(0.22, 0.28)
    a, b = length / 2, width / 2
    t = np.linspace(0, 1, 9)
    bow = np.stack([a * (0.42 + 0.58 * t), b * (1 - t**2.2)], axis=1)  # starboard, to the tip
    stern = np.array([(-a, -0.62 * b), (-0.93 * a, -b)])
    hull = np.concatenate([stern, (bow * (1, -1)), bow[::-1][1:], stern[::-1] * (1, -1)])
    deck = hull * (0.955, 0.8)
    hull_color, deck_color = _choice(rng, HULLS), _choice(rng, DECKS)
    parts = [(hull, shade(hull_color, 1.25)), (deck, deck_color)]
    if rng.random() < 0.5:
        for x in np.arange(-0.42 * a, 0.5 * a, 3.4):  # containers in rows
            for y in np.arange(-0.62 * b, 0.4 * b, 2.0):
                if rng.random() < 0.85:
                    box = rectangle(x, y, x + 3.0, y + 1.75)
                    parts.append((box, shade(_choice(rng, PAINTS[1:]), 0.9)))
    else:
        for x in np.linspace(-0.42 * a, 0.4 * a, int(rng.integers(3, 5))):
            hatch = rectangle(x, -0.5 * b, x + 0.17 * a, 0.5 * b)
            parts += [(hatch + 0.35, (30, 34, 40, 120)), (hatch, shade(deck_color, 1.35))]
    bridge = rectangle(-0.86 * a, -0.66 * b, -0.58 * a, 0.66 * b)
    parts += [
        (bridge + (0.9 * -np.cos(light), 0.9 * -np.sin(light)), (20, 26, 36, 130)),
        (bridge, WHITE),
        (rectangle(-0.64 * a, -0.56 * b, -0.6 * a, 0.56 * b), GLASS),
        (ellipse(-0.76 * a, 0, 0.05 * length, 0.05 * length), shade(hull_color, 0.9)),
    ]
    if not moving:
        return Sprite(parts, [hull], 1.6, [], [])
    return Sprite(parts, [hull], 1.6, *_wake(rng, a, b))


def _wake(
    rng: np.random.Generator, a: float, b: float
) -> tuple[list[tuple[np.ndarray, Color]], list[np.ndarray]]:
    """Foam behind a ship and along the two waves that leave its bow; and the water it needs."""
    end = -a * (1 + rng.uniform(1.0, 1.6))
    trail = np.array([(-0.9 * a, -0.6 * b), (end, -0.9 * b), (end, 0.9 * b), (-0.9 * a, 0.6 * b)])
    behind, beside = rng.uniform(0, 1, 70) ** 1.6, np.repeat(np.linspace(0, 1, 26), 2)
    sides = np.tile((1.0, -1.0), 26)
    x = np.concatenate([-0.92 * a + (end + a) * behind, a * (0.92 - 1.5 * beside)])
    y = np.concatenate(
        [rng.normal(size=70) * b * (0.3 + 0.45 * behind), sides * b * (0.25 + 1.55 * beside)]
    )
    centres = np.stack([x, y], axis=1) + rng.normal(size=(122, 2)) * 0.25
    sizes = np.concatenate([rng.uniform(0.5, 1.3, 70), rng.uniform(0.4, 0.9, 52)])
    opacity = np.concatenate([92 * (1 - behind) + 14, 95 * (1 - beside) + 6]).astype(int)
    drops = ellipse(0, 0, 1.75, 0.7, 10) * sizes[:, None, None] + centres[:, None]  # (122, 10, 2)
    foam: list[tuple[np.ndarray, Color]] = [(trail, (170, 200, 206, 34))]
    foam += [(drop, (230, 241, 243, int(o))) for drop, o in zip(drops, opacity, strict=True)]
    waves = np.array([(0.95 * a, 0), (-0.6 * a, -1.9 * b), (-0.6 * a, 1.9 * b)])
    return foam, [trail, waves]


def plane(rng: np.random.Generator, light: float) -> Sprite:
    """An airliner, nose at +x: fuselage, swept wings with engines, tailplane and fin."""
    length = rng.uniform(26, 42)
    a, body = length / 2, length * rng.uniform(0.048, 0.056)
    span = a * rng.uniform(0.92, 1.02)
    t = np.linspace(0, 1, 7)
    nose = np.stack([a * (0.72 + 0.28 * t), body * np.sqrt(1 - t**2)], axis=1)
    tail = np.array([(-a, 0.25 * body), (-0.62 * a, body)])
    side = np.concatenate([tail, nose])
    fuselage = np.concatenate([side, (side * (1, -1))[::-1]])
    half_wing = np.array(
        [
            (0.30 * a, 0),
            (0.22 * a, body),
            (-0.22 * a, span),
            (-0.36 * a, span),
            (-0.14 * a, body),
            (-0.16 * a, 0),
        ]
    )
    half_tail = np.array(
        [
            (-0.66 * a, 0),
            (-0.70 * a, body),
            (-0.93 * a, 0.38 * span),
            (-1.0 * a, 0.38 * span),
            (-0.90 * a, 0),
        ]
    )
    color = shade(_choice(rng, [(240, 240, 238), (226, 230, 234), (206, 212, 220)]), 1.0)
    accent = _choice(rng, PAINTS[2:])
    sunny = 1 if np.sin(light) > 0 else -1
    parts: list[tuple[np.ndarray, Color]] = []
    outline = [fuselage]
    for flip in (1, -1):
        wing, stabilizer = half_wing * (1, flip), half_tail * (1, flip)
        engine = rounded(0.17 * a, 0.11 * a, 0.05 * a) + (0.10 * a, flip * 0.36 * span)
        outline += [wing, stabilizer, engine]
        tone = 0.97 if flip == sunny else 0.86
        flap = stroke((-0.17 * a, flip * 1.2 * body), (-0.34 * a, flip * 0.96 * span), 0.05 * a)
        parts += [
            (engine, shade(color, 0.72)),
            (wing, shade(color, tone)),
            (flap, shade(color, 0.74)),
            (stabilizer, shade(color, tone)),
        ]
    parts += [
        (fuselage, shade(color, 0.84)),
        (fuselage * (0.985, 0.62) + (0, sunny * 0.22 * body), shade(color, 1.4)),
        (rectangle(-0.98 * a, -0.3 * body, -0.66 * a, 0.3 * body), accent),
        (rectangle(0.84 * a, -0.55 * body, 0.9 * a, 0.55 * body), GLASS),
    ]
    return Sprite(parts, outline, 2.6, [], [])


def tank(rng: np.random.Generator, light: float) -> Sprite:
    """A storage tank: round roof that brightens towards the sun, rim, stairs and vents."""
    radius = rng.uniform(7.5, 14)
    color = _choice(rng, [(238, 238, 234), (222, 220, 210), (206, 210, 214), (214, 196, 168)])
    sun = np.array([np.cos(light), np.sin(light)])
    parts = [(ellipse(0, 0, radius, radius), shade(color, 0.72))]
    for i in range(7):
        inner = radius * (0.93 - 0.125 * i)
        middle = sun * radius * 0.05 * i
        parts.append((ellipse(*middle, inner, inner), shade(color, 0.86 + 0.035 * i)))
    if rng.random() < 0.5:  # floating roof: the wall throws a crescent on it
        parts.append((ellipse(0, 0, 0.9 * radius, 0.9 * radius), shade(color, 0.55)))
        floor = ellipse(*(-sun * 0.1 * radius), 0.8 * radius, 0.8 * radius)
        parts.append((floor, shade(color, 0.9)))
    angle = rng.uniform(0, 2 * np.pi)
    stair = np.array([np.cos(angle), np.sin(angle)])
    parts += [
        (stroke(tuple(stair * 0.2 * radius), tuple(stair * 0.95 * radius), 0.7), shade(color, 0.6)),
        (ellipse(0, 0, 0.1 * radius, 0.1 * radius), shade(color, 0.6)),
    ]
    return Sprite(parts, [ellipse(0, 0, radius, radius)], 5.0, [], [])


def court(rng: np.random.Generator, light: float) -> Sprite:
    """A tennis court: coloured surface, white lines to scale, net with its shadow."""
    length = rng.uniform(30, 40)
    unit = length / 34.0  # metres of a court with its run-off
    width = 17.0 * unit
    surround, inner = [
        ((58, 122, 84), (48, 96, 158)),
        ((66, 112, 150), (40, 74, 136)),
        ((64, 128, 88), (172, 92, 66)),
        ((168, 88, 62), (190, 108, 78)),
        ((72, 130, 92), (98, 150, 104)),
    ][int(rng.integers(5))]
    a, b, singles, service = 11.89 * unit, 5.49 * unit, 4.12 * unit, 6.4 * unit
    line = 0.62
    strokes = [((-a, y), (a, y)) for y in (-b, -singles, singles, b)]
    strokes += [((x, -b), (x, b)) for x in (-a, a)]
    strokes += [((x, -singles), (x, singles)) for x in (-service, service)]
    strokes += [((-service, 0), (service, 0))]
    pad = rectangle(-length / 2, -width / 2, length / 2, width / 2)
    net = stroke((0, -b - unit), (0, b + unit), 0.6)
    parts: list[tuple[np.ndarray, Color]] = [(pad, surround), (rectangle(-a, -b, a, b), inner)]
    parts += [(stroke(start, end, line), (240, 242, 238)) for start, end in strokes]
    parts += [
        (net - (0.7 * np.cos(light), 0.7 * np.sin(light)), (18, 24, 32, 150)),
        (net, (52, 58, 60)),
    ]
    return Sprite(parts, [pad], 0.0, [], [])


def truck(rng: np.random.Generator, light: float) -> Sprite:
    """A lorry: cab with windscreen at +x, a gap, a box with ribs."""
    length, width = rng.uniform(18, 25), rng.uniform(6.4, 7.4)
    cargo_color, cab_color = _choice(rng, PAINTS), _choice(rng, PAINTS[2:])
    a, b = length / 2, width / 2
    cab = rounded(0.24 * length, 0.92 * width, 1.0) + (a - 0.12 * length, 0)
    cargo = rectangle(-a, -b, a - 0.28 * length, b)
    frame = rectangle(-a, -0.6 * b, a - 0.1 * length, 0.6 * b)
    sunny = 1 if np.sin(light) > 0 else -1
    parts = [
        (frame, (44, 46, 50)),
        (cab, shade(cab_color, 0.95)),
        (rectangle(a - 0.1 * length, -0.72 * b, a - 0.03 * length, 0.72 * b), GLASS),
        (cargo, shade(cargo_color, 0.86)),
        (cargo * (0.97, 0.6) + (-0.003 * length, sunny * 0.3 * b), shade(cargo_color, 1.15)),
    ]
    for x in np.linspace(-0.8 * a, 0.26 * a, 4):
        parts.append((stroke((x, -0.92 * b), (x, 0.92 * b), 0.4), shade(cargo_color, 0.7)))
    return Sprite(parts, [cab, cargo, frame], 2.2, [], [])


def car(rng: np.random.Generator, light: float) -> Sprite:
    """A car or van: round body, dark glass in front and behind, bright roof."""
    length, width = rng.uniform(14, 17.5), rng.uniform(6.8, 7.8)
    color = _choice(rng, PAINTS)
    body = rounded(length, width, 2.4)
    front = rounded(0.16 * length, 0.78 * width, 0.8) + (0.15 * length, 0)
    rear = rounded(0.12 * length, 0.74 * width, 0.8) - (0.34 * length, 0)
    roof = rounded(0.36 * length, 0.72 * width, 1.2) - (0.11 * length, 0)
    sunny = np.array([np.cos(light), np.sin(light)]) * 0.35
    parts = [
        (body, shade(color, 0.82)),
        (body * 0.9 + sunny, color),
        (front, GLASS),
        (rear, GLASS),
        (roof, shade(color, 0.9)),
        (roof * (0.8, 0.72) + sunny, shade(color, 1.4)),
    ]
    return Sprite(parts, [body], 1.8, [], [])


def roof(rng: np.random.Generator, light: float) -> Sprite:
    """Clutter: a gabled house or a flat hall with units on top."""
    length, width = rng.uniform(18, 34), rng.uniform(14, 20)
    a, b = length / 2, width / 2
    color = _choice(rng, ROOFS)
    tone = 0.2 * np.sin(light)
    base = rectangle(-a, -b, a, b)
    if rng.random() < 0.65:
        parts = [
            (rectangle(-a, -b, a, 0), shade(color, 0.95 - tone)),
            (rectangle(-a, 0, a, b), shade(color, 0.95 + tone)),
            (stroke((-a, 0), (a, 0), 0.6), shade(color, 1.3)),
        ]
    else:
        parts = [(base, shade(color, 1.25)), (base * (0.94, 0.92), shade(color, 1.05))]
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.uniform(-0.6, 0.6) * a, rng.uniform(-0.5, 0.5) * b
            unit = rectangle(x, y, x + 3, y + 2.2)
            parts += [(unit + 0.6, (30, 30, 34, 120)), (unit, shade(color, 1.5))]
    return Sprite(parts, [base], 4.0, [], [])


def tree(rng: np.random.Generator, light: float) -> Sprite:
    """Clutter: a crown of several lit clumps."""
    radius = rng.uniform(2.6, 5.2)
    color = _choice(rng, [(54, 84, 44), (64, 92, 50), (46, 72, 42), (84, 100, 54)])
    sun = np.array([np.cos(light), np.sin(light)])
    t = np.arange(20) * (2 * np.pi / 20)
    wobble = radius * (1 + 0.14 * rng.standard_normal(20))
    crown = np.stack([np.cos(t), np.sin(t)], axis=1) * wobble[:, None]
    parts = [(crown, shade(color, 0.75))]
    for i in range(5):
        middle = rng.uniform(-0.45, 0.45, 2) * radius + sun * radius * 0.08 * i
        size = radius * rng.uniform(0.3, 0.5)
        parts.append((ellipse(*middle, size, size, 12), shade(color, 0.9 + 0.1 * i)))
    return Sprite(parts, [crown], 3.4, [], [])
