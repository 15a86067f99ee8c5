from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.collate import Collate
from mtp_hf.data.samples import detection_row_to_sample, oriented_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms_detection import (
    DropUntrainable,
    RandomRotate,
    detection_eval_transforms,
    detection_train_transforms,
    rotated_eval_transforms,
    rotated_train_transforms,
)
from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES
from mtp_hf.modeling.ops_rotated_boxes import polygons_to_rotated_boxes

RNG = np.random.default_rng(0)


def _row(scene):
    """A scene as a row of oriented detection, boxes around its polygons."""
    polygons = np.array(scene["rotated_objects"]["polygon"]).reshape(-1, 4, 2)
    low, high = polygons.min(axis=1), polygons.max(axis=1)
    objects = {
        "bbox": np.concatenate([low, high - low], axis=1).tolist(),
        "polygon": polygons.reshape(-1, 8).tolist(),
        "category": scene["rotated_objects"]["category"],
        "difficult": [0] * len(polygons),
        "iscrowd": [False] * len(polygons),
    }
    return {**scene, "objects": objects}


read_boxes = partial(detection_row_to_sample, dataset="scenes", num_classes=6)
read_polygons = partial(oriented_row_to_sample, dataset="scenes", num_classes=6)


def _painted(image, color):
    return (image.int() - torch.tensor(color)[:, None, None]).abs().amax(0) < 128


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_around_their_pixels(seed, draw_scene, colors):
    scene = draw_scene(seed, size=[(96, 96), (120, 80), (64, 100)][seed % 3])
    sample = detection_train_transforms(144)(read_boxes(_row(scene)), np.random.default_rng(seed))
    check_sample(sample, num_classes=6)
    scale = 144 / max(scene["height"], scene["width"])
    assert max(sample["image"].shape[1:]) == 144
    assert len(sample["boxes"]) == 4
    for box, label in zip(sample["boxes"], sample["class_labels"], strict=True):
        ys, xs = _painted(sample["image"], colors[label]).nonzero(as_tuple=True)
        found = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()
        # Polygons are painted where pixel centres lie in them: sharp corners lose up to two pixels.
        torch.testing.assert_close(found, box, atol=2 * scale + 1, rtol=0)


def test_horizontal_boxes_are_flipped_half_the_time_and_never_upside_down(draw_scene):
    raw = read_boxes(_row(draw_scene(2)))
    kept = detection_eval_transforms(96)(raw, RNG)
    flips = 0
    for seed in range(60):
        out = detection_train_transforms(96)(raw, np.random.default_rng(seed))
        assert torch.equal(out["boxes"][:, [1, 3]], kept["boxes"][:, [1, 3]])
        flips += not torch.equal(out["boxes"], kept["boxes"])
    assert 18 <= flips <= 42


def test_batches_of_detection_are_padded_to_multiples_of_32(draw_scene):
    scenes = [_row(draw_scene(s, size=(90, 60))) for s in range(2)]
    samples = [detection_eval_transforms(100)(read_boxes(row), RNG) for row in scenes]
    assert Collate()(samples)["pixel_values"].shape == (2, 3, 128, 96)


@pytest.mark.parametrize("seed", range(24))
def test_rotated_boxes_stay_on_their_pixels(seed, draw_scene, colors, signed_distance):
    """Resize, flip and rotate: the rectangle and the colour cover one another."""
    raw = read_polygons(_row(draw_scene(seed, size=[(96, 96), (120, 80), (64, 100)][seed % 3])))
    areas = polygons_to_rotated_boxes(raw["polygons"])[:, 2:4].prod(1)
    transforms = rotated_train_transforms(140, quarter_turn_labels=[], rotate_probability=0.8)
    sample = transforms(raw, np.random.default_rng(seed))
    check_sample(sample, num_classes=6)
    assert len(sample["rotated_boxes"]) > 0
    for box, label in zip(sample["rotated_boxes"], sample["rotated_class_labels"], strict=True):
        painted = _painted(sample["image"], colors[label]).numpy()
        distance = signed_distance(box, painted.shape)
        tolerance = float((box[2:4].prod() / areas[label]).sqrt() + 2) / 2 * 2**0.5
        assert painted[distance < -tolerance].all()
        assert not painted[distance > tolerance].any()


class _Recorder(RandomRotate):
    """The angles that are drawn, told from a long thin object in the middle."""

    def angles(self, label, count):
        found = []
        for seed in range(count):
            sample = {
                "image": torch.zeros(3, 20, 20, dtype=torch.uint8),
                "polygons": torch.tensor([[2.0, 9, 18, 9, 18, 11, 2, 11]]),
                "rotated_class_labels": torch.tensor([label]),
            }
            x1, y1, x2, y2 = self(sample, np.random.default_rng(seed))["polygons"][0, :4].tolist()
            found.append(float(np.rad2deg(np.arctan2(y2 - y1, x2 - x1))))
        return np.array(found)


