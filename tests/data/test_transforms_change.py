import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.samples import change_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms_change import (
    ExchangeDates,
    RandomTurn,
    change_eval_transforms,
    change_train_transforms,
)

# Gray levels of unchanged, changed and ignored pixels in both dates; nothing is black.
BEFORE, AFTER = (np.zeros(256, dtype=np.uint8) for _ in range(2))
BEFORE[[0, 1, 255]] = 60, 120, 0
AFTER[[0, 1, 255]] = 160, 220, 0


def _sample(labels):
    before, after = (np.repeat(levels[labels][..., None], 3, axis=2) for levels in (BEFORE, AFTER))
    row = {
        "image_id": "a",
        "image": Image.fromarray(before),
        "image_post": Image.fromarray(after),
        "mask": Image.fromarray(labels),
    }
    return change_row_to_sample(row, "levir")


@pytest.mark.parametrize("seed", range(30))
def test_the_map_stays_on_the_pixels_of_both_dates(seed, draw_patches, inner_pixels):
    size = [(64, 64), (90, 60), (48, 80)][seed % 3]
    transforms = change_train_transforms(56, exchange_probability=0.0, photometric=False)
    sample = transforms(_sample(draw_patches(seed, size, 2)), np.random.default_rng(seed))
    check_sample(sample, num_classes=2)
    labels = sample["change_labels"]
    inner = inner_pixels(labels)
    # A slight rotation mixes colours at borders, and the black around the image with its edge.
    assert inner.float().mean() > 0.3
    for key, levels in (("image", BEFORE), ("image_post", AFTER)):
        expected = torch.from_numpy(levels)[labels]
        assert torch.equal(sample[key][0][inner], expected[inner])


@pytest.mark.parametrize("seed", range(30))
def test_one_draw_moves_both_dates(seed):
    """Two equal pictures are equal afterwards, bit by bit."""
    rng = np.random.default_rng(seed)
    picture = torch.from_numpy(rng.integers(0, 256, (3, 80, 72), dtype=np.uint8))
    sample = {
        "image": picture,
        # In another memory layout.
        "image_post": picture.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        "change_labels": picture[0] % 2,
        "image_id": "a",
        "dataset": "d",
        "orig_size": (80, 72),
    }
    transforms = change_train_transforms(56, 48, photometric=False)
    out = transforms(sample, np.random.default_rng(seed))
    assert torch.equal(out["image"], out["image_post"])
    assert out["change_labels"].shape == (56, 56)


def test_turns_happen_as_often_as_published():
    picture = torch.arange(75, dtype=torch.uint8).reshape(3, 5, 5)
    squares = {}
    for turns in range(4):
        turned = picture.rot90(turns, dims=(1, 2))
        for mirrored in (False, True):
            out = turned.flip(2) if mirrored else turned
            squares[out.numpy().tobytes()] = (turns, mirrored)
    found = []
    for seed in range(600):
        out = RandomTurn()({"image": picture}, np.random.default_rng(seed))["image"]
        found.append(squares.get(out.contiguous().numpy().tobytes()))
    rotated = found.count(None)  # by an angle that moves at least one pixel
    assert 230 <= rotated <= 330
    assert 110 <= found.count((0, False)) <= 200  # a quarter stays
    for turns in range(4):
        assert 15 <= found.count((turns, True)) <= 70  # a flip follows always
        assert not turns or found.count((turns, False)) == 0


def test_rotations_are_by_at_most_twenty_degrees():
    labels = torch.zeros(41, 41, dtype=torch.uint8)
    labels[20, 36] = 1
    angles = []
    for seed in range(100):
        sample = {"image": labels.expand(3, -1, -1) * 255, "change_labels": labels}
        out = RandomTurn(rotate_probability=1.0)(sample, np.random.default_rng(seed))
        y, x = (out["image"][0] > 60).nonzero().float().mean(0).tolist()
        angles.append(np.rad2deg(np.arctan2(y - 20, x - 20)))
    # The place is known to half a pixel of sixteen: two degrees.
    assert 16 < max(angles) <= 22
    assert -22 <= min(angles) < -16


def test_dates_are_exchanged_half_the_time_and_the_map_stays(draw_patches):
    sample = _sample(draw_patches(0, (32, 32), 2))
    exchanged = 0
    for seed in range(100):
        out = ExchangeDates()(sample, np.random.default_rng(seed))
        exchanged += out["image"] is sample["image_post"] and out["image_post"] is sample["image"]
        assert out["change_labels"] is sample["change_labels"]
    assert 35 <= exchanged <= 65
    assert ExchangeDates(0.0)(sample, np.random.default_rng(0)) is sample


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rotate_probability", "rotation probability -1"),
        ("turn_probability", "turn probability -1"),
        ("exchange_probability", "exchange probability -1"),
    ],
)
def test_wrong_probabilities_are_errors(name, message):
    with pytest.raises(ValueError, match=message):
        change_train_transforms(**{name: -1})


def test_colours_of_the_dates_are_distorted_apart_and_slightly():
    labels = np.zeros((32, 32), dtype=np.uint8)
    sample = _sample(labels)
    sample["image_post"] = sample["image"]
    transforms = change_train_transforms(32, rotate_probability=0.0)
    outs = [transforms(sample, np.random.default_rng(s)) for s in range(60)]
    shifts = [out[key].float().mean() - 60 for out in outs for key in ("image", "image_post")]
    # Ten levels and a fifth of 60, and the rounding of the steps.
    assert max(shifts) <= 24
    assert min(shifts) >= -22
    assert sum(not torch.equal(out["image"], out["image_post"]) for out in outs) > 30


def test_oscd_resizes_pictures_and_keeps_the_map(draw_patches):
    labels = draw_patches(0, (96, 96), 2)
    for transforms in (change_train_transforms(None, 224), change_eval_transforms(224)):
        out = transforms(_sample(labels), np.random.default_rng(0))
        check_sample(out, num_classes=2)
        assert out["image"].shape == out["image_post"].shape == (3, 224, 224)
        assert out["change_labels"].shape == (96, 96)


def test_eval_changes_nothing(draw_patches):
    sample = _sample(draw_patches(1, (40, 48), 2))
    out = change_eval_transforms()(sample, None)
    assert torch.equal(out["image_post"], sample["image_post"])
    assert torch.equal(out["change_labels"], sample["change_labels"].long())


def test_the_published_steps():
    names = [type(step).__name__ for step in change_train_transforms().transforms[:-1]]
    assert names == ["RandomTurn", "RandomCrop", "ExchangeDates", "PhotometricDistortion"]


def test_one_date_alone_cannot_be_exchanged():
    with pytest.raises(ValueError, match="no image_post"):
        ExchangeDates(0.0)({"image": torch.zeros(3, 4, 4)}, np.random.default_rng(0))
