"""Masks from boxes: equal to asking the model directly, whatever the batches."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SamModel, SamProcessor

from mtp_hf.dataset_scripts._sam_masks import SamMasks
from tests.fakes_sam import write_sam

BOXES = [[1.5, 2.0, 30.0, 20.0], [5.0, 5.0, 50.0, 39.0], [-10.0, 10.0, 20.0, 70.0]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Image.fromarray(pixels)


def ask_directly(checkpoint, image, box, is_multimask):
    """One box, the picture encoded for it alone."""
    model = SamModel.from_pretrained(checkpoint).eval()
    processor = SamProcessor.from_pretrained(checkpoint)
    inputs = processor(images=image, input_boxes=[[box]], return_tensors="pt")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    with torch.inference_mode():
        found = model(**inputs, multimask_output=is_multimask)
    masks = processor.post_process_masks(found.pred_masks, *sizes)[0][0]
    scores = found.iou_scores[0, 0]
    best = int(scores.argmax())
    return masks[best].numpy(), float(scores[best])


@pytest.mark.parametrize("is_multimask", [False, True])
def test_each_mask_is_that_of_its_box_alone(checkpoint, image, is_multimask):
    model = SamMasks(checkpoint, boxes_per_batch=2, is_multimask=is_multimask)
    found = list(model.find(image, BOXES))
    assert len(found) == len(BOXES)
    for box, (mask, score) in zip(BOXES, found, strict=True):
        expected, expected_score = ask_directly(checkpoint, image, box, is_multimask)
        np.testing.assert_array_equal(mask, expected)
        assert mask.shape == (40, 60) and mask.dtype == bool
        assert score == pytest.approx(expected_score, abs=1e-5)  # rounding in other batches


def test_boxes_have_different_masks(checkpoint, image):
    masks = [mask for mask, _ in SamMasks(checkpoint).find(image, BOXES)]
    assert (masks[0] != masks[1]).any()


def test_batches_do_not_change_the_masks(checkpoint, image):
    found = [
        [mask for mask, _ in SamMasks(checkpoint, boxes_per_batch=number).find(image, BOXES)]
        for number in (1, 20)
    ]
    np.testing.assert_array_equal(*found)


def test_the_picture_is_encoded_once(checkpoint, image, monkeypatch):
    model = SamMasks(checkpoint, boxes_per_batch=1)
    encode, calls = model.model.get_image_embeddings, []
    monkeypatch.setattr(
        model.model, "get_image_embeddings", lambda pixels: calls.append(1) or encode(pixels)
    )
    assert len(list(model.find(image, BOXES))) == 3
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["sam_hq", "sam2"])
def test_later_models_are_asked_the_same_way(tmp_path, image, kind):
    checkpoint = write_sam(tmp_path, kind)
    together = [mask for mask, _ in SamMasks(checkpoint, boxes_per_batch=2).find(image, BOXES)]
    alone = [next(SamMasks(checkpoint).find(image, [box]))[0] for box in BOXES]
    assert [mask.shape for mask in together] == [(40, 60)] * 3
    np.testing.assert_array_equal(together, alone)


def test_a_checkpoint_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        SamMasks(str(tmp_path / "nowhere"))
