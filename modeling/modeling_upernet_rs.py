"""Semantic segmentation: a backbone, the UPerNet decoder and a classifier of pixels.

The decoder is that of multi-task pretraining under the same names, so that its weights load as they
are where the widths agree.

Source: Xiao et al. 2018; matches the UPerNet models of the original's finetuning (spec 3.4).
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModelForSemanticSegmentation
from transformers.utils import can_return_tuple

from .auto_classes import register_model
from .backbones import build_backbone
from .configuration_upernet_rs import UperNetRSConfig
from .head_upernet import SegmentationClassifier, UPerNetDecoder
from .image_sizes import Size, Sizes
from .modeling_dense_prediction import (
    DensePredictionModel,
    check_backbone_channels,
    stack_label_maps,
)
from .modeling_outputs import DensePredictionOutput


class UperNetRSForSemanticSegmentation(DensePredictionModel):
    """Label every pixel with one of `config.num_labels` classes.

    Args:
        config: With a `backbone_config`; any backbone with maps of several strides.
    """

    config: UperNetRSConfig

    def __init__(self, config: UperNetRSConfig) -> None:
        super().__init__(config)
        if config.backbone_config is None or config.hidden_size is None:
            raise ValueError("UperNetRSConfig.backbone_config is None: name the backbone")
        self.backbone = build_backbone(config)
        channels = list(self.backbone.channels)
        check_backbone_channels(config, channels, least=2)
        self.decoder = UPerNetDecoder(channels, config.hidden_size, list(config.pool_scales))
        assert config.num_labels is not None  # transformers sets two by default
        self.classifier = SegmentationClassifier(
            config.hidden_size, config.num_labels, config.dropout
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | Sequence[dict[str, Any]] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        sizes: Sizes | None = None,
        **kwargs: object,
    ) -> DensePredictionOutput:
        """Compute logits, and with labels the loss.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            labels: (B, h, w) int64, 0..K-1, 255 = ignore, or B dicts with `semantic_labels`
                (h, w); logits are resized to (h, w).
            output_hidden_states: Whether to return those of the backbone.
            output_attentions: Whether to return those of the backbone.
            sizes: Content (height, width) of each image in the padded input, from the processor;
                post-processing needs it where images are padded.
            kwargs: Ignored; trainers and processors pass more than is needed.

        Returns:
            `logits` (B, K, h, w) at the resolution of the finest map of the backbone (a quarter of
            the input with a pyramid), `loss`, and `losses` with `loss_segmentation`.
        """
        found = self.run_backbone(pixel_values, output_hidden_states, output_attentions)
        logits = self.classifier(self.decoder(found.feature_maps))
        maps = None if labels is None else stack_label_maps(labels, "semantic_labels")
        return self.make_output(logits, maps, found, pixel_values=pixel_values, sizes=sizes)

    def predict(
        self,
        pixel_values: Tensor,
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
        *,
        window: Size | None = None,
        stride: Size | None = None,
    ) -> list[dict[str, Tensor]]:
        """Label the pixels of each image.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            sizes: Content (height, width) in the padded input; default: the whole input.
            target_sizes: (height, width) of the original images; default: `sizes`.
            window: (height, width) of sliding windows, for images larger than those in training;
                published: 512 every 384 pixels (LoveDA), 384 every 256 (SpaceNet). Default: whole.
            stride: See `window`.

        Returns:
            B dicts with `semantic_map` (h, w) int64 of the target size.
        """
        maps = self.predict_maps((pixel_values,), sizes, target_sizes, window=window, stride=stride)
        return [{"semantic_map": x} for x in maps]


register_model(AutoModelForSemanticSegmentation, UperNetRSConfig, UperNetRSForSemanticSegmentation)
