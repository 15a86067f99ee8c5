"""Run-length masks: written as pycocotools writes them, measured without trusting them."""

import numpy as np
import pytest
from pycocotools import mask as coco

from mtp_hf.dataset_scripts._rle import encode_mask, measure_runs, rle_runs, write_counts


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    smooth = rng.random((height, width)) < rng.uniform(0, 1)
    if seed % 3 == 0:  # long runs need several groups
        smooth = np.kron(smooth, np.ones((9, 7), bool))
    return smooth.astype(bool)


def measured(mask: np.ndarray) -> tuple[int, list[float]]:
    rle = encode_mask(mask)
    return measure_runs(rle_runs(rle["counts"], mask.shape), mask.shape[0])


def test_runs_of_a_small_mask_go_down_the_columns():
    mask = np.array([[0, 1, 0], [1, 1, 0]], bool)  # columns 0 1, 1 1, 0 0
    rle = encode_mask(mask)
    assert rle["size"] == [2, 3]
    assert rle_runs(rle["counts"], (2, 3)).tolist() == [1, 3, 2]


def test_area_and_box_of_a_small_mask():
    mask = np.zeros((5, 8), bool)
    mask[1:4, 2:7] = True
    assert measured(mask) == (15, [2.0, 1.0, 5.0, 3.0])


def test_an_empty_mask_has_no_area_and_a_zero_box():
    assert measured(np.zeros((4, 3), bool)) == (0, [0.0, 0.0, 0.0, 0.0])


def test_a_full_mask_covers_the_image():
    assert measured(np.ones((4, 3), bool)) == (12, [0.0, 0.0, 3.0, 4.0])


@pytest.mark.parametrize("seed", range(30))
def test_encoding_equals_pycocotools(seed):
    mask = random_mask(seed)
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_mask(mask)["counts"] == expected["counts"].decode()
    assert encode_mask(mask)["size"] == expected["size"]


@pytest.mark.parametrize("seed", range(30))
def test_measures_equal_pycocotools(seed):
    mask = random_mask(seed)
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    area, box = measured(mask)
    assert area == coco.area(expected)
    assert box == coco.toBbox(expected).tolist()


def test_plain_run_lists_are_read_like_strings():
    assert rle_runs([1, 3, 2], (2, 3)).tolist() == [1, 3, 2]
    assert write_counts([1, 3, 2]) == encode_mask(np.array([[0, 1, 0], [1, 1, 0]]))["counts"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("", "empty"),
        ("~~", "base 32"),
        ("e<8P", "cut short"),
        ("ü", "ASCII"),
        ("o" * 9 + "0", "longer than any image"),
        ([1, 3, 3], "7 pixels in a mask of 6"),
        ([-1, 7], "pixels"),
        ([[1, 5]], "pixels"),
    ],
)
def test_broken_runs_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        rle_runs(counts, (2, 3))


def test_runs_that_overflow_the_image_are_refused():
    rle = encode_mask(np.ones((50, 50), bool))
    with pytest.raises(ValueError, match="2500 pixels in a mask of 100 pixels"):
        rle_runs(rle["counts"], (10, 10))


@pytest.mark.parametrize("seed", range(200))
def test_no_damaged_string_is_taken_for_a_mask_of_another_size(seed):
    rng = np.random.default_rng(seed)
    counts = list(encode_mask(random_mask(seed) | False)["counts"])
    counts[int(rng.integers(len(counts)))] = chr(int(rng.integers(48, 112)))
    try:
        runs = rle_runs("".join(counts), (37, 41))
    except ValueError:
        return
    assert runs.sum() == 37 * 41 and (runs >= 0).all()
