"""Claims about the processors of models that label pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.image_processing_segmentation import (
    ChangeDetectionImageProcessor,
    SegmentationImageProcessor,
)
from mtp_hf.modeling.modeling_outputs import DensePredictionOutput
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from tests.tiny_models import TINY_BACKBONE

SIZE = {"height": 112, "width": 112}


def _picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_images_are_stretched_to_the_size_and_padded_to_multiples_of_32():
    pictures = [_picture(60, 200), _picture(112, 112)]
    inputs = SegmentationImageProcessor(size=SIZE)(pictures, return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 128, 128)
    assert not inputs["pixel_values"][:, :, 112:].any()
    bare = SegmentationImageProcessor(size=SIZE, do_pad=False)(pictures, return_tensors="pt")
    assert torch.equal(bare["pixel_values"], inputs["pixel_values"][:, :, :112, :112])
    assert inputs["sizes"].tolist() == [[112, 112], [112, 112]]
    assert inputs["target_sizes"].tolist() == [[60, 200], [112, 112]]


def test_images_can_be_left_at_their_size():
    picture = Image.new("RGB", (150, 103), (255, 0, 0))
    inputs = SegmentationImageProcessor()(picture, do_resize=False, return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 128, 160)
    red = torch.full((103, 150), (255 - 123.675) / 58.395)
    torch.testing.assert_close(inputs["pixel_values"][0, 0, :103, :150], red, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "post_process",
    [
        SegmentationImageProcessor().post_process_semantic_segmentation,
        ChangeDetectionImageProcessor().post_process_change_detection,
    ],
)
def test_label_maps_have_the_target_sizes(post_process):
    logits = torch.zeros(2, 2, 4, 4)
    logits[:, 1, :, 2:] = 1.0
    logits[:, 0, :, :2] = 1.0
    maps = post_process(DensePredictionOutput(logits=logits), [(8, 8), (4, 12)])
    assert [tuple(x.shape) for x in maps] == [(8, 8), (4, 12)]
    assert maps[0][0].tolist() == [0] * 4 + [1] * 4
    assert maps[1][3].tolist() == [0] * 6 + [1] * 6
    assert post_process(DensePredictionOutput(logits=logits))[0][0].tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="2 images but 1 target_sizes"):
        post_process(DensePredictionOutput(logits=logits), [(8, 8)])


def test_pairs_are_prepared_alike():
    processor = ChangeDetectionImageProcessor(size=SIZE)
    before, after = _picture(60, 80), _picture(60, 80, seed=1)
    inputs = processor(before, after, return_tensors="pt")
    assert inputs["pixel_values_post"].shape == (1, 3, 128, 128)
    swapped = processor(after, before, return_tensors="pt")
    assert torch.equal(inputs["pixel_values"], swapped["pixel_values_post"])
    assert not torch.equal(inputs["pixel_values"], inputs["pixel_values_post"])


def test_pairs_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="expected pairs of one size"):
        ChangeDetectionImageProcessor(size=SIZE)(
            _picture(60, 80), _picture(60, 81), return_tensors="pt"
        )


@pytest.mark.parametrize("cls", [SegmentationImageProcessor, ChangeDetectionImageProcessor])
def test_processors_are_found_by_the_auto_class(cls, tmp_path):
    cls(size=SIZE).save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is cls and again.size.height == 112


def _tiny_model():
    torch.manual_seed(0)
    config = UperNetRSConfig(backbone_config=TINY_BACKBONE, hidden_size=16, num_labels=3)
    return UperNetRSForSemanticSegmentation(config).eval()


def test_pipeline_labels_the_pixels_of_a_picture():
    segment = pipeline(
        "image-segmentation",
        model=_tiny_model(),
        image_processor=SegmentationImageProcessor(size=SIZE),
    )
    found = segment(_picture(90, 130), subtask="semantic")
    assert found and all(x["mask"].size == (130, 90) for x in found)


@pytest.mark.parametrize("options", [{"size": SIZE}, {"do_resize": False}])
def test_post_processing_gives_the_maps_of_prediction_at_any_size(options):
    model, processor = _tiny_model(), SegmentationImageProcessor(**options)
    inputs = processor([_picture(103, 150), _picture(131, 120, seed=1)], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    maps = processor.post_process_semantic_segmentation(outputs, inputs["target_sizes"])
    expected = model.predict(**inputs)
    assert [tuple(x.shape) for x in maps] == [(103, 150), (131, 120)]
    assert all(torch.equal(x, y["semantic_map"]) for x, y in zip(maps, expected, strict=True))


def test_changes_are_post_processed_as_predicted_at_any_size():
    torch.manual_seed(0)
    flat = {**TINY_BACKBONE, "feature_variant": "multi_depth"}
    model = SiameseUNetForChangeDetection(
        SiameseUNetConfig(backbone_config=flat, hidden_sizes=[16, 12, 8, 8])
    ).eval()
    processor = ChangeDetectionImageProcessor(do_resize=False)
    inputs = processor(_picture(103, 150), _picture(103, 150, seed=1), return_tensors="pt")
    with torch.no_grad():
        (change_map,) = processor.post_process_change_detection(
            model(**inputs), inputs["target_sizes"]
        )
    assert torch.equal(change_map, model.predict(**inputs)[0]["change_map"])
