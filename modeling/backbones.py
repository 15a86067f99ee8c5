"""The backbone that a task model's configuration names: ours, or any of transformers or timm."""

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import load_backbone

from .modeling_vit_rvsa import ViTRVSABackbone

# Model type -> class, for the backbones of this package.
OWN_BACKBONES: dict[str, type[PreTrainedModel]] = {"mtp_vit_rvsa": ViTRVSABackbone}


def build_backbone(config: PreTrainedConfig) -> Any:
    """Build the backbone of `config.backbone_config`, with random weights.

    Our own come from their class: code that lies beside weights may be imported twice, once for the
    config and once for the model, and the Auto classes know only one of the two config classes,
    where a constructor takes either.

    Returns:
        A backbone: images (B, C, H, W) -> `feature_maps`, with `channels`.
    """
    backbone_config: Any = config.backbone_config  # type: ignore[attr-defined]
    own = OWN_BACKBONES.get(backbone_config.model_type)
    return own._from_config(backbone_config) if own else load_backbone(config)
