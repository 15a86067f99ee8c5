"""Photometric distortion of 8-bit RGB images, with OpenCV's 8-bit meaning of hue and saturation.

OpenCV stores hue as degrees / 2 (0..179), saturation and value as 0..255, all rounded to whole
numbers, once per conversion; every distortion rounds or truncates back to 8 bits.

Source: MTP training pipeline step 8 (spec 2.9, 7.9).
"""

import numpy as np
import torch
from torch import Tensor

from mtp_hf.data.schema import RawSample

_HUES = 180  # number of 8-bit hue levels


class PhotometricDistortion:
    """Brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast comes before or after the hue-saturation part, by a coin flip.

    Differs: the original hands float images over, on which saturation and hue go wrong in 37.5 %
    of the images (quirk 9); here every step works on 8 bits, as its authors meant.

    Args:
        brightness: Largest shift, in gray levels.
        contrast: Range of the factor.
        saturation: Range of the factor.
        hue: Largest shift h, in half degrees; whole numbers are drawn from [-h, h).
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
        """Distort the image; annotations stay."""
        # All numbers are drawn, used or not: the stream does not depend on the coins.
        use = rng.random(5) < 0.5
        brightness = float(rng.uniform(-self.brightness, self.brightness))
        contrast = float(rng.uniform(*self.contrast))
        saturation = float(rng.uniform(*self.saturation))
        hue = int(rng.integers(-self.hue, self.hue))
        image = distort(
            sample["image"],
            brightness=brightness if use[0] else 0.0,
            contrast=contrast if use[1] else 1.0,
            saturation=saturation if use[2] else 1.0,
            hue=hue if use[3] else 0,
            contrast_first=bool(use[4]),
        )
        return {**sample, "image": image}


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
    if brightness:
        image = _scale(image, 1.0, brightness)
    if contrast_first and contrast != 1.0:
        image = _scale(image, contrast)
    if saturation != 1.0:
        hue_map, saturation_map, value = rgb_to_hsv(image)
        image = hsv_to_rgb(hue_map, _scale(saturation_map, saturation), value)
    if hue:
        hue_map, saturation_map, value = rgb_to_hsv(image)
        image = hsv_to_rgb((hue_map.int() + hue) % _HUES, saturation_map, value)
    if not contrast_first and contrast != 1.0:
        image = _scale(image, contrast)
    return image


def rgb_to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert 8-bit RGB.

    Args:
        image: uint8 (3, H, W).

    Returns:
        hue 0..179, saturation 0..255, value 0..255, each uint8 (H, W).
    """
    red, green, blue = image.float().unbind(0)
    value, low = image.amax(0).float(), image.amin(0).float()
    span = value - low
    saturation = (span * 255).div_(value.clamp(min=1)).add_(0.5).floor_()
    # Sixths of the circle, measured from the largest channel; ties go to red, then green.
    offset = torch.where(value == green, blue - red + 2 * span, red - green + 4 * span)
    offset = torch.where(value == red, green - blue, offset)
    hue = (offset * (_HUES / 6)).div_(span.clamp(min=1)).add_(0.5).floor_()
    hue = torch.where(hue < 0, hue + _HUES, hue)
    return hue.to(torch.uint8), saturation.to(torch.uint8), value.to(torch.uint8)


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Convert back: three integer maps (H, W) -> uint8 (3, H, W)."""
    sextant = hue.float() * (6 / _HUES)
    chroma = saturation.float().mul_(1 / 255) * value
    # Each channel falls from V to V - C and back around the circle, a third apart.
    channels = []
    for start in (5.0, 3.0, 1.0):
        distance = (sextant + start).remainder_(6.0)
        fall = torch.minimum(distance, 4.0 - distance).clamp_(0.0, 1.0)
        channels.append((value - chroma * fall).round_())
    return torch.stack(channels).clamp_(0, 255).to(torch.uint8)


def _scale(image: Tensor, factor: float, shift: float = 0.0) -> Tensor:
    """Compute factor * image + shift, clipped to 0..255 and truncated to 8 bits."""
    return image.float().mul_(factor).add_(shift).clamp_(0, 255).to(torch.uint8)