def test_angles_are_uniform_and_half_of_the_images_stay():
    angles = _Recorder().angles(label=0, count=400)
    turned = angles[np.abs(angles) > 1e-3]
    assert 160 <= len(turned) <= 240
    counts, _ = np.histogram(turned, bins=4, range=(-180, 180))
    assert counts.min() > 30
    angles = _Recorder(1.0, max_angle_deg=20.0).angles(label=0, count=100)
    assert 15 < np.abs(angles).max() <= 20


def test_images_with_round_objects_are_turned_by_quarters():
    transform = _Recorder(1.0, quarter_turn_labels=[9, 11])
    for label in (9, 11):
        angles = transform.angles(label, 80)
        steps = np.rint(angles / 90)
        np.testing.assert_allclose(angles, steps * 90, atol=1e-3)
        shares = [np.isin(steps, wanted).mean() for wanted in ([1], [-1], [2, -2])]
        assert shares[0] > 0.1 and shares[1] > 0.1 and shares[2] > 0.3
        assert sum(shares) == 1  # never by nothing
    assert not np.allclose(transform.angles(10, 5) % 90, 0, atol=1e-2)


def test_round_objects_of_dota_are_its_tanks_and_roundabouts():
    transform = rotated_train_transforms().transforms[2]
    names = [DOTA_V1_CLASSES[label] for label in transform.quarter_turn_labels.tolist()]
    assert names == ["storage-tank", "roundabout"]


def test_rotation_without_objects_is_a_rotation():
    sample = {
        "image": torch.full((3, 20, 20), 9, dtype=torch.uint8),
        "polygons": torch.zeros(0, 8),
        "rotated_class_labels": torch.zeros(0, dtype=torch.int64),
    }
    out = RandomRotate(1.0)(sample, np.random.default_rng(3))
    assert (out["image"] < 9).any()  # blended with the black around
    assert (out["image"][:, 5:15, 5:15] == 9).all()
    assert out["polygons"].shape == (0, 8)
    with pytest.raises(ValueError, match="probability 2.0"):
        RandomRotate(2.0)


def test_degenerate_polygons_are_dropped_by_choice(draw_scene):
    row = _row(draw_scene(0))
    row["objects"]["polygon"][1][2:4] = row["objects"]["polygon"][1][:2]
    raw = read_polygons(row)
    for make in (rotated_train_transforms, rotated_eval_transforms):
        out = make(96, drop_degenerate=True)(raw, RNG)
        assert out["dropped"] == {"degenerate_polygons": 1}
        assert 1 not in out["rotated_class_labels"].tolist()
        assert "degenerate_polygons" not in make(96)(raw, RNG)["dropped"]
    assert len(rotated_eval_transforms(96)(raw, RNG)["rotated_boxes"]) == 4


BOXES = [[0, 0, 0.9, 3], [6, 0, 2, 2], [-3, 0, 3, 2], [0.3, 0.3, 1, 1], [1, 1, 2, 2]]


@pytest.fixture
def picky_sample():
    """Five boxes in 4 x 6 pixels: short, beside the image twice, of one pixel, a crowd."""
    objects = {"bbox": BOXES, "category": [*range(5)], "iscrowd": [False] * 4 + [True]}
    row = {"image_id": "a", "image": Image.new("RGB", (6, 4)), "objects": objects}
    return read_boxes(row)


def test_crowds_and_empty_boxes_are_not_trained_on(picky_sample):
    out = DropUntrainable()(picky_sample, RNG)
    assert out["class_labels"].tolist() == [3]
    assert out["dropped"] == {"empty_boxes": 3, "crowd": 1}
    assert not {"iscrowd", "area"} & set(out)


def test_training_drops_what_evaluation_keeps(picky_sample):
    assert len(detection_train_transforms(96)(picky_sample, RNG)["boxes"]) == 1
    out = detection_eval_transforms(96)(picky_sample, RNG)
    check_sample(out, num_classes=6)
    assert out["iscrowd"].tolist() == [False] * 4 + [True]


def test_a_rotation_needs_no_objects():
    sample = {"image": torch.full((3, 20, 20), 9, dtype=torch.uint8)}
    assert RandomRotate(1.0)(sample, np.random.default_rng(3))["image"].shape == (3, 20, 20)


def test_rotated_eval_draws_nothing_and_keeps_difficult(draw_scene):
    row = _row(draw_scene(0))
    row["objects"]["difficult"] = [0, 1, 2, 0]
    out = rotated_eval_transforms(192)(read_polygons(row), None)
    check_sample(out, num_classes=6)
    assert out["rotated_difficult"].tolist() == [0, 1, 2, 0]
    assert out["image"].shape == (3, 192, 192)


def test_the_published_steps():
    names = [type(step).__name__ for step in rotated_train_transforms().transforms[:-1]]
    assert names == ["Resize", "RandomFlip", "RandomRotate"]
    without = rotated_train_transforms(800, rotate_probability=0.0, drop_degenerate=True)
    names = [type(step).__name__ for step in without.transforms[:-1]]
    assert names == ["DropDegenerate", "Resize", "RandomFlip"]
