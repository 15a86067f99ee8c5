"""Transforms of scene classification.

Crop, RandAugment and resizing are those of torchvision and timm, which work on 8 bits as the
original's do. Mixing images of a batch is `mtp_hf.data.batch_mix`.

Source: pipelines of the original's scene classification (spec 3.1).
"""

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as tv
from torchvision.transforms.v2 import functional as tvf

from mtp_hf.data.collate import IMAGE_MEAN, IMAGE_STD
from mtp_hf.data.library_randomness import seeded_libraries
from mtp_hf.data.schema import RawSample
from mtp_hf.data.transforms import Compose, RandomFlip, Transform, check_probability, finalize

_MAX_ERASE_DRAWS = 10
_LARGEST_MAGNITUDE = 9.99  # at 10 posterizing keeps no bit, which Pillow refuses


class RandomResizedCrop:
    """Cut a random window and resize it bicubically to a square.

    Args:
        size: Side of the result in pixels.
        area_range: Share of the image that the window covers.
        aspect_range: Width to height of the window, log-uniform.
    """

    def __init__(
        self,
        size: int,
        area_range: tuple[float, float] = (0.08, 1.0),
        aspect_range: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.transform = tv.RandomResizedCrop(
            size, area_range, aspect_range, InterpolationMode.BICUBIC, antialias=True
        )

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw a window, cut and resize."""
        with seeded_libraries(rng):
            return {**sample, "image": self.transform(sample["image"])}


class RandAugment:
    """Distort the picture by random operations of random strength.

    The fifteen operations: automatic contrast, equalizing, inverting, rotation by up to 30 degrees,
    posterizing, solarizing, adding before solarizing, colour, contrast, brightness and sharpness by
    a factor from 0.1 to 1.9, shearing by up to 0.3, moving by up to 0.45 of a side. Each is skipped
    with probability 0.5. Pixels from outside have the mean colour.

    Args:
        num_operations: Drawn for each image, with replacement.
        magnitude: Mean strength, 10 is the strongest.
        magnitude_std: Standard deviation of the strength.

    Raises:
        ValueError: The magnitude is not a whole number in 0..10.
    """

    def __init__(
        self, num_operations: int = 2, magnitude: int = 9, magnitude_std: float = 0.5
    ) -> None:
        if magnitude not in range(11):
            raise ValueError(f"magnitude {magnitude} of RandAugment is no whole number in 0..10")
        self.transform = rand_augment_transform(
            f"rand-m{int(magnitude)}-n{num_operations}-mstd{magnitude_std}-inc1",
            {
                "img_mean": tuple(round(level) for level in IMAGE_MEAN),
                "interpolation": Image.Resampling.BICUBIC,
                "magnitude_max": _LARGEST_MAGNITUDE,
            },
        )

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw operations and strengths and apply them."""
        picture = tvf.to_pil_image(sample["image"])
        with seeded_libraries(rng):
            picture = self.transform(picture)
        return {**sample, "image": tvf.pil_to_tensor(picture)}


class RandomErasing:
    """Fill one random rectangle with normal noise that has the statistics of the images.

    Differs: the original's noise wraps around at 0 and 256; ours is clipped.

    Args:
        probability: Of erasing at all.
        area_range: Share of the image.
        aspect_range: Height to width, log-uniform.
    """

    def __init__(
        self,
        probability: float = 0.25,
        area_range: tuple[float, float] = (0.02, 1 / 3),
        aspect_range: tuple[float, float] = (0.3, 1 / 0.3),
    ) -> None:
        self.probability = check_probability("erasing", probability)
        self.area_range = area_range
        self.log_aspect_range = (np.log(aspect_range[0]), np.log(aspect_range[1]))

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw a rectangle that fits and fill it."""
        if rng.random() >= self.probability:
            return sample
        height, width = sample["image"].shape[1:]
        for _ in range(_MAX_ERASE_DRAWS):
            area = rng.uniform(*self.area_range) * height * width
            aspect = np.exp(rng.uniform(*self.log_aspect_range))
            rows, cols = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if rows < height and cols < width:
                break
        else:
            return sample
        top, left = rng.integers(height - rows + 1), rng.integers(width - cols + 1)
        noise = rng.normal(IMAGE_MEAN, IMAGE_STD, (rows, cols, 3)).clip(0, 255).astype(np.uint8)
        image = sample["image"].clone()
        image[:, top : top + rows, left : left + cols] = torch.from_numpy(noise).permute(2, 0, 1)
        return {**sample, "image": image}


class CenterCrop:
    """Resize the short side bicubically and cut the centre.

    Args:
        resize_size: Short side after resizing, in pixels.
        crop_size: Side of the square that is cut.
    """

    def __init__(self, resize_size: int, crop_size: int) -> None:
        if crop_size > resize_size:
            raise ValueError(f"crop_size {crop_size} is larger than the short side {resize_size}")
        self.resize_size = resize_size
        self.crop_size = crop_size

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Resize and cut; no randomness."""
        image = tvf.resize(sample["image"], [self.resize_size], InterpolationMode.BICUBIC)
        return {**sample, "image": tvf.center_crop(image, [self.crop_size])}


def classification_train_transforms(
    image_size: int = 224,
    area_range: tuple[float, float] = (0.08, 1.0),
    flip_probability: float = 0.5,
    *,
    num_operations: int = 2,
    magnitude: int = 9,
    magnitude_std: float = 0.5,
    erasing_probability: float = 0.25,
) -> Compose:
    """Training transforms of scene classification.

    Args:
        image_size: Side of the training image in pixels.
        area_range: Share of the image that is cut out.
        flip_probability: Of a horizontal flip.
        num_operations: Of RandAugment; 0 leaves it out.
        magnitude: Mean strength of RandAugment, 0 to 10.
        magnitude_std: Its standard deviation.
        erasing_probability: Of erasing a rectangle; 0 leaves it out.
    """
    steps: list[Transform] = [
        RandomResizedCrop(image_size, area_range),
        RandomFlip(flip_probability, ["horizontal"]),
    ]
    if num_operations:
        steps.append(RandAugment(num_operations, magnitude, magnitude_std))
    if erasing_probability:
        steps.append(RandomErasing(erasing_probability))
    return Compose([*steps, finalize])


def classification_eval_transforms(image_size: int = 224, resize_size: int = 256) -> Compose:
    """Validation transforms: short side to `resize_size`, centre of `image_size` pixels."""
    return Compose([CenterCrop(resize_size, image_size), finalize])
