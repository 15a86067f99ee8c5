"""Scenes of the demo set: what stands where, whole and apart."""

import numpy as np
import pytest

from mtp_hf.dataset_scripts._demo_layout import (
    APRON,
    MARGIN,
    MAX_OBJECTS,
    WATER,
    Scene,
)
from mtp_hf.dataset_scripts._demo_scenes import SCENES

KINDS = {"ship", "plane", "tank", "court", "truck", "car"}
NAMES = [scene.__name__ for scene in SCENES]


def painted(index: int, seed: int, kinds=frozenset(KINDS), size: int = 128):
    scene = Scene(np.random.default_rng(seed), size, set(kinds))
    SCENES[index](scene)
    return scene, *scene.paint()


@pytest.mark.parametrize("index", range(len(SCENES)), ids=NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_objects_are_whole_apart_and_few(index, seed):
    _, _, found = painted(index, seed)
    assert len(found) <= MAX_OBJECTS
    total = np.zeros((128, 128), int)
    for item in found:
        assert item.kind in KINDS
        assert (item.polygon > MARGIN).all() and (item.polygon < 128 - MARGIN).all()
        assert item.mask.sum() > 40
        total += item.mask
    assert total.max(initial=0) <= 1


@pytest.mark.parametrize("index", range(len(SCENES)), ids=NAMES)
def test_every_scene_without_kinds_has_nothing_to_label(index):
    scene, picture, found = painted(index, 0, kinds=())
    assert found == [] and scene.num_objects == 0
    assert picture.size == (128, 128)


@pytest.mark.parametrize("index", range(len(SCENES)), ids=NAMES)
def test_kinds_that_a_set_lacks_are_not_drawn(index):
    for seed in range(3):
        _, _, found = painted(index, seed, kinds=("truck",))
        assert {item.kind for item in found} <= {"truck"}


def test_ships_stand_on_water_and_planes_on_the_apron():
    grounds = {"ship": WATER, "plane": APRON}
    for index in range(len(SCENES)):
        scene, _, found = painted(index, 1)
        for item in found:
            if item.kind in grounds:
                assert (scene.canvas.ground[item.mask] == grounds[item.kind]).all()


def test_every_kind_occurs_in_some_scene():
    kinds = {item.kind for index in range(len(SCENES)) for item in painted(index, 2)[2]}
    assert kinds == KINDS


@pytest.mark.parametrize("index", range(len(SCENES)), ids=NAMES)
def test_boxes_enclose_their_masks_tightly(index):
    for item in painted(index, 3)[2]:
        corners = item.polygon
        middle = corners.mean(axis=0)
        axes = [(corners[1] - corners[0]), (corners[2] - corners[1])]
        y, x = np.nonzero(item.mask)
        points = np.stack([x, y], axis=1) + 0.5 - middle
        for axis in axes:
            length = np.linalg.norm(axis)
            along = points @ (axis / length)
            assert np.abs(along).max() <= length / 2 + 0.5
            # Tips of bows, wings and round roofs cover less than half of their last pixel.
            assert np.abs(along).max() >= length / 2 - 2.0


def test_boxes_of_round_tanks_are_upright():
    for item in painted(NAMES.index("tank_farm"), 4)[2]:
        if item.kind == "tank":
            top_left, top_right = item.polygon[:2]
            assert top_left[1] == pytest.approx(top_right[1])


@pytest.mark.parametrize("size", [64, 128, 256])
def test_pictures_of_every_size_show_objects(size):
    _, picture, found = painted(NAMES.index("open_sea"), 0, size=size)
    assert picture.size == (size, size)
    assert found and all(item.mask.shape == (size, size) for item in found)
