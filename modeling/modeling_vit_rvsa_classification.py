"""Scene classification with ViT + RVSA: the mean of the last tokens and a linear layer.

The tokens are those of the last block as they are, without a final norm and without the pyramid
(in `last_layer_pyramid`, which has the norm, with it).

B images, N tokens, C channels, K classes.

Source: the models of the original's scene classification (spec 3.1; quirk 45).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModelForImageClassification
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_vit_rvsa import ViTRVSAConfig
from .layers_initialization import init_normal
from .modeling_vit_rvsa import ViTRVSAModel, ViTRVSAPreTrainedModel


class ViTRVSAForImageClassification(ViTRVSAPreTrainedModel):
    """Name the scene of an image, one of `config.num_labels` classes."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        assert config.num_labels is not None  # transformers sets two by default
        self.backbone = ViTRVSAModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: object,
    ) -> ImageClassifierOutput:
        """Compute logits, and with labels the cross entropy.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            labels: (B,) int64, 0..K-1.
            output_hidden_states: Whether to return those of the blocks.
            output_attentions: Whether to return those of the blocks.
            kwargs: Ignored; trainers and processors pass more than is needed.

        Returns:
            `logits` (B, K) and `loss`, the mean over the images.
        """
        options = {
            "output_hidden_states": output_hidden_states,
            "output_attentions": output_attentions,
        }
        found = self.backbone(
            pixel_values, **{name: value for name, value in options.items() if value is not None}
        )
        logits = self.classifier(found.last_hidden_state.mean(dim=1))  # (B, N, C) -> (B, C)
        return ImageClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=found.hidden_states,
            attentions=found.attentions,
        )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start the classifier as the original does (spec 3.0) and the rest as the backbone."""
        if module is self.classifier:
            init_normal(module, std=0.01)
        else:
            super()._init_weights(module)


AutoModelForImageClassification.register(
    ViTRVSAConfig, ViTRVSAForImageClassification, exist_ok=True
)
