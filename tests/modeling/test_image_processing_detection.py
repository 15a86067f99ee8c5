"""Claims about the processors of detection models."""

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, pipeline

from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.image_processing_detection import (
    DetectionImageProcessor,
    InstanceSegmentationImageProcessor,
)
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from mtp_hf.modeling.modeling_outputs import DetectionOutput
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE

NAMES = {0: "ship", 1: "airplane", 2: "vehicle"}
SIZE = {"height": 112, "width": 112}


def _output(**values):
    """Two images of 100 x 50, the second with one detection less."""
    return DetectionOutput(
        scores=torch.tensor([[0.9, 0.4], [0.8, 0.0]]),
        labels=torch.tensor([[2, 1], [0, -1]]),
        sizes=torch.tensor([[100, 50]] * 2),
        **values,
    )


def _boxes():
    return torch.tensor([[[0.0, 0, 10, 20], [5, 5, 6, 6]], [[10, 10, 20, 20], [0, 0, 0, 0]]])


def _tiny(model_class, config_class, **extra):
    config = config_class(
        backbone_config=TINY_BACKBONE,
        id2label=NAMES,
        score_threshold=0.0,
        max_detections=4,
        **TINY_TWO_STAGE,
        **extra,
    )
    return model_class(config).eval()


def test_boxes_come_in_pixels_of_the_targets_without_low_scores_and_filling():
    found = DetectionImageProcessor().post_process_object_detection(
        _output(boxes=_boxes()), 0.3, [(200, 50), (100, 100)]
    )
    assert [each["labels"].tolist() for each in found] == [[2, 1], [0]]
    assert found[0]["boxes"].tolist() == [[0, 0, 10, 40], [5, 10, 6, 12]]
    assert found[1]["boxes"].tolist() == [[20, 10, 40, 20]]
    few = DetectionImageProcessor().post_process_object_detection(_output(boxes=_boxes()), 0.85)
    assert [len(each["scores"]) for each in few] == [1, 0]


def test_rotated_boxes_keep_their_angle_under_equal_factors():
    boxes = torch.tensor([[[10.0, 10, 8, 4, 0.3]] * 2] * 2)
    found = DetectionImageProcessor().post_process_oriented_object_detection(
        _output(rotated_boxes=boxes), 0.5, torch.tensor([[200, 100]] * 2)
    )
    torch.testing.assert_close(
        found[0]["rotated_boxes"], torch.tensor([[20.0, 20, 16, 8, 0.3]]), rtol=1e-5, atol=1e-5
    )


def test_masks_are_numbered_with_the_best_on_top():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 15, 10]], [[0, 0, 5, 5], [0, 0, 0, 0]]])
    output = _output(boxes=boxes, mask_probs=torch.ones(2, 2, 28, 28))
    processor = InstanceSegmentationImageProcessor()
    found = processor.post_process_instance_segmentation(output, threshold=0.3)
    segmentation = found[0]["segmentation"]
    assert segmentation.shape == (100, 50)
    assert segmentation[5, [2, 7, 12, 20]].tolist() == [0, 0, 1, -1]
    assert found[0]["segments_info"][1] == {"id": 1, "label_id": 1, "score": pytest.approx(0.4)}
    binary = processor.post_process_instance_segmentation(
        output, threshold=0.3, target_sizes=[(50, 25)] * 2, return_binary_maps=True
    )
    assert binary[0]["segmentation"].shape == (2, 50, 25)
    assert len(binary[1]["segments_info"]) == 1


def test_wrong_outputs_and_sizes_are_named():
    processor = DetectionImageProcessor()
    with pytest.raises(ValueError, match="has no rotated_boxes"):
        processor.post_process_oriented_object_detection(_output(boxes=_boxes()))
    with pytest.raises(ValueError, match="2 images but 1 target_sizes"):
        processor.post_process_object_detection(_output(boxes=_boxes()), 0.5, [(1, 1)])


@pytest.mark.parametrize("cls", [DetectionImageProcessor, InstanceSegmentationImageProcessor])
def test_processors_are_found_by_the_auto_class(cls, tmp_path):
    cls(size=SIZE).save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is cls and again.size.height == 112
    assert (cls().size.height, cls().size_divisor) == (800, 32)


def test_pipeline_finds_what_the_model_predicts():
    model = _tiny(FasterRCNNForObjectDetection, FasterRCNNConfig)
    processor = DetectionImageProcessor(size=SIZE)
    picture = Image.new("RGB", (224, 210), (90, 120, 60))
    detect = pipeline("object-detection", model=model, image_processor=processor)
    found = detect(picture, threshold=0.0)
    expected = model.predict(**processor(picture, return_tensors="pt"))[0]
    assert [x["score"] for x in found] == pytest.approx(expected["scores"].tolist(), abs=1e-4)
    assert {x["label"] for x in found} <= set(NAMES.values())
    assert all(x["box"]["xmax"] <= 224 and x["box"]["ymax"] <= 210 for x in found)


def test_pipeline_of_masks_runs():
    masks = {"mask_hidden_size": 16, "mask_num_convs": 1}
    model = _tiny(MaskRCNNForInstanceSegmentation, MaskRCNNConfig, **masks)
    segment = pipeline(
        "image-segmentation",
        model=model,
        image_processor=InstanceSegmentationImageProcessor(size=SIZE),
    )
    found = segment(Image.new("RGB", (224, 210), (90, 120, 60)), threshold=0.0)
    assert found and all(x["mask"].size == (224, 210) for x in found)
