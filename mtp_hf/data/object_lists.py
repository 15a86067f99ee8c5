"""Lists of the objects of a row: present, equally long, of known classes.

What is unusual: lists of different lengths, which columns of plain Parquet may well hold, are
refused, for they would pass on objects with the class of another one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def object_lists(
    objects: Mapping[str, Any], required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Take lists with one value an object.

    Args:
        objects: Lists by name.
        required: Names of lists that must be there.
        optional: Names of lists that are left out where they are null.

    Raises:
        ValueError: A required list is missing, or lengths differ.
    """
    if missing := [name for name in required if objects.get(name) is None]:
        raise ValueError(f"the objects have no {', '.join(missing)}, only {sorted(objects)}")
    names = (*required, *optional)
    lists = {name: objects[name] for name in names if objects.get(name) is not None}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the lists of objects have different lengths: {lengths}")
    return lists


def truth_values(values: Sequence[Any] | None, count: int) -> Tensor:
    """Read a list of truth values, bool (count,); null is False, as a list and in it."""
    return torch.tensor([bool(value) for value in values or [False] * count], dtype=torch.bool)


def class_labels(values: Sequence[int], num_classes: int | None, field: str) -> Tensor:
    """Read classes, int64 (N,).

    Raises:
        ValueError: A class outside 0..K-1.
    """
    labels = torch.tensor(values, dtype=torch.int64)
    if len(labels) and (labels.min() < 0 or (num_classes and labels.max() >= num_classes)):
        found = labels.unique().tolist()
        raise ValueError(f"{field} holds {found}, expected {label_range(num_classes)}")
    return labels


def label_range(num_classes: int | None) -> str:
    """Say which labels there are, for messages."""
    return f"0..{num_classes - 1}" if num_classes else "no negative number"
