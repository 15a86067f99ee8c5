"""What models that label every pixel share: their start, and prediction whole or by windows.

B images, K classes, H W network input, h w label map.

Source: original spec 3.0 (head initialisation), 3.4 (tests whole and by windows).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BackboneOutput

from .backbones import run_backbone
from .head_upernet import SegmentationClassifier
from .image_sizes import Size, Sizes, read_size, read_sizes
from .layers_initialization import init_layer, init_normal
from .modeling_outputs import DensePredictionOutput
from .ops_label_maps import resize_bilinear, resize_logits
from .ops_sliding_windows import slide_windows


class DensePredictionModel(PreTrainedModel):
    """A backbone, a decoder and a `SegmentationClassifier`; `forward` of a subclass joins them."""

    backbone: Any
    classifier: SegmentationClassifier
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def run_backbone(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Any:
        """Compute the maps of images (B, 3, H, W); see `run_backbone` of `backbones`."""
        return run_backbone(
            self.backbone,
            pixel_values,
            self.config,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )

    def make_output(
        self,
        logits: Tensor,
        label_maps: Tensor | None,
        found: BackboneOutput,
        *,
        pixel_values: Tensor,
        sizes: Sizes | None,
    ) -> DensePredictionOutput:
        """Compute the loss where there are labels, and keep what post-processing needs.

        Args:
            logits: (B, K, ., .).
            label_maps: (B, h, w) int64, 255 = ignore.
            found: Of the backbone.
            pixel_values: The network input.
            sizes: Content (height, width) of each image in it; None where nobody asks.
        """
        losses = None if label_maps is None else self.classifier.loss(logits, label_maps)
        padded, contents = [read_size(pixel_values.shape[-2:])] * len(pixel_values), None
        if sizes is not None:
            contents = torch.tensor(read_sizes(sizes, padded))
        return DensePredictionOutput(
            loss=None if losses is None else torch.stack(list(losses.values())).sum(),
            logits=logits,
            hidden_states=found.hidden_states,
            attentions=found.attentions,
            losses=losses,
            sizes=contents,
            padded_sizes=None if contents is None else torch.tensor(padded),
        )

    @torch.no_grad()
    def predict_maps(
        self,
        images: tuple[Tensor, ...],
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
        *,
        window: Size | None = None,
        stride: Size | None = None,
    ) -> list[Tensor]:
        """Choose the best class of every pixel; arguments as `predict_logits`.

        Returns:
            B label maps int64.
        """
        found = self.predict_logits(images, sizes, target_sizes, window=window, stride=stride)
        return [logits.argmax(dim=0) for logits in found]

    def predict_logits(
        self,
        images: tuple[Tensor, ...],
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
        *,
        window: Size | None = None,
        stride: Size | None = None,
    ) -> Iterator[Tensor]:
        """Compute the logits of every pixel, image by image, without gradients.

        Args:
            images: Inputs of the model, each (B, 3, H, W).
            sizes: Content (height, width) of each image in the padded input; default: all of it.
            target_sizes: (height, width) of each map; default: `sizes`.
            window: (height, width) of sliding windows; default: the whole input at once.
            stride: From one window to the next, needed with `window`.

        Yields:
            For each image (K, height, width) float32.
        """
        if (window is None) != (stride is None):
            raise ValueError(f"window {window} and stride {stride}: give both or none")
        padded = read_size(images[0].shape[-2:])
        contents = read_sizes(sizes, [padded] * len(images[0]))
        targets = read_sizes(target_sizes, contents, "target_sizes")
        if window is None or stride is None:
            with torch.no_grad():
                logits = self(*images, return_dict=True).logits
            yield from resize_logits(logits, padded, contents, targets)
            return
        # One by one and without padding, so that windows end where an image ends.
        for index, (content, target) in enumerate(zip(contents, targets, strict=True)):
            inputs = tuple(x[index, None, :, : content[0], : content[1]] for x in images)
            with torch.no_grad():
                logits = slide_windows(self._resized_logits, inputs, window, stride)
            yield from resize_logits(logits, content, [content], [target])

    def _resized_logits(self, *images: Tensor) -> Tensor:
        logits = self(*images, return_dict=True).logits.float()
        return resize_bilinear(logits, images[0].shape[-2:])

    def _init_weights(self, module: nn.Module) -> None:
        """Start the head as the original's finetuning does; the backbone starts itself."""
        if module is self.classifier.classifier:
            init_normal(module, std=0.01)
        else:
            init_layer(module)


def stack_label_maps(labels: Tensor | Sequence[dict[str, Any]], name: str) -> Tensor:
    """Return label maps (B, h, w) int64, given as such or as a list of B dicts.

    Args:
        labels: See above.
        name: Key of the map (h, w) in each dict.

    Raises:
        ValueError: A dict lacks the map, or the maps differ in size.
    """
    if isinstance(labels, Tensor):
        return labels.long()
    maps = []
    for label in labels:
        if name not in label:
            raise ValueError(f"the labels of image {label.get('image_id')} lack {name}")
        maps.append(label[name])
    if len({x.shape for x in maps}) > 1:
        sizes = [tuple(x.shape) for x in maps]
        raise ValueError(f"{name} of one batch must have one size, got {sizes}")
    return torch.stack(maps).long()


def check_backbone_channels(config: PreTrainedConfig, channels: Sequence[int], least: int) -> None:
    """Raise a `ValueError` where a backbone makes fewer maps than a decoder fuses."""
    if len(channels) < least:
        kind = config.backbone_config.model_type  # type: ignore[attr-defined]
        raise ValueError(
            f"the backbone {kind} makes {len(channels)} map(s), but {type(config).__name__} needs "
            f"{least}: name them with out_indices or out_features of its configuration"
        )
