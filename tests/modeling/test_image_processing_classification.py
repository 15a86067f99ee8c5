"""Claims about the processor of scene classification."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


def test_pixels_are_those_of_pillow_resized_cropped_and_normalised():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (300, 600, 3), dtype=np.uint8))
    found = ClassificationImageProcessor()(picture, return_tensors="pt")["pixel_values"]
    assert found.shape == (1, 3, 224, 224)
    resized = picture.resize((512, 256), Image.Resampling.BICUBIC)
    cropped = np.array(resized.crop((144, 16, 368, 240)))
    expected = (torch.from_numpy(cropped).permute(2, 0, 1) - MEAN) / STD
    # Both round to 8 bits: a gray level of difference.
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1.01 / 57.12)


@pytest.mark.parametrize("size", [(256, 256), (64, 64), (100, 900)])
def test_any_size_gives_the_same_input(size):
    picture = Image.new("RGB", size, (255, 0, 0))
    found = ClassificationImageProcessor()(picture, return_tensors="pt")["pixel_values"]
    assert found.shape == (1, 3, 224, 224)
    red = torch.full((224, 224), (255 - 123.675) / 58.395)
    torch.testing.assert_close(found[0, 0], red, rtol=1e-6, atol=0)


def test_it_is_found_by_the_auto_class_and_keeps_its_options(tmp_path):
    ClassificationImageProcessor(
        size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}
    ).save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is ClassificationImageProcessor
    found = again(Image.new("RGB", (80, 90)), return_tensors="pt")["pixel_values"]
    assert found.shape == (1, 3, 64, 64)


def test_a_centre_between_two_pixels_is_the_even_one():
    columns = np.arange(11, dtype=np.uint8).repeat(3).reshape(1, 11, 3).repeat(8, axis=0)
    processor = ClassificationImageProcessor(
        do_resize=False, do_normalize=False, crop_size={"height": 8, "width": 8}
    )
    found = processor(Image.fromarray(columns), return_tensors="pt")["pixel_values"]
    assert found[0, 0, 0].tolist() == list(range(2, 10))  # round(1.5), not int(1.5)


def test_images_of_0_to_1_are_refused():
    with pytest.raises(ValueError, match="no value above 1; expected gray levels from 0 to 255"):
        ClassificationImageProcessor()(torch.rand(3, 64, 64), return_tensors="pt")
