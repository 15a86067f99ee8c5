"""The backbone that a task model's configuration names: ours, or any of transformers or timm."""

from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import load_backbone

from .modeling_internimage import InternImageBackbone
from .modeling_vit_rvsa import ViTRVSABackbone

# Model type -> class, for the backbones of this package.
OWN_BACKBONES: dict[str, type[PreTrainedModel]] = {
    "mtp_vit_rvsa": ViTRVSABackbone,
    "mtp_internimage": InternImageBackbone,
}


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


def run_backbone(
    backbone: Any,
    pixel_values: torch.Tensor,
    config: PreTrainedConfig,
    *,
    output_hidden_states: bool | None = None,
    output_attentions: bool | None = None,
) -> Any:
    """Compute the maps of images (B, 3, H, W), and what the options or else `config` ask for.

    The options reach only backbones that are asked, because not every one knows them.

    Returns:
        A `BackboneOutput`, with `feature_maps`, `hidden_states` and `attentions`.
    """
    options = {
        "output_hidden_states": output_hidden_states,
        "output_attentions": output_attentions,
    }
    wanted = {
        name: True
        for name, value in options.items()
        if (getattr(config, name) if value is None else value)
    }
    return backbone(pixel_values, **wanted)
