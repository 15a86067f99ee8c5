"""Images that are smaller than a backbone takes, padded so that they are predicted all the same.

Only prediction does so; a backbone refuses them, and training and evaluation never see them.
"""

from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtp_hf.modeling import ViTRVSAConfig

DIVISOR = 32  # of the sides of padded inputs


def smallest_side(config: PreTrainedConfig) -> int:
    """Smallest side in pixels that a network takes; 1: any."""
    backbone = getattr(config, "backbone_config", config)
    if not isinstance(backbone, ViTRVSAConfig):
        return 1
    return (backbone.window_size - 1) * backbone.patch_size + 1


def pad_small(pixels: Tensor, smallest: int) -> Tensor:
    """Add zeros on the right and below to (..., H, W) where a side is shorter than `smallest`."""
    long_enough = -(-smallest // DIVISOR) * DIVISOR
    missing = [long_enough - side if side < smallest else 0 for side in pixels.shape[-2:]]
    return F.pad(pixels, (0, missing[1], 0, missing[0]))
