"""Claims about the image processor."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from mtp_hf.data.collate import normalize_images
from mtp_hf.data.transforms import pretraining_eval_transforms
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor, fitted_size


def _picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def processor():
    return MTPImageProcessor(size={"height": 128, "width": 128})


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((800, 800), (448, 448), (448, 448)),
        ((100, 160), (128, 128), (80, 128)),
        ((160, 100), (128, 128), (128, 80)),
        ((64, 64), (128, 128), (128, 128)),
        ((1, 1000), (128, 128), (1, 128)),
    ],
)
def test_an_image_is_fitted_into_the_square_with_its_aspect_ratio(size, box, expected):
    assert fitted_size(size, box) == expected


def test_sizes_and_target_sizes_are_given_and_the_batch_is_padded(processor):
    inputs = processor([_picture(100, 160), _picture(300, 300)], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 128, 128)
    assert inputs["sizes"].tolist() == [[80, 128], [128, 128]]
    assert inputs["target_sizes"].tolist() == [[100, 160], [300, 300]]


def test_padding_is_exactly_zero_and_content_is_normalised_by_gray_levels(processor):
    inputs = processor(Image.new("RGB", (128, 100), (255, 0, 0)), return_tensors="pt")
    pixels = inputs["pixel_values"][0]
    assert pixels.shape == (3, 128, 128)
    assert pixels[0, 0, 0].item() == pytest.approx((255 - 123.675) / 58.395, rel=1e-6)
    assert pixels[1, 0, 0].item() == pytest.approx(-116.28 / 57.12, rel=1e-6)
    assert (pixels[:, 100:] == 0).all()


def test_sides_are_padded_to_multiples_of_the_divisor(processor):
    inputs = processor(_picture(70, 100), do_resize=False, return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (96, 128)
    inputs = processor(_picture(70, 100), do_resize=False, size_divisor=16, return_tensors="pt")
    assert inputs["pixel_values"].shape[-2:] == (80, 112)


def test_a_fixed_canvas_can_be_asked_for(processor):
    inputs = processor(
        _picture(50, 60), size=64, pad_size={"height": 96, "width": 96}, return_tensors="pt"
    )
    assert inputs["pixel_values"].shape[-2:] == (96, 96)


def test_pixels_equal_those_of_validation_during_training(processor):
    picture = _picture(100, 150)
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    raw = {"image": image, "image_id": "x", "dataset": "a", "orig_size": (100, 150)}
    sample = pretraining_eval_transforms(128)(raw, np.random.default_rng(0))
    size = tuple(sample["image"].shape[1:])
    expected = normalize_images(sample["image"][None], [size])
    inputs = processor(picture, return_tensors="pt")
    assert tuple(inputs["sizes"][0].tolist()) == size
    torch.testing.assert_close(inputs["pixel_values"][:, :, : size[0]], expected, rtol=0, atol=1e-6)


def test_gray_and_transparent_pictures_become_rgb(processor):
    for mode in ("L", "RGBA", "P"):
        inputs = processor(_picture(128, 128).convert(mode), return_tensors="pt")
        assert inputs["pixel_values"].shape == (1, 3, 128, 128)


def test_an_image_scaled_to_one_is_refused(processor):
    with pytest.raises(ValueError, match="expected gray levels from 0 to 255"):
        processor(torch.rand(3, 128, 128), return_tensors="pt")


def test_an_unknown_option_is_refused(processor):
    with pytest.raises(TypeError, match="siez"):
        processor(_picture(128, 128), siez=3)


def test_it_is_found_by_the_auto_class_and_keeps_its_options(processor, tmp_path):
    processor.size_divisor = 64
    processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, MTPImageProcessor)
    assert (loaded.size.height, loaded.size_divisor) == (128, 64)
    picture = _picture(100, 160)
    expected = processor(picture, return_tensors="pt")["pixel_values"]
    assert torch.equal(loaded(picture, return_tensors="pt")["pixel_values"], expected)


def test_post_process_moves_boxes_masks_and_maps_to_the_target(processor):
    masks = torch.zeros(2, 4, 8, dtype=torch.bool)
    masks[0, :2, :4] = True
    prediction = {
        "ss": {"semantic_map": torch.tensor([[1, 2]]).repeat_interleave(4, 0)},
        "is": {
            "scores": torch.tensor([0.9, 0.1]),
            "labels": torch.tensor([3, 4]),
            "boxes": torch.tensor([[0.0, 0, 4, 2], [1, 1, 2, 2]]),
            "masks": masks,
        },
        "rd": {
            "scores": torch.tensor([0.9, 0.1]),
            "labels": torch.tensor([3, 4]),
            "rotated_boxes": torch.tensor([[2.0, 1, 4, 2, 0], [1, 1, 1, 1, 0]]),
        },
    }
    (found,) = processor.post_process([prediction], [(4, 8)], [(8, 16)], score_threshold=0.5)
    assert found["ss"]["semantic_map"].shape == (8, 16)
    assert found["ss"]["semantic_map"][0].tolist() == [1] * 8 + [2] * 8
    assert found["is"]["boxes"].tolist() == [[0, 0, 8, 4]]
    assert found["is"]["labels"].tolist() == [3]
    assert found["is"]["masks"].dtype == torch.bool
    assert found["is"]["masks"][0, :4, :8].all()
    assert found["is"]["masks"].sum() == 32
    torch.testing.assert_close(
        found["rd"]["rotated_boxes"], torch.tensor([[4.0, 2, 8, 4, 0]]), rtol=0, atol=1e-5
    )


def test_post_process_of_nothing_found_is_nothing(processor):
    empty = {
        "is": {
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.long),
            "boxes": torch.zeros(0, 4),
            "masks": torch.zeros(0, 4, 8, dtype=torch.bool),
        }
    }
    (found,) = processor.post_process([empty], torch.tensor([[4, 8]]), torch.tensor([[8, 16]]))
    assert found["is"]["boxes"].shape == (0, 4)
    assert found["is"]["masks"].shape == (0, 8, 16)
