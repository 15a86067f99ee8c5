from functools import partial

import numpy as np
import pytest
import torch

from mtp_hf.data.masks import RleMasks, boxes_from_masks, decode_map
from mtp_hf.data.samples import samrs_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms import (
    Compose,
    DropDegenerate,
    FilterInstances,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResize,
    RejectedSampleError,
    Resize,
    ResizePictures,
    finalize,
    pretraining_eval_transforms,
    pretraining_train_transforms,
)
from mtp_hf.modeling.ops_rotated_boxes import polygons_to_rotated_boxes

RNG = np.random.default_rng(0)
read = partial(samrs_row_to_sample, dataset="scenes", num_classes=6)


class _Draws:
    """A generator that answers from a list."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def _answer(self, *asked):
        self.asked.append(asked)
        return self.answers.pop(0)

    random = integers = uniform = _answer


def _image(height=8, width=10):
    return {
        "image": torch.zeros(3, height, width, dtype=torch.uint8),
        "image_id": "a",
        "dataset": "d",
    }


def test_compose_applies_in_order():
    assert Compose([lambda s, r: s + [1], lambda s, r: s + [2]])([], RNG) == [1, 2]


def test_polygons_with_coinciding_neighbour_corners_are_dropped():
    polygons = torch.tensor(
        [
            [0.0, 0, 4, 0, 4, 4, 0, 4],
            [0, 0, 0, 0, 4, 4, 0, 4],  # first two
            [1, 1, 4, 0, 4, 4, 1, 1],  # last and first
            [0, 0, 4, 4, 0, 0, 4, 0],  # opposite corners may coincide
        ]
    )
    sample = {"polygons": polygons, "rotated_class_labels": torch.arange(4)}
    out = DropDegenerate()(sample, RNG)
    assert out["rotated_class_labels"].tolist() == [0, 3]
    assert out["dropped"] == {"degenerate_polygons": 2}
    assert DropDegenerate()({}, RNG) == {}


@pytest.mark.parametrize(
    ("draw", "corner"),
    [(0.0, (0, 9)), (0.26, (7, 0)), (0.5, (7, 9)), (0.74, (7, 9)), (0.75, (0, 0))],
)
def test_flip_directions_share_the_probability(draw, corner):
    sample = _image()
    sample["image"][:, 0, 0] = 1
    out = RandomFlip(0.75)(sample, _Draws(draw))
    assert out["image"][0].nonzero().tolist() == [list(corner)]


def test_flip_probability_zero_and_one_are_certain():
    sample = _image()
    sample["image"][:, 0, 0] = 1
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert RandomFlip(0.0)(sample, rng)["image"][0, 0, 0] == 1
        assert RandomFlip(1.0)(sample, rng)["image"][0, 0, 0] == 0
    with pytest.raises(ValueError, match="1.5"):
        RandomFlip(1.5)


@pytest.mark.parametrize("directions", [[], ["diag"], ["horizontal", "up"]])
def test_directions_that_are_none_are_refused_at_once(directions):
    with pytest.raises(ValueError, match="flip directions"):
        RandomFlip(0.5, directions)


def test_flips_can_be_of_one_kind():
    sample = _image()
    sample["image"][:, 0, 0] = 1
    for draw, column in ((0.0, 9), (0.49, 9), (0.5, 0)):
        out = RandomFlip(0.5, ["horizontal"])(sample, _Draws(draw))
        assert out["image"][0].nonzero().tolist() == [[0, column]]


def test_random_resize_truncates_the_target():
    draws = _Draws(0.79)
    assert RandomResize(10)(_image(), draws)["image"].shape == (3, 6, 7)  # 7.9 -> 7
    assert draws.asked == [(0.5, 2.0)]


def test_resize_fits_the_long_side():
    assert Resize(20)(_image(), RNG)["image"].shape == (3, 16, 20)


def test_crop_window_is_drawn_over_all_places():
    draws = _Draws(2, 4)
    out = RandomCrop(6)(_image(), draws)
    assert out["image"].shape == (3, 6, 6)
    assert draws.asked == [(0, 3), (0, 5)]


def _columns(*levels):
    """Four rows of the given labels, 255 = ignore."""
    labels = torch.tensor(levels, dtype=torch.uint8).repeat(4, 1)
    return {**_image(4, len(levels)), "semantic_labels": labels}


@pytest.mark.parametrize(
    ("levels", "left"),
    [
        ([0, 0, 0, 0, 1, 1], 2),  # only class 0 at first, then half and half
        ([0, 0, 0, 255, 1, 1], 2),  # ignored pixels do not count: 1 : 1 at the second window
        ([255, 255, 255, 255, 0, 1], 2),
        ([0, 0, 0, 0, 0, 0], 0),  # never: the eleventh window is taken as it is
    ],
)
def test_windows_are_drawn_again_while_one_class_fills_them(levels, left):
    draws = _Draws(0, 0, 0, 2, *[0, 0] * 9)
    out = RandomCrop(4, max_class_ratio=0.75)(_columns(*levels), draws)
    assert decode_map(out["semantic_labels"])[0].tolist() == levels[left : left + 4]
    assert len(draws.asked) == (4 if left else 22)


def test_a_share_equal_to_the_limit_is_too_much():
    draws = _Draws(0, 0, 0, 2)
    out = RandomCrop(4, max_class_ratio=0.75)(_columns(0, 0, 0, 1, 2, 2), draws)
    assert decode_map(out["semantic_labels"])[0].tolist() == [0, 1, 2, 2]
    assert len(draws.asked) == 4


@pytest.mark.parametrize("ratio", [0.0, 1.0, 75])
def test_a_ratio_that_limits_nothing_or_everything_is_an_error(ratio):
    with pytest.raises(ValueError, match=f"max_class_ratio {ratio}"):
        RandomCrop(4, max_class_ratio=ratio)


def test_windows_of_pairs_are_chosen_by_the_change_map():
    sample = _columns(0, 0, 0, 0, 1, 1)
    sample["change_labels"] = sample.pop("semantic_labels")
    out = RandomCrop(4, max_class_ratio=0.75)(sample, _Draws(0, 0, 0, 2))
    assert decode_map(out["change_labels"])[0].tolist() == [0, 0, 1, 1]


def test_images_without_choice_are_not_looked_at():
    out = RandomCrop(6, max_class_ratio=0.75)(_columns(0, 0, 0, 0, 0, 0), _Draws(0, 0))
    assert out["image"].shape == (3, 4, 6)


def test_a_window_cannot_be_chosen_without_a_map():
    with pytest.raises(ValueError, match="image a has no label map"):
        RandomCrop(4, max_class_ratio=0.75)(_image(), RNG)


def test_pictures_alone_are_resized():
    out = ResizePictures((16, 5))(_columns(0, 1, 2), RNG)
    assert out["image"].shape == (3, 16, 5)
    assert out["semantic_labels"].shape == (4, 3)


def test_crop_leaves_small_images_whole():
    out = RandomCrop(64)(_image(), RNG)
    assert out["image"].shape == (3, 8, 10)


def test_instances_without_pixels_are_filtered_and_counted():
    masks = torch.zeros(3, 8, 10, dtype=torch.bool)
    masks[0, 2, 2] = masks[2, 1:4, 1:4] = True
    sample = {**_image(), "class_labels": torch.arange(3), "instance_masks": masks}
    sample["boxes"] = boxes_from_masks(masks)
    assert FilterInstances()(sample, RNG)["class_labels"].tolist() == [0, 2]
    out = FilterInstances(min_area=2)(sample, RNG)
    assert out["class_labels"].tolist() == [2]
    assert out["dropped"] == {"filtered_instances": 2}


def test_image_that_loses_all_instances_is_rejected():
    sample = {**_image(), "class_labels": torch.arange(1), "boxes": torch.zeros(1, 4)}
    with pytest.raises(RejectedSampleError, match="d/a"):
        FilterInstances()(sample, RNG)


def test_image_without_instances_is_not_rejected():
    sample = {**_image(), "class_labels": torch.zeros(0), "boxes": torch.zeros(0, 4)}
    assert len(FilterInstances()(sample, RNG)["boxes"]) == 0
    assert "boxes" not in FilterInstances()(_image(), RNG)


def test_pad_fills_each_map_with_its_own_value():
    sample = {
        **_image(),
        "instance_masks": torch.ones(1, 8, 10, dtype=torch.bool),
        "semantic_labels": torch.ones(8, 10, dtype=torch.uint8),
    }
    sample["image"] += 7
    out = Pad(12)(sample, RNG)
    assert out["size"] == (8, 10)
    for key, inside, outside in (
        ("image", 7, 0),
        ("instance_masks", 1, 0),
        ("semantic_labels", 1, 255),
    ):
        assert out[key].shape[-2:] == (12, 12)
        assert (out[key][..., :8, :10] == inside).all()
        assert (out[key][..., 8:, :] == outside).all()
        assert (out[key][..., 10:] == outside).all()
    assert Pad(size_divisor=16)(out, RNG)["size"] == (8, 10)  # the first padding's content
    assert Pad(size_divisor=16)(out, RNG)["image"].shape == (3, 16, 16)


def test_pairs_are_padded_with_their_map():
    labels = torch.ones(8, 10, dtype=torch.uint8)
    pair = {**_image(), "image_post": _image()["image"] + 5, "change_labels": labels}
    out = Pad(size_divisor=16)(pair, RNG)
    assert out["image_post"].shape == (3, 16, 16)
    assert out["image_post"].sum() == 5 * 3 * 80
    assert out["change_labels"].eq(255).sum() == 256 - 80


def test_finalize_makes_rotated_boxes_and_int64_labels(draw_scene):
    sample = finalize(read(draw_scene(0)), RNG)
    check_sample(sample, num_classes=6)
    assert "polygons" not in sample
    assert sample["rotated_boxes"].shape == (4, 5)


def test_training_transforms_in_published_order():
    names = [
        getattr(t, "__name__", type(t).__name__)
        for t in pretraining_train_transforms(64).transforms
    ]
    assert names == [
        "DropDegenerate",
        "RandomFlip",
        "RandomResize",
        "RandomCrop",
        "FilterInstances",
        "PhotometricDistortion",
        "finalize",
    ]
    assert len(pretraining_train_transforms(64, photometric=False).transforms) == 6


def test_eval_transforms_fit_the_square_and_draw_nothing(draw_scene):
    sample = pretraining_eval_transforms(48)(read(draw_scene(0, size=(96, 64))), _Draws())
    check_sample(sample, num_classes=6)
    assert sample["image"].shape == (3, 48, 32)
    assert sample["orig_size"] == (96, 64)


@pytest.mark.parametrize("tasks", [["ss"], ["is"], ["rd"], ["ss", "is", "rd"]])
def test_rows_without_objects_pass_all_transforms(draw_scene, tasks):
    for seed in range(5):
        row = draw_scene(seed, num_objects=0)
        rng = np.random.default_rng(seed)
        sample = pretraining_train_transforms(48)(read(row, tasks=tasks), rng)
        check_sample(sample, num_classes=6)


@pytest.mark.parametrize("seed", range(40))
def test_everything_stays_on_its_object(seed, draw_scene, colors, signed_distance):
    """Flip, resize, crop: mask = semantic label; both, and the colour, fill the rectangle."""
    size = [(96, 96), (120, 80), (64, 100)][seed % 3]
    raw = read(draw_scene(seed, size=size))
    areas = polygons_to_rotated_boxes(raw["polygons"])[:, 2:4].prod(1)
    transforms = pretraining_train_transforms(72, photometric=False)
    sample = transforms(raw, np.random.default_rng(seed))
    check_sample(sample, num_classes=6)
    rotated = {
        int(label): box
        for label, box in zip(sample["rotated_class_labels"], sample["rotated_boxes"], strict=True)
    }
    assert len(sample["class_labels"]) > 0
    for label, mask, box in zip(
        sample["class_labels"].tolist(), sample["instance_masks"], sample["boxes"], strict=True
    ):
        assert torch.equal(sample["semantic_labels"] == label + 1, mask)
        assert torch.equal(box, boxes_from_masks(mask[None])[0])
        if label not in rotated:  # its centre was cut off
            continue
        color = torch.tensor(colors[label])[:, None, None]
        painted = (sample["image"].int() - color).abs().amax(0) < 128
        # Masks and colours sit on pixel centres: half a pixel of the source and half of the
        # result along each axis.
        scale = (rotated[label][2:4].prod() / areas[label]).sqrt()
        tolerance = float(scale + 1) / 2 * 2**0.5
        distance = signed_distance(rotated[label], mask.shape)
        for found in (mask.numpy(), painted.numpy()):
            assert found[distance < -tolerance].all()
            assert not found[distance > tolerance].any()


def test_boxes_of_uncut_objects_equal_transformed_boxes(draw_scene):
    """Without a crop, the box of a doubled mask is the doubled box."""
    raw = read(draw_scene(3))
    sample = finalize(Resize(192)(raw, RNG), RNG)
    assert torch.equal(sample["boxes"], raw["boxes"] * 2)
    assert torch.equal(boxes_from_masks(sample["instance_masks"]), raw["boxes"] * 2)


@pytest.mark.parametrize("seed", range(10))
def test_coded_and_decoded_masks_give_equal_samples(seed, draw_scene):
    raw = read(draw_scene(seed))
    assert isinstance(raw["instance_masks"], RleMasks)
    decoded = {**raw, "instance_masks": raw["instance_masks"].decode()[0]}
    transforms = pretraining_train_transforms(64)
    first, second = (transforms(s, np.random.default_rng(seed)) for s in (raw, decoded))
    assert set(first) == set(second)
    for key, value in first.items():
        same = second[key] == value
        assert same.all() if isinstance(value, torch.Tensor) else same


def test_sizes_cover_the_published_range(draw_scene):
    transform = RandomResize(448)
    sides = [
        transform({"image": torch.zeros(3, 8, 8, dtype=torch.uint8)}, np.random.default_rng(s))[
            "image"
        ].shape[1]
        for s in range(300)
    ]
    assert 224 <= min(sides) < 240
    assert 880 < max(sides) <= 895
