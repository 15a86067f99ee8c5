"""The rules of a scene: grounds, free places, whole objects, corner order."""

import numpy as np
import pytest

from mtp_hf.dataset_scripts import _demo_objects as objects
from mtp_hf.dataset_scripts._demo_canvas import Pose
from mtp_hf.dataset_scripts._demo_layout import LAND, MAX_OBJECTS, WATER, Scene


def test_corners_run_clockwise_from_the_tail():
    scene = Scene(np.random.default_rng(0), 128, {"truck"})
    scene.canvas.ground[:] = LAND
    scene.put("truck", objects.truck, lambda: Pose(64, 64, 0.0), grounds=(LAND,))
    (item,) = scene.paint()[1]
    back_left, front_left, front_right, back_right = item.polygon
    assert front_left[0] > back_left[0] and front_left[1] == pytest.approx(back_left[1])
    assert front_right[1] > front_left[1] and front_right[0] == pytest.approx(front_left[0])
    assert back_right[0] == pytest.approx(back_left[0])


def test_nothing_is_put_on_the_wrong_ground():
    scene = Scene(np.random.default_rng(0), 128, {"ship"})
    scene.canvas.ground[:] = LAND
    scene.put(
        "ship",
        lambda rng, light: objects.ship(rng, light, False),
        scene.anywhere,
        grounds=(WATER,),
        count=3,
    )
    assert scene.items == []


def test_nothing_is_put_on_top_of_another_object():
    scene = Scene(np.random.default_rng(0), 128, {"tank"})
    scene.canvas.ground[:] = LAND
    scene.put("tank", objects.tank, lambda: Pose(64, 64, 0.0), grounds=(LAND,), count=2)
    assert scene.num_objects == 1


def land(kinds: set[str], seed: int = 0) -> Scene:
    scene = Scene(np.random.default_rng(seed), 128, kinds)
    scene.canvas.ground[:] = LAND
    return scene


def test_a_labelled_object_is_not_cut_by_the_border_but_clutter_may_be():
    scene = land({"tank"})
    edge = lambda: Pose(3, 64, 0.0)  # noqa: E731
    scene.put("tank", objects.tank, edge, grounds=(LAND,))
    assert scene.items == []
    scene.put(None, objects.tank, edge, grounds=(LAND,))
    assert len(scene.items) == 1 and scene.num_objects == 0


def test_a_picture_holds_a_limited_number_of_objects():
    scene = land({"car"})
    scene.put("car", objects.car, scene.anywhere, grounds=(LAND,), count=20)
    assert scene.num_objects == len(scene.items) == MAX_OBJECTS


def test_kinds_that_are_not_asked_for_are_left_out():
    scene = land({"car"})
    scene.put("tank", objects.tank, scene.anywhere, grounds=(LAND,), count=3)
    assert scene.items == []


def test_strips_and_poses_share_the_turned_frame():
    scene = land(set())
    pose = scene.pose(10, 20, 1)
    strip = scene.strip(15, 25, 5, 15)
    np.testing.assert_allclose(strip.mean(axis=0), (pose.x, pose.y))
    assert pose.angle == pytest.approx(scene.frame.angle + np.pi / 2)


@pytest.mark.parametrize(("size", "extent"), [(32, 53.3), (64, 96), (128, 96), (256, 96)])
def test_small_pictures_show_less_ground_and_large_ones_more_detail(size, extent):
    scene = Scene(np.random.default_rng(0), size, set())
    assert scene.extent == pytest.approx(extent, abs=0.1)


def test_a_wake_needs_free_water_too():
    scene = land({"ship"})
    scene.canvas.ground[:] = WATER
    scene.canvas.ground[:, :44] = LAND  # where the wake of a ship at 80 would be
    still = lambda rng, light: objects.ship(rng, light, moving=False)  # noqa: E731
    moving = lambda rng, light: objects.ship(rng, light, moving=True)  # noqa: E731
    for make, count in ((moving, 0), (still, 1)):
        scene.put("ship", make, lambda: Pose(72, 64, 0.0), grounds=(WATER,), tries=5)
        assert scene.num_objects == count
