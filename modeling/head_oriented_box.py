"""Box head of Oriented R-CNN: rotated pooling, rotated IoU and NMS, one box for all classes.

Source: Xie et al. 2021, section 3.2 (original spec 2.5, 7.3, 7.6, 7.7).
"""

import torch

from .head_box import BoxHead
from .ops_box_coders import DeltaXYWHTCoder
from .ops_roi_align import multilevel_rotated_roi_align
from .ops_rotated_boxes import batched_rotated_nms, rotated_box_iou


class OrientedBoxHead(BoxHead):
    """Pool rotated regions (R, 5) and refine them in their own frames; arguments as `BoxHead`."""

    coder = DeltaXYWHTCoder(stds=(0.1, 0.1, 0.2, 0.2, 0.1))
    box_loss_beta = 1.0
    class_agnostic = True

    def _pool(self, features: list[torch.Tensor], rois: torch.Tensor) -> torch.Tensor:
        return multilevel_rotated_roi_align(
            features, rois, self.roi_size, strides=self.strides, finest_scale=self.finest_scale
        )

    def _iou(self, boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
        return rotated_box_iou(boxes1, boxes2)

    def _nms(self, boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return batched_rotated_nms(boxes, scores, labels, self.selection.nms_threshold)
