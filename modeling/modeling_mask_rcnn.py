"""Mask R-CNN: horizontal boxes and a mask in each.

The original has this decoder in pretraining only; finetuning it is ours, with the same values.

Source: He et al. 2017; original spec 2.4.
"""

from transformers import AutoModelForInstanceSegmentation

from .auto_classes import register_model
from .configuration_mask_rcnn import MaskRCNNConfig
from .image_sizes import Size
from .modeling_detection import Detections
from .modeling_two_stage import TwoStageDetectionModel
from .ops_masks import paste_masks


class MaskRCNNForInstanceSegmentation(TwoStageDetectionModel):
    """Detect objects as horizontal boxes with masks.

    Losses: those of Faster R-CNN and `loss_mask`.
    """

    config: MaskRCNNConfig
    label_names = {"boxes": "boxes", "labels": "class_labels", "masks": "instance_masks"}

    def _to_image(self, found: Detections, size: Size, target_size: Size) -> Detections:
        moved = super()._to_image(found, size, target_size)
        masks = paste_masks(
            found["mask_probs"], moved["boxes"], target_size, self.config.mask_threshold
        )
        return {**moved, "masks": masks}


register_model(AutoModelForInstanceSegmentation, MaskRCNNConfig, MaskRCNNForInstanceSegmentation)
