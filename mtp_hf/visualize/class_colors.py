"""One colour a class, well apart from each other and from what aerial images are made of.

Source: CIE 1976 L*a*b* and the farthest-first traversal of Gonzalez, "Clustering to minimize the
maximum intercluster distance" (1985).
"""

import functools

import numpy as np

# Colours that classes keep away from: black, white, gray, vegetation, soil, water.
BACKDROP = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (60, 80, 45), (140, 115, 90), (40, 60, 80))
LEVELS = (0, 51, 102, 153, 204, 255)
MIN_LIGHTNESS = 40.0  # of L*: darker lines are lost on water, forest and shadow
MAX_CLASSES = 100


@functools.cache
def default_palette(num_classes: int) -> np.ndarray:
    """Choose colours one after the other, each as far as possible from those before it.

    Args:
        num_classes: K, at most 100. The first colours do not depend on it.

    Returns:
        uint8 (K, 3), read-only.
    """
    if not 0 <= num_classes <= MAX_CLASSES:
        raise ValueError(f"num_classes is {num_classes}, expected 0 to {MAX_CLASSES}")
    candidates = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(-1, 3)
    candidates = candidates[_rgb_to_lab(candidates)[:, 0] >= MIN_LIGHTNESS]
    points = _rgb_to_lab(candidates)
    backdrop = _rgb_to_lab(np.array(BACKDROP))
    distances = np.linalg.norm(points[:, None] - backdrop[None], axis=-1).min(axis=1)
    chosen: list[int] = []
    for _ in range(num_classes):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=-1))
    palette = candidates[chosen].astype(np.uint8).reshape(-1, 3)
    palette.setflags(write=False)
    return palette


def _rgb_to_lab(colors: np.ndarray) -> np.ndarray:
    """Convert sRGB (N, 3) of 0..255 to L*a*b* (N, 3) under daylight (D65)."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    relative = linear @ to_xyz.T / to_xyz.sum(axis=1)
    roots = np.where(
        relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29
    )
    x, y, z = roots.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
