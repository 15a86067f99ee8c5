"""Samples -> batch: padding to one canvas, 8-bit transport, and normalisation on the device.

Pixels stay uint8 until they are on the device (a quarter of the bytes between processes);
`normalize_images` is then called in the training loop, not in the model.

Source: MTP preprocessor (spec 2.7).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtp_hf.data.geometry import pad_to, padded_size
from mtp_hf.data.schema import IGNORE_LABEL, Batch, Sample

# ImageNet statistics in gray levels, RGB.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)


class Collate:
    """Pad samples to one canvas and stack them, in the given order.

    Differs: all label maps are padded like the image; the original leaves the semantic map
    smaller than the canvas (quirk 8).

    Args:
        image_size: Side of the square canvas in pixels; None for the largest image of the batch
            rounded up to `size_divisor`.
        size_divisor: See above.
    """

    def __init__(self, image_size: int | None = None, size_divisor: int = 32) -> None:
        self.image_size = image_size
        self.size_divisor = size_divisor

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Collate B >= 1 finalized samples.

        Raises:
            ValueError: No sample, or an image larger than `image_size`.
        """
        if not samples:
            raise ValueError("cannot collate zero samples")
        sizes = [(s["image"].shape[1], s["image"].shape[2]) for s in samples]
        canvas = padded_size(sizes, self.image_size, self.size_divisor)
        pixel_values = torch.zeros((len(samples), 3, *canvas), dtype=torch.uint8)
        for pixels, sample, (height, width) in zip(pixel_values, samples, sizes, strict=True):
            pixels[:, :height, :width] = sample["image"]
        labels = [_label(s, size, canvas) for s, size in zip(samples, sizes, strict=True)]
        return {"pixel_values": pixel_values, "labels": labels}


def normalize_images(pixel_values: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Normalise by mean and standard deviation and set the padding to exact zeros.

    Args:
        pixel_values: uint8 (B, 3, H, W), RGB, on any device.
        sizes: Content (height, width) of each image, `labels[i]["size"]`.

    Returns:
        float32 (B, 3, H, W).
    """
    device = pixel_values.device
    mean = torch.tensor(IMAGE_MEAN, device=device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=device)[:, None, None]
    images = pixel_values.float().sub_(mean).div_(std)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height:] = 0.0
        image[:, :, width:] = 0.0
    return images


def _label(sample: Sample, size: tuple[int, int], canvas: tuple[int, int]) -> dict[str, Any]:
    """Everything but the image, label maps padded to the canvas."""
    label: dict[str, Any] = {"size": size, **sample}  # a size set by `Pad` wins
    del label["image"]
    if "instance_masks" in label:
        label["instance_masks"] = pad_to(label["instance_masks"], canvas, False)
    if "semantic_labels" in label:
        label["semantic_labels"] = pad_to(label["semantic_labels"], canvas, IGNORE_LABEL)
    return label
