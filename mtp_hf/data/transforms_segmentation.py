"""Transforms of semantic segmentation; `Collate(crop_size)` pads images with 0 and maps with 255.

Source: pipelines of the original's semantic segmentation (spec 3.4).
"""

from mtp_hf.data.photometric import PhotometricDistortion
from mtp_hf.data.transforms import (
    Compose,
    RandomCrop,
    RandomFlip,
    RandomResize,
    ResizePictures,
    Transform,
    finalize,
)


def segmentation_train_transforms(
    crop_size: int = 512,
    resize_range: tuple[float, float] = (0.5, 2.0),
    *,
    max_class_ratio: float | None = 0.75,
    flip_probability: float = 0.5,
    photometric: bool = True,
) -> Compose:
    """Training transforms of semantic segmentation.

    Args:
        crop_size: Side of the training image in pixels: 512 for LoveDA, 384 for SpaceNet.
        resize_range: Range of the factor f; the long side becomes int(crop_size * f).
        max_class_ratio: Largest share of one class in a window; None does not look.
        flip_probability: Of a horizontal flip.
        photometric: Distort brightness, contrast, saturation and hue.
    """
    steps: list[Transform] = [
        RandomResize(crop_size, resize_range),
        RandomCrop(crop_size, max_class_ratio),
        RandomFlip(flip_probability, ["horizontal"]),
    ]
    if photometric:
        steps.append(PhotometricDistortion())
    return Compose([*steps, finalize])


def segmentation_eval_transforms(image_size: tuple[int, int] | None = None) -> Compose:
    """Validation transforms of semantic segmentation; the map keeps its resolution.

    Args:
        image_size: (height, width) of the picture, aspect ratio not kept: (384, 384) in the
            validation during SpaceNet's training; None for the size as stored, as in all tests.
    """
    steps: list[Transform] = [] if image_size is None else [ResizePictures(image_size)]
    return Compose([*steps, finalize])
