"""Output classes of the task models, loss first as transformers expects."""

from dataclasses import dataclass

import torch
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
