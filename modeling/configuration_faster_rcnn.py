"""Configuration of Faster R-CNN. Source: Ren et al. 2015; values of original spec 3.2 (DIOR)."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig

from .configuration_two_stage import TwoStageConfig


@strict
class FasterRCNNConfig(TwoStageConfig):
    """Configure horizontal detection: `TwoStageConfig` with the published finetuning values."""

    model_type = "mtp_faster_rcnn"

    rpn_pad_divisor: int = 32
    box_match_low_quality: bool = False


AutoConfig.register("mtp_faster_rcnn", FasterRCNNConfig, exist_ok=True)
