"""Oriented R-CNN: rotated boxes by oriented proposals and rotated regions.

Source: Xie et al. 2021; original spec 3.3.
"""

from transformers import AutoModel

from .auto_classes import AutoModelForOrientedObjectDetection
from .configuration_oriented_rcnn import OrientedRCNNConfig
from .modeling_two_stage import TwoStageDetectionModel
from .ops_rotated_boxes import rescale_rotated_boxes


class OrientedRCNNForOrientedObjectDetection(TwoStageDetectionModel):
    """Detect objects as rotated boxes: cx, cy, w, h in pixels, angle in radians, clockwise.

    Losses: `loss_rpn_objectness`, `loss_rpn_box`, `loss_box_class`, `loss_box_reg`.
    """

    config: OrientedRCNNConfig
    label_names = {"boxes": "rotated_boxes", "labels": "rotated_class_labels"}
    box_name = "rotated_boxes"
    rescale = staticmethod(rescale_rotated_boxes)


AutoModelForOrientedObjectDetection.register(
    OrientedRCNNConfig, OrientedRCNNForOrientedObjectDetection, exist_ok=True
)
# Code beside weights can name Auto classes of transformers only.
AutoModel.register(OrientedRCNNConfig, OrientedRCNNForOrientedObjectDetection, exist_ok=True)
