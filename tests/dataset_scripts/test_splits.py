"""Drawn splits: complete, disjoint, in ratio, reproducible."""

import logging

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw

IDS = [f"image_{i}" for i in range(100)]


@pytest.mark.parametrize(
    ("total", "sizes", "counts"),
    [
        (27_000, {"train": 0.6, "validation": 0.2, "test": 0.2}, [16_200, 5_400, 5_400]),
        (7_620, {"train": 7, "validation": 1, "test": 2}, [5_334, 762, 1_524]),
        (6_940, {"train": 5_000, "test": 1_940}, [5_000, 1_940]),
        (694, {"train": 5_000, "test": 1_940}, [500, 194]),
        (3, {"train": 1, "validation": 1, "test": 1}, [1, 1, 1]),
    ],
)
def test_sizes_are_those_of_the_published_splits(total, sizes, counts):
    splits = draw_split([str(i) for i in range(total)], sizes, seed=0)
    assert [len(ids) for ids in splits.values()] == counts


@given(
    total=st.integers(3, 200),
    weights=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    seed=st.integers(0, 10),
)
def test_every_image_is_in_exactly_one_split(total, weights, seed):
    ids = [str(i) for i in range(total)]
    sizes = {f"split{i}": float(weight) for i, weight in enumerate(weights)}
    splits = draw_split(ids, sizes, seed=seed)
    assert sorted(i for split in splits.values() for i in split) == sorted(ids)
    for split, weight in sizes.items():
        assert abs(len(splits.get(split, [])) - total * weight / sum(weights)) < 1


def test_a_seed_decides_the_split_and_the_order_of_the_ids_does_not():
    sizes = {"train": 1, "test": 4}
    first = draw_split(IDS, sizes, seed=0)
    assert draw_split(IDS[::-1], sizes, seed=0) == first
    assert draw_split(IDS, sizes, seed=1) != first


def test_the_drawn_split_never_changes():
    """Numbers are published with it; a change of the draw would change them."""
    assert draw_split(IDS[:10], {"train": 2, "test": 8}, seed=0)["train"] == ["image_1", "image_4"]


def test_classes_are_divided_alike():
    class_of = {image_id: "abcde"[i % 5] for i, image_id in enumerate(IDS)}
    train = draw_split(IDS, {"train": 1, "test": 3}, seed=3, class_of=class_of)["train"]
    assert sorted(class_of[i] for i in train) == sorted("abcde" * 5)
    assert train == sorted(train)


def test_small_classes_share_what_each_alone_could_not_divide():
    class_of = {f"{letter}_{i}": letter for letter in "abcdefghij" for i in range(2)}
    splits = draw_split(list(class_of), {"train": 1, "test": 4}, seed=0, class_of=class_of)
    assert [len(ids) for ids in splits.values()] == [4, 16]
    assert len({class_of[i] for i in splits["train"]}) == 4


def test_a_removed_image_moves_few_others():
    sizes = {"train": 1, "test": 1}
    before = set(draw_split(IDS, sizes, seed=0)["train"])
    after = set(draw_split(IDS[1:], sizes, seed=0)["train"])
    assert len(before ^ after) <= 2


def test_a_split_that_too_few_images_leave_empty_is_not_there(caplog):
    logging.getLogger("datasets").addHandler(caplog.handler)
    splits = draw_split(["a", "b"], {"train": 4, "validation": 1, "test": 5}, seed=0)
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert sorted(splits) == ["test", "train"]
    assert "2 images are too few for the splits train, validation, test: no split validation" in (
        caplog.text
    )


def test_an_id_that_is_there_twice_is_an_error():
    with pytest.raises(ValueError, match=r"image ids \['a'\] are there twice"):
        draw_split(["a", "b", "a"], {"train": 1}, seed=0)


def test_a_drawn_split_is_logged_with_counts_and_seed(caplog):
    logging.getLogger("datasets").addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        warn_of_draw("folder", {"train": ["a"] * 1200, "test": ["b"]}, 7, "no lists")
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert "folder: no lists; 1,200 train, 1 test images drawn with seed 7" in caplog.text
    assert datasets.utils.logging.get_verbosity() <= logging.WARNING
