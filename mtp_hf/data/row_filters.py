"""Which rows of a detection set are worth training on, told from their columns alone.

Source: filters of the original's detection sets (spec 3.2, 3.3): images without objects and, in
horizontal detection, with a side under 32 pixels are left out of training.
"""

import numpy as np
from datasets import Dataset


def trainable_rows(rows: Dataset, min_side: int = 32) -> list[int]:
    """Find the rows with at least one object and no side under `min_side` pixels.

    Pictures are not decoded.

    Args:
        rows: Data set with the columns `objects`, `width` and `height`.
        min_side: Pixels; 0 for rotated detection.

    Returns:
        Numbers of the rows, ascending, for `rows.select`.

    Raises:
        ValueError: A column is missing, or no row is left.
    """
    columns = ["objects", "width", "height"]
    missing = sorted(set(columns) - set(rows.column_names))
    if missing:
        raise ValueError(f"the data set has no column {missing}, only {rows.column_names}")
    table = rows.select_columns(columns).with_format("arrow")[:]
    categories = table["objects"].combine_chunks().field("category")
    has_objects = categories.value_lengths().to_numpy(zero_copy_only=False) > 0
    sides = np.minimum(table["width"].to_numpy(), table["height"].to_numpy())
    kept = np.flatnonzero(has_objects & (sides >= min_side)).tolist()
    if not kept:
        raise ValueError(
            f"none of {len(rows)} rows can be trained on: {int(has_objects.sum())} have objects, "
            f"{int((sides >= min_side).sum())} have sides of {min_side} pixels or more"
        )
    return kept
