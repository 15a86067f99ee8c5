"""What all detection models share: backbone, labels in, losses or detections out, start of layers.

A model is a backbone and a detector on its maps. B images; a model says in class attributes which
labels it learns from and what it calls its boxes, and in two methods how it computes losses and
detections. Shapes: N objects, n detections, D most detections in an image of the batch.

Source: original spec 3.0, 3.2, 3.3; names of `labels` as in the pretraining model.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import can_return_tuple

from .backbones import build_backbone, run_backbone
from .image_sizes import Size, Sizes, read_size, read_sizes
from .modeling_outputs import DetectionOutput
from .ops_boxes import rescale_boxes

Features = tuple[torch.Tensor, ...]
Detections = dict[str, torch.Tensor]


class DetectionPreTrainedModel(PreTrainedModel):
    """Find objects in images; subclasses add the detector.

    Attributes:
        label_names: What the detector calls an annotation -> its name in `labels`.
        box_name: Name of the boxes in predictions.
        rescale: Moves boxes from one image size to another.
        starts: (pattern of a layer's whole name, how it starts); the first match counts.
    """

    label_names: ClassVar[dict[str, str]] = {"boxes": "boxes", "labels": "class_labels"}
    box_name: ClassVar[str] = "boxes"
    rescale: ClassVar[Any] = staticmethod(rescale_boxes)
    starts: ClassVar[tuple[tuple[str, Callable[[Any], None]], ...]]

    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        if config.backbone_config is None:
            raise ValueError(f"{type(config).__name__} has no backbone_config, which a model needs")
        self.backbone = build_backbone(config)
        channels = list(self.backbone.channels)
        if len(channels) != len(config.strides):
            raise ValueError(
                f"the backbone makes {len(channels)} maps, but {config.model_type} reads maps of "
                f"strides {list(config.strides)}"
            )

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: list[dict] | None = None,
        sizes: Sizes | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: object,
    ) -> DetectionOutput:
        """Compute losses with labels, and detections without; `predict` brings those to images.

        Args:
            pixel_values: (B, 3, H, W) float, normalised, zero outside each image's content.
            labels: B dicts with the annotations named in `label_names`: `boxes` (N, 4) xyxy and
                `class_labels` (N,); with masks also `instance_masks` (N, H, W) bool; or, for
                oriented boxes, `rotated_boxes` (N, 5) and `rotated_class_labels` (N,). And `size`,
                the content (height, width), by default the whole input.
            sizes: Content (height, width) of each image, where there are no labels.
            output_hidden_states: Whether to return those of the backbone.
            output_attentions: Whether to return those of the backbone.
            kwargs: Ignored; trainers pass `num_items_in_batch` and the like.

        Returns:
            Backbone maps and, with labels, losses by name and their sum; without labels the
            detections of the batch in pixels of the input, filled up to equal numbers.

        Raises:
            ValueError: Labels are too few, lack an annotation or name a class that is not there.
        """
        padded_size = read_size(pixel_values.shape[-2:])
        found = self._run_backbone(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        features: Features = found.feature_maps
        values: dict[str, Any]
        if labels is None:
            contents = read_sizes(sizes, [padded_size] * len(pixel_values))
            values = self._stack(self._detect(features, contents))
            values["sizes"] = torch.tensor(contents, device=pixel_values.device)
        else:
            losses = self._losses(features, self._targets(labels, len(pixel_values), padded_size))
            values = {"loss": torch.stack(list(losses.values())).sum(), "losses": losses}
        return DetectionOutput(
            **values,
            feature_maps=features,
            hidden_states=found.hidden_states,
            attentions=found.attentions,
        )

    @torch.no_grad()
    def predict(
        self,
        pixel_values: torch.Tensor,
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
    ) -> list[Detections]:
        """Detect objects, in pixels of the original images.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            sizes: Content (height, width) in the padded input; default: the whole input.
            target_sizes: (height, width) of the original images; default: `sizes`.

        Returns:
            B dicts `scores` (n,), `labels` (n,), and `boxes` (n, 4) or `rotated_boxes` (n, 5), and
            `masks` (n, height, width) bool where the model has them; best first.
        """
        contents = read_sizes(sizes, [read_size(pixel_values.shape[-2:])] * len(pixel_values))
        targets = read_sizes(target_sizes, contents, "target_sizes")
        found = self._detect(self._run_backbone(pixel_values).feature_maps, contents)
        return [self._to_image(*each) for each in zip(found, contents, targets, strict=True)]

    def _losses(self, features: Features, targets: list[dict]) -> dict[str, torch.Tensor]:
        """Compute the named losses of B targets with `size` and the keys of `label_names`.

        Subclasses define it.
        """
        raise NotImplementedError

    def _detect(self, features: Features, sizes: list[Size]) -> list[Detections]:
        """Return B dicts `scores`, `labels`, `boxes` and what else the detector finds.

        Subclasses define it.
        """
        raise NotImplementedError

    def _to_image(self, found: Detections, size: Size, target_size: Size) -> Detections:
        """Bring detections from the input to the pixels of another size."""
        return {
            "scores": found["scores"],
            "labels": found["labels"],
            self.box_name: self.rescale(found["boxes"], size, target_size),
        }

    def _run_backbone(self, pixel_values: torch.Tensor, **options: bool | None) -> Any:
        """Compute maps and check that they are where the detector looks for them."""
        found = run_backbone(self.backbone, pixel_values, self.config, **options)
        height, width = pixel_values.shape[-2:]
        for feature, stride in zip(found.feature_maps, self.config.strides, strict=True):
            rows, columns = feature.shape[-2:]
            if abs(rows * stride - height) >= stride or abs(columns * stride - width) >= stride:
                raise ValueError(
                    f"a map of {rows} x {columns} cells does not have stride {stride} in an image "
                    f"of {height} x {width}; {self.config.model_type} reads maps of strides "
                    f"{list(self.config.strides)}"
                )
        return found

    def _targets(self, labels: list[dict], num_images: int, padded_size: Size) -> list[dict]:
        """Pick what the detector learns from, checked."""
        if len(labels) != num_images:
            raise ValueError(f"{num_images} images but {len(labels)} labels")
        targets = []
        for i, label in enumerate(labels):
            missing = [name for name in self.label_names.values() if name not in label]
            if missing:
                raise ValueError(
                    f"image {label.get('image_id', i)} lacks {', '.join(missing)}, which "
                    f"{type(self).__name__} learns from"
                )
            target: dict[str, Any] = {key: label[name] for key, name in self.label_names.items()}
            targets.append({"size": read_size(label.get("size", padded_size)), **target})
        classes = torch.cat([target["labels"] for target in targets])
        num_labels: Any = self.config.num_labels
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_labels:
            raise ValueError(
                f"classes from {int(classes.min())} to {int(classes.max())} in "
                f"{self.label_names['labels']}; expected 0 to {num_labels - 1}"
            )
        return targets

    def _stack(self, found: list[Detections]) -> dict[str, Any]:
        """Fill detections up to equal numbers: score 0, class -1, boxes and masks of zeros."""
        stacked = {
            name: nn.utils.rnn.pad_sequence(
                [each[name] for each in found], True, -1 if name == "labels" else 0
            )
            for name in found[0]
        }
        return {self.box_name if name == "boxes" else name: x for name, x in stacked.items()}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start a layer outside the backbone as the original's finetuning does (spec 3.0).

        Layer by layer and by name, because transformers asks only for modules with parameters of
        their own, and how a layer starts depends on the part it belongs to.
        """
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            name = next(name for name, each in self.named_modules() if each is module)
            start = next(how for pattern, how in self.starts if re.fullmatch(pattern, name))
            start(module)
