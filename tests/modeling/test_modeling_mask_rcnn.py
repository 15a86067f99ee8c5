"""Claims about Mask R-CNN."""

import pytest
import torch
from transformers import AutoModelForInstanceSegmentation

from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from mtp_hf.modeling.ops_masks import paste_masks
from tests.modeling.detection_behaviour import DetectionBehaviour
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE, make_label

TINY_MASKS = {**TINY_TWO_STAGE, "mask_hidden_size": 16, "mask_num_convs": 1}


class TestBehaviour(DetectionBehaviour):
    model_class = MaskRCNNForInstanceSegmentation
    config_class = MaskRCNNConfig
    auto_class = AutoModelForInstanceSegmentation
    sizes = TINY_MASKS
    loss_names = (*DetectionBehaviour.loss_names, "loss_mask")


def _model(**overrides):
    values = {"backbone_config": TINY_BACKBONE, "num_labels": 3, **TINY_MASKS}
    return MaskRCNNForInstanceSegmentation(
        MaskRCNNConfig(**values | {"score_threshold": 0.0, "max_detections": 5} | overrides)
    )


def test_masks_are_pasted_into_their_boxes_with_the_threshold():
    model = _model(mask_threshold=0.4).eval()
    images = torch.randn(1, 3, 112, 112)
    output, (found,) = model(images), model.predict(images, target_sizes=[(56, 56)])
    assert output.mask_probs.shape == (1, 5, 28, 28)
    expected = paste_masks(output.mask_probs[0], output.boxes[0] / 2, (56, 56), 0.4)
    assert torch.equal(found["masks"], expected) and found["masks"].any()


def test_masks_are_needed_for_training():
    label = make_label("x", 1)
    del label["instance_masks"]
    with pytest.raises(ValueError, match="lacks instance_masks"):
        _model()(torch.randn(1, 3, 112, 112), labels=[label])


def test_boxes_are_trained_towards_the_objects_unlike_in_the_recorded_pretraining():
    assert not _model().decoder.box_head.use_unit_target
