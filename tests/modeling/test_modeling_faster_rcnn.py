"""Claims about Faster R-CNN."""

import torch
from transformers import AutoModelForObjectDetection

from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from tests.modeling.detection_behaviour import DetectionBehaviour


class TestBehaviour(DetectionBehaviour):
    model_class = FasterRCNNForObjectDetection
    config_class = FasterRCNNConfig
    auto_class = AutoModelForObjectDetection


def test_published_detector_has_as_many_parameters_as_the_original():
    base = {"model_type": "mtp_vit_rvsa", "image_size": 800}
    with torch.device("meta"):
        model = FasterRCNNForObjectDetection(FasterRCNNConfig(backbone_config=base, num_labels=20))
    parts = (*model.decoder.parameters(), *model.classifier.parameters())
    assert sum(p.numel() for p in parts) == 17_740_916  # original spec 3.0
