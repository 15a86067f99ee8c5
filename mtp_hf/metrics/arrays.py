"""What the metrics share: values as numpy arrays, their means, and images of several processes.

What is unusual: metrics are computed in numpy on the host, while predictions come as tensors of
any device and of reduced precision, which `numpy.asarray` refuses.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch


def as_array(values: Any, dtype: type | None = None) -> np.ndarray:
    """Copy a tensor to the host, or view an array or list, as numpy.

    Args:
        values: Tensor of any device, array or nested list.
        dtype: Wanted numpy type; None keeps the type (bfloat16, which numpy lacks, becomes
            float32).

    Returns:
        The array, of the same shape.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype == torch.bfloat16:
            values = values.float()
        values = values.numpy()
    return np.asarray(values, dtype=dtype)


def nan_mean(values: np.ndarray) -> float:
    """Average the defined values: the classes with nothing to measure (NaN) leave the mean.

    Args:
        values: Values, NaN where undefined.

    Returns:
        The mean, NaN where no value is defined.
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def merge_images(images: Mapping[str, Any], states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what processes gathered; an image that several of them have counts once.

    Args:
        images: Image name -> what this process gathered of it, which is kept.
        states: The same of other processes, the first before the later ones.
    """
    merged = dict(images)
    for state in states:
        merged = {**state, **merged}
    return merged
