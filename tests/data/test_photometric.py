import colorsys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.data.photometric import PhotometricDistortion, distort, hsv_to_rgb, rgb_to_hsv

# The decisions that were forced on the original, as recorded.
RECORDED = {
    "brightness": {"brightness": 20.5},
    "contrast_first": {"contrast": 1.3},
    "contrast_last": {"contrast": 0.7, "contrast_first": False},
    "saturation_after_brightness": {"brightness": -10.2, "saturation": 0.6},
    "hue_after_brightness": {"brightness": 5.0, "hue": -11},
    "everything_first": {"brightness": 12.3, "contrast": 1.2, "saturation": 0.8, "hue": 7},
    "everything_last": {
        "brightness": -12.3,
        "saturation": 1.4,
        "hue": -5,
        "contrast": 0.9,
        "contrast_first": False,
    },
}


def _image(*pixels):
    """uint8 (3, 1, W) from RGB triples."""
    return torch.tensor(pixels, dtype=torch.uint8).T[:, None]


def test_brightness_shifts_clips_and_truncates():
    out = distort(_image((0, 100, 250)), brightness=20.5)
    assert out.flatten().tolist() == [20, 120, 255]


def test_contrast_scales_clips_and_truncates():
    assert distort(_image((1, 99, 200)), contrast=1.5).flatten().tolist() == [1, 148, 255]


def test_hsv_of_the_primary_and_secondary_colours():
    image = _image((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (9, 0, 9))
    hue, saturation, value = rgb_to_hsv(image.numpy())
    assert hue.tolist() == [[0, 30, 60, 90, 120, 150]]
    assert (saturation == 255).all()
    assert value.tolist() == [[255, 255, 255, 255, 255, 9]]


def test_gray_has_no_hue_and_no_saturation():
    hue, saturation, value = rgb_to_hsv(_image((0, 0, 0), (77, 77, 77)).numpy())
    assert hue.tolist() == [[0, 0]]
    assert saturation.tolist() == [[0, 0]]
    assert value.tolist() == [[0, 77]]


def test_hsv_is_within_one_level_of_the_exact_formula():
    # Rounding is half a level, the 12-bit reciprocals of OpenCV add less than half a level.
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 500), dtype=np.uint8)
    hue, saturation, value = rgb_to_hsv(pixels)
    for i, (r, g, b) in enumerate(pixels[:, 0].T / 255):
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        assert abs((hue[0, i] - h * 180 + 90) % 180 - 90) <= 1
        assert abs(saturation[0, i] - s * 255) <= 1
        assert value[0, i] == round(v * 255)


def test_back_conversion_is_within_one_level_of_the_exact_formula():
    rng = np.random.default_rng(1)
    hue = rng.integers(0, 180, (1, 500), dtype=np.uint8)
    saturation, value = rng.integers(0, 256, (2, 1, 500), dtype=np.uint8)
    image = hsv_to_rgb(hue, saturation, value)
    for i in range(500):
        exact = colorsys.hsv_to_rgb(hue[0, i] / 180, saturation[0, i] / 255, value[0, i] / 255)
        assert np.abs(image[:, 0, i] - np.array(exact) * 255).max() < 1 + 1e-3  # truncated


def test_hue_shift_turns_red_into_green_and_wraps():
    image = _image((200, 0, 0))
    assert distort(image, hue=60).flatten().tolist() == [0, 200, 0]
    assert distort(image, hue=-60).flatten().tolist() == [0, 0, 200]


def test_saturation_leaves_gray_alone():
    image = _image((128, 128, 128))
    assert (distort(image, saturation=0.5).int() - 128).abs().max() <= 1


def test_nothing_to_do_returns_equal_pixels():
    image = torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8)
    assert torch.equal(distort(image), image)


def test_distortion_keeps_shape_dtype_and_input():
    image = torch.randint(0, 256, (9, 7, 3), dtype=torch.uint8).permute(2, 0, 1)
    before = image.clone()
    for seed in range(20):
        out = PhotometricDistortion()({"image": image}, np.random.default_rng(seed))["image"]
        assert (out.shape, out.dtype) == (image.shape, torch.uint8)
    assert torch.equal(image, before)


def test_each_distortion_happens_in_half_of_the_images(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "mtp_hf.data.photometric.distort", lambda image, **kw: calls.append(kw) or image
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
        PhotometricDistortion()({"image": None}, rng)
    for name, neutral in (("brightness", 0.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0)):
        used = np.mean([call[name] != neutral for call in calls])
        # Hue may draw a shift of 0; four standard deviations of 2000 coins are 0.045.
        assert abs(used - 0.5) < 0.06, name
    hues = {call["hue"] for call in calls}
    assert (min(hues), max(hues)) == (-18, 17)  # the upper end is excluded


def test_same_generator_state_gives_the_same_image():
    image = torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8)
    outs = [PhotometricDistortion()({"image": image}, np.random.default_rng(5)) for _ in range(2)]
    assert torch.equal(outs[0]["image"], outs[1]["image"])


@pytest.mark.parametrize("case", RECORDED)
def test_parity_with_the_recorded_distortions(case, fixtures_dir):
    recorded = load_file(fixtures_dir / "pipeline_photometric.safetensors")  # (H, W, 3) BGR
    image = recorded["source"].permute(2, 0, 1).flip(0)
    expected = recorded[case].permute(2, 0, 1).flip(0)
    difference = (distort(image, **RECORDED[case]).int() - expected.int()).abs()
    # Brightness and contrast are exact. The conversion back from HSV truncates float32 numbers:
    # one that is a whole number up to its last bit may fall either way, by one level.
    exact = case in ("brightness", "contrast_first", "contrast_last")
    assert difference.max() <= (0 if exact else 1)
    assert (difference > 0).float().mean() < 1e-3


def test_the_pictures_of_a_pair_have_draws_of_their_own():
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 6, 6), dtype=np.uint8))
    transform = PhotometricDistortion()
    differ = 0
    for seed in range(8):
        pair = transform({"image": picture, "image_post": picture}, np.random.default_rng(seed))
        alone = transform({"image": picture}, np.random.default_rng(seed))
        assert torch.equal(pair["image"], alone["image"])  # the first date draws first
        differ += not torch.equal(pair["image"], pair["image_post"])
    assert differ >= 6  # equal only where every coin of both says no


def test_hue_can_be_left_alone():
    image = torch.full((3, 2, 2), 100, dtype=torch.uint8)
    distortion = PhotometricDistortion(0.0, (1.0, 1.0), (1.0, 1.0), 0)
    for seed in range(10):
        sample = distortion({"image": image}, np.random.default_rng(seed))
        assert torch.equal(sample["image"], image)
