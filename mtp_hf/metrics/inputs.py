"""Checks of what a metric is given for an image: that it is complete and finite.

What is unusual: every message names the image, for a split has thousands.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def image_name(image_id: Any) -> str:
    """Write the name of an image as text; a tensor that holds a number is equal to the number."""
    return str(image_id.item() if hasattr(image_id, "item") else image_id)


def reference_name(reference: Any) -> str:
    """Read the name of the image that a reference is of.

    Raises:
        ValueError: It is no dict, or has no `image_id`.
    """
    if not isinstance(reference, Mapping):
        raise ValueError(f"a reference is {reference!r:.80}, expected a dict with image_id")
    if "image_id" not in reference:
        raise ValueError(f"a reference has no image_id, only {sorted(reference)}")
    return image_name(reference["image_id"])


@contextlib.contextmanager
def about_image(name: str) -> Iterator[None]:
    """Begin the messages of `ValueError`s with the image they are about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"image {name!r}: {error}") from error


def check_keys(values: Any, keys: Sequence[str], what: str) -> None:
    """Refuse a prediction or reference that lacks something.

    Raises:
        ValueError: It is no dict, or does not have all `keys`.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"the {what} is {values!r:.80}, expected a dict with {', '.join(keys)}")
    if missing := [key for key in keys if key not in values]:
        raise ValueError(f"the {what} has no {', '.join(missing)}, only {sorted(values)}")


def check_finite(values: np.ndarray, what: str) -> None:
    """Refuse numbers that a diverged network gives, which would be ranked like any other.

    Raises:
        ValueError: One of the values is NaN or infinite.
    """
    bad = values[~np.isfinite(values)]
    if bad.size:
        raise ValueError(f"{what}: {bad.size} of {values.size} numbers are {bad[0]} or the like")
