"""RetinaNet: horizontal boxes in one stage.

Source: Lin et al. 2017; original spec 3.2 (xView).
"""

from functools import partial
from typing import Any

import torch
from transformers import AutoModelForObjectDetection

from .auto_classes import register_model
from .configuration_retinanet import RetinaNetConfig
from .head_box import DetectionSelection
from .head_retinanet import AnchorLabelling, RetinaNetHead
from .image_sizes import Size
from .layers_initialization import init_normal, init_rare, init_xavier
from .modeling_detection import DetectionPreTrainedModel, Detections, Features
from .neck_fpn import FeaturePyramidNetwork
from .ops_anchors import AnchorGenerator


class RetinaNetForObjectDetection(DetectionPreTrainedModel):
    """Detect objects as horizontal boxes.

    Losses: `loss_class`, `loss_box`. The backbone maps before `config.start_level` are not read, so
    that what only they depend on gets no gradient.

    Args:
        config: With a backbone.
    """

    config: RetinaNetConfig
    starts = (
        (r"neck\..*", init_xavier),
        (r"head\.classifier", partial(init_rare, std=0.01, probability=0.01)),
        (r"head\..*", partial(init_normal, std=0.01)),
    )
    _no_split_modules = ["FeaturePyramidNetwork", "RetinaNetHead"]

    def __init__(self, config: RetinaNetConfig) -> None:
        super().__init__(config)
        num_labels: Any = config.num_labels
        self.neck = FeaturePyramidNetwork(
            list(self.backbone.channels),
            config.hidden_size,
            start_level=config.start_level,
            num_extra_convs=config.num_extra_levels,
        )
        self.head = RetinaNetHead(
            config.hidden_size,
            num_labels,
            config.num_convs,
            anchors=AnchorGenerator(
                config.pyramid_strides, tuple(config.anchor_scales), tuple(config.anchor_ratios)
            ),
            labelling=AnchorLabelling(
                positive_threshold=config.positive_iou,
                negative_threshold=config.negative_iou,
                min_positive=config.min_positive_iou,
                pad_divisor=config.pad_divisor,
                alpha=config.focal_alpha,
                gamma=config.focal_gamma,
            ),
            selection=DetectionSelection(
                config.score_threshold, config.nms_iou, config.max_detections
            ),
            pre_nms=config.test_pre_nms,
        )
        self.post_init()

    def _losses(self, features: Features, targets: list[dict]) -> dict[str, torch.Tensor]:
        return self.head.loss(
            self.head(self.neck(features)),
            [target["boxes"] for target in targets],
            [target["labels"] for target in targets],
            [target["size"] for target in targets],
        )

    def _detect(self, features: Features, sizes: list[Size]) -> list[Detections]:
        return self.head.predict(self.head(self.neck(features)), sizes)


register_model(AutoModelForObjectDetection, RetinaNetConfig, RetinaNetForObjectDetection)
