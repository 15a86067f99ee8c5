"""Names of the images that are measured, one for each row.

What is unusual: `image_id` is unique in one split of a data set, and scores count a name once, so
that rows of joined splits would be lost.
"""

from collections import Counter

from datasets import Dataset


def with_own_names(rows: Dataset) -> Dataset:
    """Number the rows that have the name of an earlier one: `00000`, `00000 (2)`, ...

    Args:
        rows: Data set with the column `image_id`.

    Returns:
        The rows, whose `image_id`s all differ.
    """
    names = rows.select_columns(["image_id"])["image_id"]
    counts: Counter[str] = Counter()
    own = []
    for name in names:
        counts[name] += 1
        own.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    if len(counts) == len(own):
        return rows
    return rows.remove_columns("image_id").add_column("image_id", own)
