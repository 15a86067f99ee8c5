"""Transforms of change detection: one draw moves both dates and the map.

Source: pipelines of the original's change detection (spec 3.5; quirk 44).
"""

import numpy as np

from mtp_hf.data.geometry import flip
from mtp_hf.data.geometry_rotation import rotate, turn_quarters
from mtp_hf.data.photometric import PhotometricDistortion
from mtp_hf.data.schema import RawSample
from mtp_hf.data.transforms import (
    Compose,
    RandomCrop,
    ResizePictures,
    Transform,
    check_probability,
    finalize,
)


class RandomTurn:
    """Rotate a little, or else turn by quarters and flip.

    Args:
        rotate_probability: Of a rotation.
        turn_probability: Of a random number of quarter turns followed by a horizontal or vertical
            flip, where there is no rotation.
        max_angle_deg: The angle of a rotation is uniform in [-max, max).
    """

    def __init__(
        self,
        rotate_probability: float = 0.5,
        turn_probability: float = 0.5,
        max_angle_deg: float = 20.0,
    ) -> None:
        self.rotate_probability = check_probability("rotation", rotate_probability)
        self.turn_probability = check_probability("turn", turn_probability)
        self.max_angle_deg = max_angle_deg

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw what to do and do it."""
        if rng.random() < self.rotate_probability:
            return rotate(sample, float(rng.uniform(-self.max_angle_deg, self.max_angle_deg)))
        if rng.random() >= self.turn_probability:
            return sample
        turned = turn_quarters(sample, int(rng.integers(4)))
        return flip(turned, ("horizontal", "vertical")[rng.integers(2)])


class ExchangeDates:
    """Let the two dates change places; what changed is the same.

    Args:
        probability: Of the exchange.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = check_probability("exchange", probability)

    def __call__(self, sample: RawSample, rng: np.random.Generator) -> RawSample:
        """Draw and exchange."""
        if "image_post" not in sample:
            raise ValueError("the sample has no image_post to exchange its image with")
        if rng.random() >= self.probability:
            return sample
        return {**sample, "image": sample["image_post"], "image_post": sample["image"]}


def change_train_transforms(
    crop_size: int | None = 256,
    image_size: int | None = None,
    *,
    max_class_ratio: float | None = 0.75,
    rotate_probability: float = 0.5,
    turn_probability: float = 0.5,
    exchange_probability: float = 0.5,
    photometric: bool = True,
) -> Compose:
    """Training transforms of change detection.

    Differs: OSCD's pictures are resized after they are turned, not before, so that a slight
    rotation is interpolated at their own resolution.

    Args:
        crop_size: Side of the window that is cut, in pixels; None for the whole pair.
        image_size: Side that only the pictures are resized to, the map keeps its own: 224 for the
            patches of OSCD, with `crop_size=None`.
        max_class_ratio: Largest share of one class in a window; None does not look.
        rotate_probability: Of a rotation by up to 20 degrees.
        turn_probability: Of quarter turns and a flip, where there is no rotation.
        exchange_probability: That the dates change places.
        photometric: Distort brightness, contrast, saturation and hue of each date by itself.
    """
    steps: list[Transform] = [RandomTurn(rotate_probability, turn_probability)]
    if crop_size is not None:
        steps.append(RandomCrop(crop_size, max_class_ratio))
    if image_size is not None:
        steps.append(ResizePictures((image_size, image_size)))
    steps.append(ExchangeDates(exchange_probability))
    if photometric:
        steps.append(PhotometricDistortion(10.0, (0.8, 1.2), (0.8, 1.2), 10))
    return Compose([*steps, finalize])


def change_eval_transforms(image_size: int | None = None) -> Compose:
    """Validation transforms of change detection.

    Args:
        image_size: Side that only the pictures are resized to, 224 for OSCD; None for the size as
            stored.
    """
    if image_size is None:
        return Compose([finalize])
    return Compose([ResizePictures((image_size, image_size)), finalize])
