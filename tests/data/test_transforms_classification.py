import random

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.collate import IMAGE_MEAN, IMAGE_STD, Collate, normalize_images
from mtp_hf.data.samples import classification_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms_classification import (
    CenterCrop,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    classification_eval_transforms,
    classification_train_transforms,
)
from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor

RNG = np.random.default_rng(0)


def _noise(height=64, width=64, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).permute(
        2, 0, 1
    )


def _ramp(height=200, width=250):
    """Red is x and green is y, so that a window can be read off its pixels."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint8)
    return torch.from_numpy(np.stack([x, y, np.zeros_like(x)]))


def _sample(image, label=3):
    row = {
        "image_id": "a",
        "image": Image.fromarray(image.permute(1, 2, 0).numpy()),
        "label": label,
    }
    return classification_row_to_sample(row, "eurosat", 10)


def test_windows_have_the_published_shares_and_aspects():
    image = _ramp()
    shares, aspects = [], []
    for seed in range(60):
        out = RandomResizedCrop(100)({"image": image}, np.random.default_rng(seed))["image"].float()
        assert out.shape == (3, 100, 100)
        width = (out[0, 50, 80] - out[0, 50, 20]) / 60 * 100  # source pixels across
        height = (out[1, 80, 50] - out[1, 20, 50]) / 60 * 100
        shares.append(float(width * height) / 50_000)
        aspects.append(float(width / height))
    # Levels are whole: 1 of 60 and more; the smallest window has 63 pixels a side.
    assert 0.07 < min(shares) < 0.25
    assert 0.75 < max(shares) < 1.02
    assert 0.72 < min(aspects) < 0.85
    assert 1.2 < max(aspects) < 1.38


def test_windows_of_the_whole_image_are_the_resized_image():
    out = RandomResizedCrop(64, (1.0, 1.0), (1.0, 1.0))({"image": _noise()}, RNG)["image"]
    assert torch.equal(out, _noise())


def test_fifteen_operations_of_the_published_strength():
    transform = RandAugment().transform
    assert [(op.magnitude, op.magnitude_std, op.prob) for op in transform.ops] == [
        (9, 0.5, 0.5)
    ] * 15
    assert transform.num_layers == 2
    for op in transform.ops:
        assert op.kwargs == {"fillcolor": (124, 116, 104), "resample": Image.Resampling.BICUBIC}
    names = {op.name for op in transform.ops}
    assert {"Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"} == {
        name.removesuffix("Increasing") for name in names if name.endswith("Increasing")
    }
    assert {"TranslateXRel", "TranslateYRel", "ShearX", "ShearY", "Rotate"} < names


def test_pixels_from_outside_have_the_mean_colour():
    white = torch.full((3, 40, 40), 255, dtype=torch.uint8)
    transform = RandAugment()
    transform.transform.ops = [op for op in transform.transform.ops if op.name == "TranslateXRel"]
    moved = [transform({"image": white}, np.random.default_rng(s))["image"] for s in range(30)]
    filled = [image for image in moved if not torch.equal(image, white)]
    assert 15 <= len(filled) <= 29  # skipped twice in a quarter of the images, or back again
    for image in filled:
        columns = image[:, 20].T.tolist()
        assert [124, 116, 104] in columns
        # Once 0.45 of the side at the most, twice at most 0.9.
        assert columns.count([124, 116, 104]) <= 36


def test_augmentation_is_a_function_of_the_generator_alone():
    transforms = classification_train_transforms(32)
    for seed in range(12):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        first = transforms(_sample(_noise()), np.random.default_rng(seed))
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        second = transforms(_sample(_noise()), np.random.default_rng(seed))
        assert torch.equal(first["image"], second["image"])
    other = transforms(_sample(_noise()), np.random.default_rng(99))
    assert not torch.equal(other["image"], second["image"])


def test_one_rectangle_of_the_published_size_is_erased():
    image = torch.full((3, 60, 90), 255, dtype=torch.uint8)
    image[:, 0, 0] = 7
    shares = []
    for seed in range(80):
        out = RandomErasing(1.0)({"image": image}, np.random.default_rng(seed))["image"]
        changed = (out != image).any(dim=0)
        rows, cols = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
        shares.append(height * width / 5400)
        aspect = height / width
        # Sides are rounded to whole pixels.
        assert (height - 0.5) / (width + 0.5) <= 1 / 0.3 and (height + 0.5) / (width - 0.5) >= 0.3
        assert changed[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].float().mean() > 0.9
        assert aspect > 0
    assert 0.015 < min(shares) < 0.06
    assert 0.25 < max(shares) < 0.35


def test_erased_pixels_have_the_statistics_of_the_images():
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    out = RandomErasing(1.0, (0.3, 0.3), (1.0, 1.0))({"image": image}, RNG)["image"]
    noise = out[:, (out > 0).any(dim=0)].float()  # (3, P)
    expected = RNG.normal(IMAGE_MEAN, IMAGE_STD, (100_000, 3)).clip(0, 255)
    # 12,000 pixels: standard errors are half a level; so much does truncation take as well.
    for found, level in ((noise.mean(1), expected.mean(0)), (noise.std(1), expected.std(0))):
        np.testing.assert_allclose(found.numpy(), level, atol=2.0)
    assert image.max() == 0  # the given picture is left alone


def test_erasing_has_its_probability():
    image = {"image": torch.zeros(3, 40, 40, dtype=torch.uint8)}
    transform = RandomErasing()
    erased = sum(transform(image, np.random.default_rng(s)) is not image for s in range(400))
    assert 70 <= erased <= 130


def test_rectangles_that_never_fit_are_left_out():
    image = {"image": torch.zeros(3, 4, 400, dtype=torch.uint8)}
    assert RandomErasing(1.0, (0.3, 0.3), (1.0, 1.0))(image, RNG) is image


@pytest.mark.parametrize("size", [(64, 64), (300, 400), (400, 301)])
def test_eval_transforms_and_the_processor_of_the_model_agree(size):
    sample = _sample(_noise(*size))
    batch = Collate()([classification_eval_transforms()(sample, RNG)])
    sizes = [label["size"] for label in batch["labels"]]
    expected = ClassificationImageProcessor()(sample["image"], return_tensors="pt")
    found = normalize_images(batch["pixel_values"], sizes)
    torch.testing.assert_close(found, expected["pixel_values"], atol=1e-5, rtol=0)


def test_centre_is_cut_from_the_resized_image():
    out = CenterCrop(100, 50)({"image": _ramp()}, RNG)["image"].float()  # 200 x 250 -> 100 x 125
    assert out.shape == (3, 50, 50)
    # Half scale, bicubic: the first column is source column 2 * 38 (or 37), within two levels.
    assert abs(out[0, 25, 0] - 2 * 37.75) <= 2
    assert abs(out[1, 0, 25] - 2 * 25.25) <= 2
    with pytest.raises(ValueError, match="crop_size 50"):
        CenterCrop(40, 50)


def test_training_transforms_in_published_order_give_whole_samples():
    transforms = classification_train_transforms()
    names = [getattr(t, "__name__", type(t).__name__) for t in transforms.transforms]
    assert names == ["RandomResizedCrop", "RandomFlip", "RandAugment", "RandomErasing", "finalize"]
    sample = transforms(_sample(_noise()), np.random.default_rng(1))
    check_sample(sample, 10)
    assert sample["image"].shape == (3, 224, 224)
    assert sample["label"].item() == 3
    plain = classification_train_transforms(num_operations=0, erasing_probability=0.0)
    assert len(plain.transforms) == 3


def test_wrong_settings_are_errors():
    with pytest.raises(ValueError, match="magnitude 11"):
        classification_train_transforms(magnitude=11)
    with pytest.raises(ValueError, match="erasing probability 2"):
        classification_train_transforms(erasing_probability=2)
    with pytest.raises(ValueError, match="flip probability -0.5"):
        classification_train_transforms(flip_probability=-0.5)


def test_flip_is_horizontal_only():
    transforms = classification_train_transforms(
        64, (1.0, 1.0), num_operations=0, erasing_probability=0.0
    )
    transforms.transforms[0] = RandomResizedCrop(64, (1.0, 1.0), (1.0, 1.0))
    image = _noise()
    outs = [transforms(_sample(image), np.random.default_rng(s))["image"] for s in range(60)]
    same = sum(torch.equal(out, image) for out in outs)
    mirrored = sum(torch.equal(out, image.flip(2)) for out in outs)
    assert same + mirrored == 60
    assert 18 <= mirrored <= 42


def test_the_strongest_distortion_keeps_a_bit():
    sample = {"image": torch.full((3, 8, 8), 200, dtype=torch.uint8), "image_id": "a"}
    strongest = RandAugment(num_operations=2, magnitude=10, magnitude_std=5.0)
    for seed in range(300):  # posterizing is one of fifteen
        assert strongest(sample, np.random.default_rng(seed))["image"].shape == (3, 8, 8)


@pytest.mark.parametrize("magnitude", [9.5, 10.5, -1])
def test_magnitudes_between_whole_numbers_are_refused(magnitude):
    with pytest.raises(ValueError, match=f"magnitude {magnitude} .* no whole number in 0..10"):
        RandAugment(magnitude=magnitude)


def test_a_whole_magnitude_may_be_written_with_a_dot():
    assert {op.magnitude for op in RandAugment(magnitude=9.0).transform.ops} == {9}
