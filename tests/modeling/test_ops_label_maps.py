"""Claims about logits that are brought back to the pixels of images."""

import torch

from mtp_hf.modeling.ops_label_maps import resize_bilinear, resize_logits


def test_logits_are_cropped_to_the_content_and_resized():
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, :, :2] = 1.0  # class 1 on the left half of the canvas
    (resized,) = resize_logits(logits, (8, 8), [(8, 4)], [(16, 8)])
    assert resized.shape == (2, 16, 8)
    assert bool((resized.argmax(dim=0)[:, :6] == 1).all())


def test_logits_of_an_image_that_fills_the_input_are_resized_once():
    logits = torch.randn(2, 3, 5, 7)
    resized = torch.stack(list(resize_logits(logits, (20, 28), [(20, 28)] * 2, [(20, 28)] * 2)))
    torch.testing.assert_close(resized, resize_bilinear(logits, (20, 28)), rtol=0, atol=0)


def test_half_precision_is_resized_in_float32():
    (resized,) = resize_logits(torch.randn(1, 2, 3, 3).bfloat16(), (6, 6), [(6, 6)], [(6, 6)])
    assert resized.dtype == torch.float32
