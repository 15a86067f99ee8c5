import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mtp_hf.data.masks import (
    MapView,
    RleMasks,
    boxes_from_masks,
    decode_columns,
    decode_map,
    decode_masks,
    decode_with_boxes,
    mask_areas,
    run_lengths,
    select_masks,
    take_pixels,
    view_map,
    view_masks,
)


def _random_masks(seed, count=6, size=(23, 31)):
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, *size), dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        mask[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)] = True
        mask &= rng.random(size) < 0.8
    return masks


def _decode(code, first, last):
    """Columns first to last, as (h, last - first)."""
    return decode_columns(run_lengths([code["counts"]])[0], tuple(code["size"]), first, last).T


def test_run_lengths_of_a_hand_written_code(encode):
    # Columns: 0 1 | 1 1 | 0 0 -> runs 1 zero, 3 ones, 2 zeros.
    code = encode(np.array([[0, 1, 0], [1, 1, 0]]))
    assert run_lengths([code["counts"]])[0].tolist() == [1, 3, 2]


def test_run_lengths_accept_bytes_and_text(encode):
    text = encode(np.eye(9))["counts"]
    assert run_lengths([text])[0].tolist() == run_lengths([text.encode()])[0].tolist()


def test_codes_unpacked_together_equal_codes_unpacked_alone(encode):
    texts = [encode(mask)["counts"] for mask in _random_masks(2)]
    together = run_lengths(texts)
    assert [r.tolist() for r in together] == [run_lengths([t])[0].tolist() for t in texts]
    assert run_lengths([]) == []


@pytest.mark.parametrize("value", [0, 1])
def test_uniform_masks_decode(value, encode):
    assert (_decode(encode(np.full((7, 5), value)), 0, 5) == bool(value)).all()


def test_decoding_equals_pycocotools_on_random_masks(encode):
    for seed in range(20):
        for mask in _random_masks(seed):
            code = encode(mask)
            first, last = sorted(np.random.default_rng(seed).integers(0, 32, 2))
            expected = coco_mask.decode([code])[..., 0].astype(bool)
            assert np.array_equal(_decode(code, 0, 31), expected)
            assert np.array_equal(_decode(code, first, last), expected[:, first:last])


def test_runs_longer_than_five_bits_decode(encode):
    mask = np.zeros((300, 200), dtype=bool)
    mask[3:290, 150:153] = True
    assert np.array_equal(_decode(encode(mask), 0, 200), mask)


def test_code_that_does_not_fill_its_size_is_refused(encode):
    code = encode(np.eye(4))
    with pytest.raises(ValueError, match="coded with 16 pixels"):
        _decode({**code, "size": [4, 5]}, 0, 5)


def test_coded_view_equals_slicing_decoded_masks(encode):
    for seed in range(10):
        masks = _random_masks(seed)
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.integers(0, 23, 17))[:: rng.choice([-1, 1])]
        cols = np.sort(rng.integers(0, 31, 40))[:: rng.choice([-1, 1])]
        coded = RleMasks([encode(m) for m in masks], (23, 31)).take(rows, cols)
        assert coded.shape == (6, 17, 40)
        assert (coded.decode()[0].numpy() == masks[:, rows][:, :, cols]).all()


def test_views_of_views_compose(encode):
    masks = _random_masks(3)
    coded = RleMasks([encode(m) for m in masks], (23, 31))
    flipped = coded.take(np.arange(23)[::-1], np.arange(31))
    cut = flipped.take(np.arange(2, 9), np.arange(5, 30))
    assert (cut.decode()[0].numpy() == masks[:, ::-1][:, 2:9, 5:30]).all()


def test_empty_view_decodes_to_nothing(encode):
    mask = np.zeros((8, 8), dtype=bool)
    mask[:2, :2] = True
    view = RleMasks([encode(mask)], (8, 8)).take(np.arange(4, 8), np.arange(8))
    assert view.decode()[0].shape == (1, 4, 8)
    assert not view.decode()[0].any()


def test_no_masks_decode_to_zero_rows():
    assert RleMasks([], (5, 6)).decode()[0].shape == (0, 5, 6)


def test_selection_is_the_same_for_coded_and_decoded_masks(encode):
    masks = _random_masks(1)
    keep = torch.tensor([True, False, True, True, False, False])
    coded = select_masks(RleMasks([encode(m) for m in masks], (23, 31)), keep)
    plain = select_masks(torch.from_numpy(masks), keep)
    assert len(coded) == 3
    assert torch.equal(decode_masks(coded), plain)


def test_map_view_reads_the_chosen_pixels():
    labels = torch.arange(12).reshape(3, 4)
    view = view_map(view_map(labels, np.array([2, 1, 0]), np.arange(4)), np.array([0, 1]), [3, 0])
    assert isinstance(view, MapView)
    assert decode_map(view).tolist() == [[11, 8], [7, 4]]


def test_pixels_are_taken_from_the_last_two_axes():
    maps = torch.arange(24).reshape(2, 3, 4)
    assert take_pixels(maps, np.array([1]), np.array([0, 0, 3])).tolist() == [
        [[4, 4, 7]],
        [[16, 16, 19]],
    ]


def test_decoded_masks_are_viewed_at_once():
    masks = torch.rand(2, 5, 5) > 0.5
    assert torch.equal(view_masks(masks, np.arange(5)[::-1], np.arange(5)), masks.flip(1))


def test_box_of_a_mask_ends_one_past_its_last_pixel():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 2:5, 3] = True
    assert boxes_from_masks(masks).tolist() == [[3, 2, 4, 5], [0, 0, 0, 0]]


def test_boxes_of_coded_masks_are_those_of_their_pixels(encode):
    for seed in range(10):
        masks = _random_masks(seed)
        masks[0] = False
        rng = np.random.default_rng(seed)
        rows, cols = np.sort(rng.integers(0, 23, 9)), np.sort(rng.integers(0, 31, 9))[::-1]
        coded = RleMasks([encode(m) for m in masks], (23, 31)).take(rows, cols)
        decoded, boxes = decode_with_boxes(coded)
        assert torch.equal(boxes, boxes_from_masks(decoded))
        assert torch.equal(decode_with_boxes(decoded)[1], boxes)


def test_areas_count_pixels():
    masks = torch.from_numpy(_random_masks(5))
    assert torch.equal(mask_areas(masks), masks.flatten(1).sum(1))
    assert mask_areas(masks[:0]).shape == (0,)


def test_a_view_has_the_shape_of_its_visible_pixels():
    view = MapView(torch.zeros(5, 7), np.arange(2), np.arange(3))
    assert view.shape == tuple(view.decode().shape) == (2, 3)
