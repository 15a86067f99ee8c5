"""Claims about sliding windows."""

import pytest
import torch

from mtp_hf.modeling.ops_sliding_windows import slide_windows, window_starts


@pytest.mark.parametrize(
    ("length", "window", "stride", "expected"),
    [
        (1024, 512, 384, [0, 384, 512]),  # LoveDA: three windows a side
        (406, 384, 256, [0, 22]),  # SpaceNet: two by two
        (438, 384, 256, [0, 54]),
        (512, 512, 384, [0]),
        (300, 512, 384, [0]),
        (896, 512, 384, [0, 384]),  # ends exactly
        (897, 512, 384, [0, 384, 385]),
    ],
)
def test_windows_begin_every_stride_and_end_with_the_image(length, window, stride, expected):
    assert window_starts(length, window, stride) == expected


def test_overlapping_logits_are_averaged():
    seen = []

    def compute(window):
        seen.append(tuple(window.shape[-2:]))
        return torch.full((1, 2, *window.shape[-2:]), float(len(seen)))

    logits = slide_windows(compute, (torch.zeros(1, 3, 4, 6),), (4, 4), (4, 2))
    assert seen == [(4, 4), (4, 4)]
    assert logits[0, 0, 0].tolist() == [1.0, 1.0, 1.5, 1.5, 2.0, 2.0]


def test_logits_of_each_pixel_alone_do_not_depend_on_the_windows():
    image = torch.randn(2, 3, 37, 50)
    logits = slide_windows(lambda x: x[:, :2] * 3, (image,), (16, 20), (7, 11))
    torch.testing.assert_close(logits, image[:, :2] * 3)


def test_pairs_are_cut_alike():
    first, second = torch.randn(1, 3, 9, 9), torch.randn(1, 3, 9, 9)
    logits = slide_windows(lambda a, b: a - b, (first, second), (4, 4), (3, 3))
    torch.testing.assert_close(logits, first - second)


def test_small_images_are_one_window():
    logits = slide_windows(lambda x: x, (torch.ones(1, 3, 5, 40),), (16, 16), (8, 8))
    assert torch.equal(logits, torch.ones(1, 3, 5, 40))


def test_half_precision_logits_are_added_in_float32():
    image = torch.ones(1, 3, 8, 8, dtype=torch.bfloat16)
    assert slide_windows(lambda x: x, (image,), (4, 4), (2, 2)).dtype == torch.float32


@pytest.mark.parametrize("stride", [(0, 4), (4, 5)])
def test_strides_that_would_leave_pixels_out_are_refused(stride):
    with pytest.raises(ValueError, match="does not fit windows"):
        slide_windows(lambda x: x, (torch.ones(1, 3, 8, 8),), (4, 4), stride)
