"""Photometric distortion of 8-bit RGB images, with OpenCV's 8-bit meaning of hue and saturation.

OpenCV stores hue as degrees / 2 (0..179), saturation and value as 0..255, all rounded to whole
numbers, once per conversion; every distortion rounds or truncates back to 8 bits.

Source: MTP training pipeline step 8 (spec 2.9, 7.9).
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor

from mtp_hf.data.geometry import PICTURES
from mtp_hf.data.schema import RawSample

_HUES = 180  # number of 8-bit hue levels


class PhotometricDistortion:
    """Brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast comes before or after the hue-saturation part, by a coin flip. The two pictures of a
    pair have draws of their own.

    Differs: the original hands float images over, on which saturation and hue go wrong in 37.5 %
    of the images (quirk 9); here every step works on 8 bits, as its authors meant.

    Args:
        brightness: Largest shift, in gray levels.
        contrast: Range of the factor.
        saturation: Range of the factor.
        hue: Largest shift h, in half degrees; whole numbers are drawn from [-h, h), 0 for none.
    """

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: int = 18,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Distort the pictures; annotations stay."""
        pictures = {key: self._distorted(sample[key], rng) for key in PICTURES if key in sample}  # type: ignore
        return cast(RawSample, {**sample, **pictures})

    def _distorted(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        # All numbers are drawn, used or not: the stream does not depend on the coins.
        use = rng.random(5) < 0.5
        brightness = float(rng.uniform(-self.brightness, self.brightness))
        contrast = float(rng.uniform(*self.contrast))
        saturation = float(rng.uniform(*self.saturation))
        hue = int(rng.integers(-self.hue, self.hue)) if self.hue else 0
        return distort(
            image,
            brightness=brightness if use[0] else 0.0,
            contrast=contrast if use[1] else 1.0,
            saturation=saturation if use[2] else 1.0,
            hue=hue if use[3] else 0,
            contrast_first=bool(use[4]),
        )


def distort(
    image: Tensor,
    *,
    brightness: float = 0.0,
    contrast: float = 1.0,
    saturation: float = 1.0,
    hue: int = 0,
    contrast_first: bool = True,
) -> Tensor:
    """Apply the given distortions to an image, uint8 (3, H, W) RGB -> the same."""
    # numpy: its 8-bit casts and table look-ups are several times torch's on one core.
    pixels = np.ascontiguousarray(image.numpy())
    if brightness:
        pixels = _scaled(pixels, 1.0, brightness)
    if contrast_first and contrast != 1.0:
        pixels = _scaled(pixels, contrast)
    if saturation != 1.0:
        hue_map, saturation_map, value = rgb_to_hsv(pixels)
        pixels = hsv_to_rgb(hue_map, _scaled(saturation_map, saturation), value)
    if hue:
        pixels = hsv_to_rgb(*rgb_to_hsv(pixels), hue_shift=hue)
    if not contrast_first and contrast != 1.0:
        pixels = _scaled(pixels, contrast)
    return torch.from_numpy(pixels)


def rgb_to_hsv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Convert 8-bit RGB.

    Kept: OpenCV divides by multiplying with reciprocals of 12 fractional bits, which moves the
    hue of one pixel in a hundred by one level.

    Args:
        image: uint8 (3, H, W).

    Returns:
        hue 0..179, saturation 0..255, value 0..255, each uint8 (H, W).
    """
    red, green, blue = image
    value = np.maximum(np.maximum(red, green), blue)
    span = value - np.minimum(np.minimum(red, green), blue)
    # Whole numbers below 2^24: float32 is exact.
    saturation = span * _SATURATION_RECIPROCALS.take(value)
    saturation += _FIXED_POINT / 2
    saturation /= _FIXED_POINT

    # Sixths of the circle, measured from the largest channel; ties go to red, then green.
    # Products with 0 and 1 instead of `where`, which is slow on natural images' mixed masks.
    from_red = value == red
    from_green = (value == green) & ~from_red
    from_blue = ~(from_red | from_green)
    red, green, blue, wide_span = (channel.astype(np.int16) for channel in (*image, span))
    offset = from_red * (green - blue)
    offset += from_green * (blue - red + 2 * wide_span)
    offset += from_blue * (red - green + 4 * wide_span)
    hue = offset * _HUE_RECIPROCALS.take(span)
    hue += _FIXED_POINT / 2
    hue /= _FIXED_POINT
    np.floor(hue, out=hue)
    hue += (hue < 0) * np.float32(_HUES)
    return hue.astype(np.uint8), saturation.astype(np.uint8), value


def hsv_to_rgb(
    hue: np.ndarray, saturation: np.ndarray, value: np.ndarray, hue_shift: int = 0
) -> np.ndarray:
    """Convert back three uint8 maps (H, W), hue turned by `hue_shift`, -> uint8 (3, H, W)."""
    saturation = saturation * np.float32(1 / 255)
    value = value * np.float32(1 / 255)
    image = np.empty((3, *hue.shape), dtype=np.uint8)
    for channel, weights in zip(image, _CHANNEL_WEIGHTS, strict=True):
        level = np.roll(weights, -hue_shift).take(hue)
        level *= saturation
        np.subtract(1, level, out=level)
        level *= value
        level *= 255
        channel[:] = level  # truncated, as OpenCV does on the way back
    return image


def _scaled(levels: np.ndarray, factor: float, shift: float = 0.0) -> np.ndarray:
    """Compute factor * levels + shift, clipped to 0..255 and truncated to uint8."""
    scaled = levels.astype(np.float32)
    scaled *= np.float32(factor)
    scaled += np.float32(shift)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _channel_weights() -> np.ndarray:
    """Share of the chroma that each channel lacks at each hue: float32 (3, 180), R G B.

    A channel is V * (1 - S * weight). Over the six sextants of the circle the weight is 0 or 1
    where the channel is the largest or smallest and falls or rises with the place f in between.
    """
    sextants = np.arange(_HUES, dtype=np.float32) * np.float32(6 / _HUES)
    place = sextants - np.floor(sextants)
    zero, one = np.zeros_like(place), np.ones_like(place)
    red = (zero, place, one, one, 1 - place, zero)  # by sextant
    choices = [np.roll(np.arange(6), 2 * channel) for channel in range(3)]
    index = np.floor(sextants).astype(int)
    return np.stack([np.choose(index, [red[i] for i in choice]) for choice in choices])


_FIXED_POINT = np.float32(1 << 12)
_SATURATION_RECIPROCALS = np.rint(255 * _FIXED_POINT / np.arange(256).clip(1)).astype(np.float32)
_HUE_RECIPROCALS = np.rint(_HUES / 6 * _FIXED_POINT / np.arange(256).clip(1)).astype(np.float32)
_CHANNEL_WEIGHTS = _channel_weights()
