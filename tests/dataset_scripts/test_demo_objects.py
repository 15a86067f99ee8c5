"""Sprites of the demo set: shape, size, and that the mask is what is painted."""

import itertools
from functools import partial

import numpy as np
import pytest

from mtp_hf.dataset_scripts import _demo_objects as objects
from mtp_hf.dataset_scripts._demo_canvas import Canvas, Pose, place

SPRITES = {
    "ship": partial(objects.ship, moving=False),
    "plane": objects.plane,
    "tank": objects.tank,
    "court": objects.court,
    "truck": objects.truck,
    "car": objects.car,
    "roof": objects.roof,
    "tree": objects.tree,
}
LABELLED = ("ship", "plane", "tank", "court", "truck", "car")
KEY = (255, 0, 255)


def make(name: str, seed: int = 0, light: float = 0.4):
    return SPRITES[name](np.random.default_rng(seed), light=light)


def extent(sprite) -> np.ndarray:
    return np.ptp(np.concatenate(sprite.outline), axis=0)


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("seed", range(8))
def test_objects_are_large_enough_to_be_learnt(name, seed):
    length, width = extent(make(name, seed))
    assert 13.5 <= length <= 50
    assert width >= 6


@pytest.mark.parametrize("name", ["ship", "court", "truck", "car"])
@pytest.mark.parametrize("seed", range(8))
def test_the_long_axis_is_x(name, seed):
    length, width = extent(make(name, seed))
    assert length > 1.6 * width


@pytest.mark.parametrize("name", LABELLED)
def test_outlines_are_centred_across_their_axis(name):
    points = np.concatenate(make(name).outline)
    assert abs(points[:, 1].min() + points[:, 1].max()) < 1e-6


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("seed", range(4))
def test_paint_covers_the_mask_and_leaves_it_by_less_than_a_pixel(name, seed):
    sprite = make(name, seed)
    canvas = Canvas(np.random.default_rng(0), 96, 96)
    canvas.start_painting(0.0)
    canvas._image.paste(KEY, (0, 0, 384, 384))
    pose = Pose(48, 48, 0.6)
    canvas.paint(sprite.parts, pose)
    painted = (np.asarray(canvas._image.reduce(4)).astype(int) != KEY).any(axis=2)
    mask = canvas.mask([place(points, pose) for points in sprite.outline])
    assert not (mask & ~painted).any()
    grown = mask.copy()
    for dy, dx in itertools.product((-1, 0, 1), repeat=2):
        grown |= np.roll(mask, (dy, dx), (0, 1))
    assert not (painted & ~grown).any()


@pytest.mark.parametrize("name", sorted(SPRITES))
def test_light_changes_shading_but_not_shape(name):
    lit = [make(name, seed=3, light=light) for light in (0.3, 3.5)]
    for one, other in zip(*(sprite.outline for sprite in lit), strict=True):
        assert np.array_equal(one, other)
    assert len(lit[0].parts) == len(lit[1].parts)


@pytest.mark.parametrize("name", sorted(SPRITES))
def test_one_seed_gives_one_sprite(name):
    for (one, color), (other, other_color) in zip(
        make(name, 5).parts, make(name, 5).parts, strict=True
    ):
        assert np.array_equal(one, other) and color == other_color


def test_only_a_moving_ship_has_a_wake_behind_its_stern():
    moored = objects.ship(np.random.default_rng(0), light=0.0, moving=False)
    moving = objects.ship(np.random.default_rng(0), light=0.0, moving=True)
    assert moored.under == []
    stern = np.concatenate(moving.outline)[:, 0].min()
    assert min(points[:, 0].min() for points, _ in moving.under) < 1.5 * stern


def test_a_plane_is_no_box():
    sprite = make("plane")
    mask = Canvas(np.random.default_rng(0), 96, 96).mask([p + 48 for p in sprite.outline])
    length, span = extent(sprite)
    assert mask.sum() < 0.5 * length * span


def test_a_bow_is_pointed():
    (hull,) = make("ship").outline
    bow = hull[hull[:, 0] > 0.97 * hull[:, 0].max()]
    assert np.ptp(bow[:, 1]) < 0.3 * np.ptp(hull[:, 1])


def test_courts_lie_flat_and_everything_else_throws_a_shadow():
    assert make("court").height == 0
    assert all(make(name).height > 0 for name in SPRITES if name != "court")
