"""Samples -> batch: padding to one canvas, 8-bit transport, and normalisation on the device.

Pixels stay uint8 until they are on the device (a quarter of the bytes between processes);
`normalize_images` is then called in the training loop, not in the model.

Source: MTP preprocessor (spec 2.7).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mtp_hf.data.geometry import LABEL_MAPS, pad_to, padded_size
from mtp_hf.data.schema import IGNORE_LABEL, Batch, Sample

# ImageNet statistics in gray levels, RGB.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)


class Collate:
    """Pad samples of any task to one canvas and stack them, in the given order.

    Pictures of the later date become `pixel_values_post`, labels of scenes `image_labels` (B,);
    everything else stays in `labels`, one dict an image.

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
            ValueError: No sample, an image larger than `image_size`, samples of which only some
                have a label or a second picture, or a label map of a size of its own on an image
                that needs padding.
        """
        if not samples:
            raise ValueError("cannot collate zero samples")
        sizes = [(s["image"].shape[1], s["image"].shape[2]) for s in samples]
        canvas = padded_size(sizes, self.image_size, self.size_divisor)
        batch: Batch = {
            "pixel_values": _stack([s["image"] for s in samples], canvas),
            "labels": [_label(s, size, canvas) for s, size in zip(samples, sizes, strict=True)],
        }
        if _all_have("image_post", samples):
            batch["pixel_values_post"] = _stack([s["image_post"] for s in samples], canvas)
        if _all_have("label", samples):
            batch["image_labels"] = torch.stack([s["label"] for s in samples])
        return batch


def normalize_images(pixel_values: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Normalise by mean and standard deviation and set the padding to exact zeros.

    Args:
        pixel_values: uint8 (B, 3, H, W), RGB, on any device.
        sizes: Content (height, width) of each image, `labels[i]["size"]`.

    Returns:
        float32 (B, 3, H, W).
    """
    # Made on the device, each would make the host wait for all that was asked of it before.
    mean, std = (
        torch.tensor(values)[:, None, None].to(pixel_values.device, non_blocking=True)
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    images = pixel_values.float().sub_(mean).div_(std)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height:] = 0.0
        image[:, :, width:] = 0.0
    return images


def _all_have(key: str, samples: Sequence[Sample]) -> bool:
    """Whether all samples have the key; that only some have it is an error."""
    without = [sample["image_id"] for sample in samples if key not in sample]
    if without and len(without) < len(samples):
        raise ValueError(f"images {without} of a batch have no {key}, the others do")
    return not without


def _stack(images: Sequence[Tensor], canvas: tuple[int, int]) -> Tensor:
    """Put images on black canvases, -> uint8 (B, 3, *canvas)."""
    stacked = torch.zeros((len(images), 3, *canvas), dtype=torch.uint8)
    for pixels, image in zip(stacked, images, strict=True):
        pixels[:, : image.shape[1], : image.shape[2]] = image
    return stacked


def _label(sample: Sample, size: tuple[int, int], canvas: tuple[int, int]) -> dict[str, Any]:
    """Everything but what is stacked, label maps padded to the canvas."""
    label: dict[str, Any] = {"size": size, **sample}  # a size set by `Pad` wins
    for stacked in ("image", "image_post", "label"):
        label.pop(stacked, None)
    if "instance_masks" in label:
        label["instance_masks"] = pad_to(label["instance_masks"], canvas, False)
    for key in LABEL_MAPS:
        if key not in label:
            continue
        if label[key].shape == size:
            label[key] = pad_to(label[key], canvas, IGNORE_LABEL)
        elif size != canvas:
            raise ValueError(
                f"image {sample['image_id']}: {key} is {tuple(label[key].shape)} and the image "
                f"{size}; a map of another size cannot follow the padding to {canvas}"
            )
    return label
