"""Configuration of Mask R-CNN. Source: He et al. 2017; values of original spec 2.4."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig

from .configuration_two_stage import TwoStageConfig


@strict
class MaskRCNNConfig(TwoStageConfig):
    """Configure instance segmentation; boxes as in `TwoStageConfig`.

    Args:
        mask_hidden_size: Channels of the mask layers.
        mask_num_convs: 3 x 3 convolutions before the upsampling.
        mask_roi_size: Side of a region pooled for its mask; the mask has twice this side.
        mask_threshold: Probability from which a pixel belongs to the object.
    """

    model_type = "mtp_mask_rcnn"

    mask_hidden_size: int = 256
    mask_num_convs: int = 4
    mask_roi_size: int = 14
    mask_threshold: float | int = 0.5


AutoConfig.register("mtp_mask_rcnn", MaskRCNNConfig, exist_ok=True)
