"""Output classes of the task models, loss first as transformers expects."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import SemanticSegmenterOutput
from transformers.utils import ModelOutput


@dataclass
class MTPPreTrainingOutput(ModelOutput):
    """Hold the result of a multi-task training step.

    Attributes:
        loss: Scalar, the sum of `losses`; None without labels.
        losses: `{dataset}/{task}/{loss}` -> scalar; None without labels.
        feature_maps: Backbone maps (B, C_l, H_l, W_l), finest first.
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None


@dataclass
class DensePredictionOutput(SemanticSegmenterOutput):
    """Hold the result of a model that labels pixels.

    Attributes:
        loss: Scalar, the sum of `losses`; None without labels.
        logits: (B, K, h, w) at the resolution of the head.
        hidden_states: Of the backbone, where asked for.
        attentions: Of the backbone, where asked for.
        losses: Name -> scalar; None without labels.
        sizes: (B, 2) content (height, width) of each image in the input; None where not given.
        padded_sizes: (B, 2) (height, width) of the input, the same for each image; as `sizes`.
    """

    losses: dict[str, torch.Tensor] | None = None
    sizes: torch.Tensor | None = None
    padded_sizes: torch.Tensor | None = None


@dataclass
class DetectionOutput(ModelOutput):
    """Hold the result of a detection model: losses, or the detections of a batch.

    D is the largest number of detections in an image of the batch; images with fewer are filled up
    with score 0 and class -1. Boxes are in pixels of the network input.

    Attributes:
        loss: Scalar, the sum of `losses`; None without labels.
        losses: Name -> scalar; None without labels.
        scores: (B, D), best first; this and the rest but the maps are None with labels.
        labels: (B, D) int64.
        boxes: (B, D, 4) xyxy, of a model of horizontal boxes.
        rotated_boxes: (B, D, 5), of a model of rotated boxes.
        mask_probs: (B, D, side, side) over each box, of a model of masks.
        sizes: (B, 2) content (height, width) of each image, to which boxes refer.
        feature_maps: Backbone maps (B, C_l, H_l, W_l), finest first.
        hidden_states: Of the backbone, where asked for.
        attentions: Of the backbone, where asked for.
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    scores: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    rotated_boxes: torch.Tensor | None = None
    mask_probs: torch.Tensor | None = None
    sizes: torch.Tensor | None = None
    feature_maps: tuple[torch.Tensor, ...] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
