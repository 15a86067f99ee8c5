"""Splits that nobody published: drawn from a seed, the same on every machine.

The order is that of hashes of seed and image id, not of a random generator: it does not depend on
the version of a library or on where the files lie, and a missing image moves few others.
"""

import hashlib
from collections.abc import Mapping, Sequence

import datasets

logger = datasets.utils.logging.get_logger(__name__)


def draw_split(
    image_ids: Sequence[str],
    sizes: Mapping[str, float],
    *,
    seed: int,
    class_of: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Divide images among splits.

    Args:
        image_ids: unique ids, in any order.
        sizes: split -> share or count. Only their ratio matters: where a copy of a set has fewer
            images than were counted, all splits shrink alike.
        seed: another one gives another split.
        class_of: class of each image; None to draw from all images together. Every class is
            divided in the same ratio.

    Returns:
        Sorted ids of each split; every image is in exactly one. A split that too few images leave
        empty is not there, and the log says so.

    Raises:
        ValueError: an id is there twice.
    """
    if len(set(image_ids)) < len(image_ids):
        twice = sorted({i for i in image_ids if image_ids.count(i) > 1})
        raise ValueError(f"image ids {twice[:5]} are there twice; expected every id once")
    groups: dict[str, list[str]] = {}
    for image_id in image_ids:
        groups.setdefault(class_of[image_id] if class_of else "", []).append(image_id)
    splits: dict[str, list[str]] = {split: [] for split in sizes}
    owed = dict.fromkeys(sizes, 0.0)
    for _, group in sorted(groups.items()):
        group.sort(key=lambda image_id: hashlib.sha256(f"{seed}/{image_id}".encode()).digest())
        start = 0
        for split, count in _share_out(len(group), sizes, owed).items():
            splits[split] += group[start : start + count]
            start += count
    if empty := [split for split, ids in splits.items() if not ids]:
        logger.warning(
            f"{len(image_ids)} images are too few for the splits {', '.join(sizes)}:"
            f" no split {', '.join(empty)}"
        )
    return {split: sorted(ids) for split, ids in splits.items() if ids}


def warn_of_draw(where: object, splits: Mapping[str, Sequence[str]], seed: int, why: str) -> None:
    """Say that a split was drawn, so that nobody takes it for the published one."""
    counts = ", ".join(f"{len(ids):,} {split}" for split, ids in splits.items())
    logger.warning(f"{where}: {why}; {counts} images drawn with seed {seed}")


def _share_out(total: int, sizes: Mapping[str, float], owed: dict[str, float]) -> dict[str, int]:
    """Whole numbers in the ratio of `sizes`; the rest is owed to them by the next class."""
    for split, size in sizes.items():
        owed[split] += total * size / sum(sizes.values())
    counts = dict.fromkeys(sizes, 0)
    for _ in range(total):
        split = max(owed, key=lambda split: owed[split])
        counts[split] += 1
        owed[split] -= 1
    return counts
