import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.collate import Collate
from mtp_hf.data.samples import segmentation_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms_segmentation import (
    segmentation_eval_transforms,
    segmentation_train_transforms,
)

RNG = np.random.default_rng(0)
# Gray level of each class in the pictures, 255 for ignored pixels.
LEVELS = np.full(256, 255, dtype=np.uint8)
LEVELS[:7] = np.arange(7) * 30


def _sample(labels, num_classes=7):
    picture = np.repeat(LEVELS[labels][..., None], 3, axis=2)
    row = {"image_id": "a", "image": Image.fromarray(picture), "mask": Image.fromarray(labels)}
    return segmentation_row_to_sample(row, "loveda", num_classes)


@pytest.mark.parametrize("seed", range(20))
def test_labels_stay_on_their_pixels(seed, draw_patches, inner_pixels):
    size = [(64, 64), (90, 60), (48, 80)][seed % 3]
    transforms = segmentation_train_transforms(64, photometric=False)
    sample = transforms(_sample(draw_patches(seed, size, 7)), np.random.default_rng(seed))
    check_sample(sample, num_classes=7)
    labels, image = sample["semantic_labels"], sample["image"]
    expected = torch.from_numpy(LEVELS)[labels]
    inner = inner_pixels(labels)
    # At the border of two classes one of them is taken and their colours are mixed.
    assert inner.float().mean() > 0.05
    for channel in image:
        assert torch.equal(channel[inner], expected[inner])


def test_sizes_cover_the_published_range_and_never_exceed_the_crop(draw_patches):
    labels = draw_patches(0, (80, 80), 7)
    sides = [
        segmentation_train_transforms(64)(_sample(labels), np.random.default_rng(s))["image"].shape
        for s in range(60)
    ]
    heights = [height for _, height, _ in sides]
    assert 32 <= min(heights) < 38
    assert max(heights) == 64
    assert 20 < heights.count(64) < 55  # two thirds of the factors are 1 or more


def test_windows_show_several_classes():
    """One class covers nine tenths of the image; the windows are still mixed, mostly."""
    labels = np.zeros((128, 128), dtype=np.uint8)
    labels[20:56, 20:56] = 1

    def shares(max_class_ratio):
        transforms = segmentation_train_transforms(
            64, (2.0, 2.0), max_class_ratio=max_class_ratio, photometric=False
        )
        outs = [transforms(_sample(labels), np.random.default_rng(s)) for s in range(40)]
        return np.array([(out["semantic_labels"] == 0).float().mean() for out in outs])

    assert (shares(0.75) < 0.75).mean() > 0.6
    assert (shares(None) < 0.75).mean() < 0.4


def test_flip_is_horizontal_only(draw_patches):
    labels = draw_patches(1, (64, 64), 7)
    transforms = segmentation_train_transforms(64, (1.0, 1.0), photometric=False)
    flips = 0
    for seed in range(40):
        out = transforms(_sample(labels), np.random.default_rng(seed))["semantic_labels"].numpy()
        flips += (out == labels[:, ::-1]).all()
        assert (out == labels[:, ::-1]).all() or (out == labels).all()
    assert 10 <= flips <= 30


def test_distortion_leaves_labels(draw_patches):
    labels = draw_patches(2, (64, 64), 7)
    plain, distorted = (
        segmentation_train_transforms(64, photometric=photometric)(
            _sample(labels), np.random.default_rng(5)
        )
        for photometric in (False, True)
    )
    assert torch.equal(plain["semantic_labels"], distorted["semantic_labels"])
    assert plain["image"].shape == distorted["image"].shape
    assert not torch.equal(plain["image"], distorted["image"])


def test_batches_are_padded_to_the_crop_with_ignored_labels(draw_patches):
    sample = segmentation_train_transforms(64, (0.5, 0.5))(
        _sample(draw_patches(3, (80, 40), 7)), np.random.default_rng(0)
    )
    batch = Collate(64)([sample])
    assert batch["pixel_values"].shape == (1, 3, 64, 64)
    assert batch["labels"][0]["size"] == (32, 16)
    assert (batch["labels"][0]["semantic_labels"][32:] == 255).all()
    assert (batch["labels"][0]["semantic_labels"][:, 16:] == 255).all()


def test_eval_keeps_the_size_or_resizes_the_picture_only(draw_patches):
    labels = draw_patches(4, (40, 43), 2)
    native = segmentation_eval_transforms()(_sample(labels, 2), None)
    assert native["image"].shape == (3, 40, 43)
    resized = segmentation_eval_transforms((64, 64))(_sample(labels, 2), None)
    assert resized["image"].shape == (3, 64, 64)
    for sample in (native, resized):
        check_sample(sample, num_classes=2)
        assert np.array_equal(sample["semantic_labels"].numpy(), labels)
        assert sample["orig_size"] == (40, 43)


def test_the_published_steps():
    names = [type(step).__name__ for step in segmentation_train_transforms().transforms[:-1]]
    assert names == ["RandomResize", "RandomCrop", "RandomFlip", "PhotometricDistortion"]
