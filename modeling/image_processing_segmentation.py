"""Images into the input of models that label pixels, and their output to label maps of the images.

Arithmetic of `MTPImageProcessor`, but images are brought to a fixed size without keeping their
aspect ratio, or with `do_resize=False` left as they are, and nothing is padded.

    inputs = processor(images, return_tensors="pt")      # pixel_values, sizes, target_sizes
    outputs = model(pixel_values=inputs["pixel_values"])
    maps = processor.post_process_semantic_segmentation(outputs, inputs["target_sizes"])

Source: test pipelines of the original's segmentation and change detection (spec 3.4, 3.5).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import AutoImageProcessor, BatchFeature

from .image_processing_mtp import MTPImageProcessor
from .modeling_outputs import DensePredictionOutput

TargetSizes = Tensor | Sequence[Sequence[int]] | None


class SegmentationImageProcessor(MTPImageProcessor):
    """Prepare images for semantic segmentation; arguments as `MTPImageProcessor`.

    The published models were trained at 512 (LoveDA) and 384 (SpaceNet); tests at the native size
    take `do_resize=False` and windows in `model.predict`.
    """

    size = {"height": 512, "width": 512}
    keep_aspect_ratio = False
    do_pad = False

    def post_process_semantic_segmentation(
        self, outputs: DensePredictionOutput, target_sizes: TargetSizes = None
    ) -> list[Tensor]:
        """Choose the best class of every pixel, at the resolution of the images.

        Args:
            outputs: With `logits` (B, K, h, w) of inputs without padding.
            target_sizes: (height, width) of each image; default: of the logits.

        Returns:
            B label maps int64 of the target sizes.
        """
        return _label_maps(outputs.logits, target_sizes)


class ChangeDetectionImageProcessor(MTPImageProcessor):
    """Prepare pairs of images for change detection; arguments as `MTPImageProcessor`."""

    size = {"height": 256, "width": 256}
    keep_aspect_ratio = False
    do_pad = False
    model_input_names = ["pixel_values", "pixel_values_post", "sizes"]

    def __call__(  # type: ignore[override]
        self, images: Any, images_post: Any, **kwargs: Any
    ) -> BatchFeature:
        """Prepare both images of each pair alike.

        Args:
            images: One image before, or several.
            images_post: As many after, of the same sizes.
            kwargs: Options of the processor.

        Returns:
            `pixel_values` and `pixel_values_post` (B, 3, H, W), `sizes` and `target_sizes`.

        Raises:
            ValueError: The images before and after differ in number or size.
        """
        inputs = super().__call__(images, **kwargs)
        after = super().__call__(images_post, **kwargs)
        before_sizes, after_sizes = (
            [tuple(int(side) for side in size) for size in each["target_sizes"]]
            for each in (inputs, after)
        )
        if before_sizes != after_sizes:
            raise ValueError(
                f"images before are {before_sizes}, but images after are {after_sizes}; expected "
                "pairs of one size"
            )
        inputs["pixel_values_post"] = after["pixel_values"]
        return inputs

    def post_process_change_detection(
        self, outputs: DensePredictionOutput, target_sizes: TargetSizes = None
    ) -> list[Tensor]:
        """Tell the class of every pixel, 1 = changed; as the post-processing of segmentation."""
        return _label_maps(outputs.logits, target_sizes)


def _label_maps(logits: Tensor | None, target_sizes: TargetSizes) -> list[Tensor]:
    if logits is None:
        raise ValueError("the output has no logits: it comes from another kind of model")
    if target_sizes is None:
        return list(logits.argmax(dim=1))
    if len(target_sizes) != len(logits):
        raise ValueError(f"{len(logits)} images but {len(target_sizes)} target_sizes")
    maps = []
    for each, (height, width) in zip(logits, target_sizes, strict=True):
        size = (int(height), int(width))
        resized = F.interpolate(each[None].float(), size, mode="bilinear", align_corners=False)
        maps.append(torch.argmax(resized[0], dim=0))  # (K, h, w) -> (h, w)
    return maps


# Under their own names instead of a config, as `MTPImageProcessor`.
for _processor in (SegmentationImageProcessor, ChangeDetectionImageProcessor):
    AutoImageProcessor.register(
        _processor, image_processor_classes={"torchvision": _processor}, exist_ok=True
    )
