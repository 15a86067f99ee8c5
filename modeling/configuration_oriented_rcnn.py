"""Configuration of Oriented R-CNN. Source: Xie et al. 2021; values of original spec 2.5."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig

from .configuration_two_stage import TwoStageConfig


@strict
class OrientedRCNNConfig(TwoStageConfig):
    """Configure rotated detection: `TwoStageConfig` with the values of the rotated decoder."""

    model_type = "mtp_oriented_rcnn"

    rpn_allowed_border: int = 0
    train_post_nms: int = 2000
    test_pre_nms: int = 2000
    test_post_nms: int = 2000
    proposal_nms_iou: float | int = 0.8
    box_match_low_quality: bool = False
    nms_iou: float | int = 0.1
    max_detections: int = 2000


AutoConfig.register("mtp_oriented_rcnn", OrientedRCNNConfig, exist_ok=True)
