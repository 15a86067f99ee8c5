"""What the configurations of two-stage detectors share: pyramid, proposals, regions.

Source: the values of the original (original spec 2.4, 2.5, 3.2, 3.3).
"""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_checks import check_map_strides, reject_unknown_keys
from .configuration_internimage import InternImageConfig  # noqa: F401  (registers the backbone)
from .configuration_vit_rvsa import ViTRVSAConfig  # noqa: F401  (registers the backbone)


@strict
class TwoStageConfig(PreTrainedConfig):
    """Configure a two-stage detector.

    Args:
        backbone_config: Backbone, or None where the decoder is a part of a larger model.
        hidden_size: Channels of the pyramid and of the proposal network.
        strides: Pixels per cell of the backbone maps; the pyramid adds twice the last.
        anchor_scales: Anchor sides in units of the stride.
        anchor_ratios: Anchor height / width.
        rpn_positive_iou: IoU from which an anchor is an object.
        rpn_negative_iou: IoU below which an anchor is background.
        rpn_min_positive_iou: IoU from which the best anchors of an object are its own at any rate.
        rpn_num_samples: Anchors that train in an image.
        rpn_positive_fraction: Largest share of objects among them.
        rpn_allowed_border: Pixels by which a training anchor may leave the image; -1 = any.
        rpn_pad_divisor: Each image counts as padded to a multiple of this, and anchors of cells
            beyond do not train; 0 = all cells of the batch do, as in pretraining.
        train_pre_nms: Proposals of a level before NMS, in training.
        train_post_nms: Proposals of an image after NMS, in training.
        test_pre_nms: Proposals of a level before NMS, in evaluation.
        test_post_nms: Proposals of an image after NMS, in evaluation.
        proposal_nms_iou: IoU above which the lower scored proposal goes.
        roi_size: Side of a pooled region, in cells.
        roi_finest_scale: Regions with sides up to twice this many pixels use the finest map.
        box_hidden_size: Width of the two region layers.
        box_iou: IoU from which a region is an object.
        box_match_low_quality: Whether the best regions of an object are its own at any rate.
        box_num_samples: Regions that train in an image.
        box_positive_fraction: Largest share of objects among them.
        score_threshold: Class probability that a detection exceeds.
        nms_iou: IoU above which the lower scored detection of a class goes.
        max_detections: Detections of an image.
    """

    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig, model_type="mtp_vit_rvsa", optional=True
        )
    }

    backbone_config: dict | PreTrainedConfig | None = None
    hidden_size: int = 256
    strides: list[int] | tuple[int, ...] = (4, 8, 16, 32)
    anchor_scales: list[int | float] | tuple[int | float, ...] = (8,)
    anchor_ratios: list[int | float] | tuple[int | float, ...] = (0.5, 1.0, 2.0)
    rpn_positive_iou: float | int = 0.7
    rpn_negative_iou: float | int = 0.3
    rpn_min_positive_iou: float | int = 0.3
    rpn_num_samples: int = 256
    rpn_positive_fraction: float | int = 0.5
    rpn_allowed_border: int = -1
    rpn_pad_divisor: int = 0
    train_pre_nms: int = 2000
    train_post_nms: int = 1000
    test_pre_nms: int = 1000
    test_post_nms: int = 1000
    proposal_nms_iou: float | int = 0.7
    roi_size: int = 7
    roi_finest_scale: int = 56
    box_hidden_size: int = 1024
    box_iou: float | int = 0.5
    box_match_low_quality: bool = True
    box_num_samples: int = 512
    box_positive_fraction: float | int = 0.25
    score_threshold: float | int = 0.05
    nms_iou: float | int = 0.5
    max_detections: int = 100

    def __post_init__(self, **kwargs: object) -> None:
        reject_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse a backbone with maps of other strides."""
        super().validate_architecture()
        check_map_strides(self.backbone_config, self.strides, self.model_type)
