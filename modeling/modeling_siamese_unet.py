"""Change detection: one backbone sees two images, a UNet decoder labels what differs.

Source: the change detection of MTP (https://arxiv.org/abs/2403.13430); original spec 3.5.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModel
from transformers.modeling_outputs import BackboneOutput
from transformers.utils import can_return_tuple

from .auto_classes import AutoModelForChangeDetection
from .backbones import build_backbone
from .configuration_siamese_unet import SiameseUNetConfig
from .head_unet import UNetDecoder
from .head_upernet import SegmentationClassifier
from .image_sizes import Size, Sizes
from .modeling_dense_prediction import (
    DensePredictionModel,
    check_backbone_channels,
    stack_label_maps,
)
from .modeling_outputs import DensePredictionOutput


class SiameseUNetForChangeDetection(DensePredictionModel):
    """Label the pixels that changed between two images of the same place.

    Args:
        config: With any backbone of four maps; the published ViTs have `multi_depth`.
    """

    config: SiameseUNetConfig

    def __init__(self, config: SiameseUNetConfig) -> None:
        super().__init__(config)
        assert config.num_labels is not None  # the configuration sets two by default
        self.backbone = build_backbone(config)
        channels = list(self.backbone.channels)
        check_backbone_channels(config, channels, least=4)
        self.decoder = UNetDecoder(channels, config.hidden_sizes)
        self.classifier = SegmentationClassifier(
            config.hidden_sizes[-1], config.num_labels, config.dropout
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_values_post: Tensor,
        labels: Tensor | Sequence[dict[str, Any]] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        sizes: Sizes | None = None,
        **kwargs: object,
    ) -> DensePredictionOutput:
        """Compute logits, and with labels the loss.

        Args:
            pixel_values: Images before, (B, 3, H, W) float, normalised.
            pixel_values_post: Images after, of the same shape.
            labels: (B, h, w) int64, 0 = unchanged, 1 = changed, 255 = ignore, or B dicts with
                `change_labels` (h, w); logits are resized to (h, w).
            output_hidden_states: Whether to return those of the backbone, for the images before and
                then for those after.
            output_attentions: Whether to return those of the backbone, likewise.
            sizes: Content (height, width) of each image in the padded input, from the processor;
                post-processing needs it where images are padded.
            kwargs: Ignored; trainers and processors pass more than is needed.

        Returns:
            `logits` (B, K, 2 H, 2 W) with a ViT of stride 16, (B, K, H, W) with maps of strides 4
            to 32; `loss`, and `losses` with `loss_segmentation`.

        Raises:
            ValueError: The images before and after differ in shape.
        """
        if pixel_values.shape != pixel_values_post.shape:
            raise ValueError(
                f"pixel_values is {tuple(pixel_values.shape)}, but pixel_values_post "
                f"{tuple(pixel_values_post.shape)}"
            )
        options = (output_hidden_states, output_attentions)
        before = self.run_backbone(pixel_values, *options)
        after = self.run_backbone(pixel_values_post, *options)
        pairs = zip(before.feature_maps, after.feature_maps, strict=True)
        logits = self.classifier(self.decoder(tuple((x - y).abs() for x, y in pairs)))
        maps = None if labels is None else stack_label_maps(labels, "change_labels")
        both = BackboneOutput(
            hidden_states=_join(before.hidden_states, after.hidden_states),
            attentions=_join(before.attentions, after.attentions),
        )
        return self.make_output(logits, maps, both, pixel_values=pixel_values, sizes=sizes)

    def predict(
        self,
        pixel_values: Tensor,
        pixel_values_post: Tensor,
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
        *,
        window: Size | None = None,
        stride: Size | None = None,
    ) -> list[dict[str, Tensor]]:
        """Label the pixels of each pair.

        Args:
            pixel_values: Images before, (B, 3, H, W) float, normalised.
            pixel_values_post: Images after, of the same shape.
            sizes: Content (height, width) in the padded input; default: the whole input.
            target_sizes: (height, width) of the original images; default: `sizes`.
            window: (height, width) of sliding windows, for images larger than those in training.
                Default: whole, as published.
            stride: From one window to the next, needed with `window`.

        Returns:
            B dicts with `change_map` (h, w) int64 of the target size.
        """
        images = (pixel_values, pixel_values_post)
        maps = self.predict_maps(images, sizes, target_sizes, window=window, stride=stride)
        return [{"change_map": x} for x in maps]


def _join(
    before: tuple[Tensor, ...] | None, after: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...] | None:
    return None if before is None or after is None else (*before, *after)


AutoModelForChangeDetection.register(
    SiameseUNetConfig, SiameseUNetForChangeDetection, exist_ok=True
)
# Code beside weights can name Auto classes of transformers only.
AutoModel.register(SiameseUNetConfig, SiameseUNetForChangeDetection, exist_ok=True)
