"""A backbone that stays exactly as it is while the head learns."""

from typing import Any

from torch import nn


def freeze_backbone(network: Any) -> None:
    """Keep weights and statistics of the backbone, and let it compute as in evaluation.

    No gradient reaches it and the optimizer does not know it, so there is no weight decay either.
    Without the second, norms would go on gathering statistics, and layers would be dropped for
    weights that do not learn from it.

    Args:
        network: with a `backbone`, changed in place.
    """
    network.backbone.requires_grad_(False)
    # A hook, because `train()` of the loop reaches the backbone before every step.
    network.register_forward_pre_hook(_evaluate_backbone)


def _evaluate_backbone(network: nn.Module, inputs: Any) -> None:
    backbone: Any = network.backbone
    if backbone.training:
        backbone.eval()
