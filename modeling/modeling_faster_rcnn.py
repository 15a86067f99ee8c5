"""Faster R-CNN: horizontal boxes by proposals and regions.

Source: Ren et al. 2015 with a feature pyramid (Lin et al. 2017); original spec 3.2 (DIOR).
"""

from transformers import AutoModelForObjectDetection

from .auto_classes import register_model
from .configuration_faster_rcnn import FasterRCNNConfig
from .modeling_two_stage import TwoStageDetectionModel


class FasterRCNNForObjectDetection(TwoStageDetectionModel):
    """Detect objects as horizontal boxes.

    Losses: `loss_rpn_objectness`, `loss_rpn_box`, `loss_box_class`, `loss_box_reg`.
    """

    config: FasterRCNNConfig


register_model(AutoModelForObjectDetection, FasterRCNNConfig, FasterRCNNForObjectDetection)
