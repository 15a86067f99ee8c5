"""Images into the input of models that label pixels, and their output to label maps of the images.

Arithmetic of `MTPImageProcessor`, but images are brought to a fixed size without keeping their
aspect ratio, or with `do_resize=False` left as they are. Right and bottom are padded to multiples
of 32, as in evaluation; post-processing takes the padding off.

    inputs = processor(images, return_tensors="pt")      # pixel_values, sizes, target_sizes
    outputs = model(**inputs)
    maps = processor.post_process_semantic_segmentation(outputs, inputs["target_sizes"])

Source: test pipelines of the original's segmentation and change detection (spec 3.4, 3.5).
"""

from typing import Any

from torch import Tensor
from transformers import AutoImageProcessor, BatchFeature

from .image_processing_mtp import MTPImageProcessor
from .image_sizes import Sizes, read_size, read_sizes
from .modeling_outputs import DensePredictionOutput
from .ops_label_maps import resize_bilinear, resize_logits


class SegmentationImageProcessor(MTPImageProcessor):
    """Prepare images for semantic segmentation; arguments as `MTPImageProcessor`.

    The published models were trained at 512 (LoveDA) and 384 (SpaceNet); tests at the native size
    take `do_resize=False` and windows in `model.predict`.
    """

    size = {"height": 512, "width": 512}
    keep_aspect_ratio = False

    def post_process_semantic_segmentation(
        self, outputs: DensePredictionOutput, target_sizes: Sizes | None = None
    ) -> list[Tensor]:
        """Choose the best class of every pixel, at the resolution of the images.

        Args:
            outputs: With `logits` (B, K, h, w), and with `sizes` where inputs were padded:
                `model(**inputs)` has them.
            target_sizes: (height, width) of each image; default: of the inputs' contents, and of
                the logits where the output does not know them.

        Returns:
            B label maps int64 of the target sizes.
        """
        return _label_maps(outputs, target_sizes)


class ChangeDetectionImageProcessor(MTPImageProcessor):
    """Prepare pairs of images for change detection; arguments as `MTPImageProcessor`."""

    size = {"height": 256, "width": 256}
    keep_aspect_ratio = False
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
        self, outputs: DensePredictionOutput, target_sizes: Sizes | None = None
    ) -> list[Tensor]:
        """Tell the class of every pixel, 1 = changed; as the post-processing of segmentation."""
        return _label_maps(outputs, target_sizes)


def _label_maps(outputs: DensePredictionOutput, target_sizes: Sizes | None) -> list[Tensor]:
    """Choose classes as `model.predict` does where the output knows the sizes of the inputs."""
    logits = outputs.get("logits")
    if logits is None:
        raise ValueError("the output has no logits: it comes from another kind of model")
    contents = outputs.get("sizes")
    if contents is not None:
        padded = read_size(outputs["padded_sizes"][0])
        sizes = [read_size(size) for size in contents]
        targets = read_sizes(target_sizes, sizes, "target_sizes")
        return [each.argmax(dim=0) for each in resize_logits(logits, padded, sizes, targets)]
    if target_sizes is None:
        return list(logits.argmax(dim=1))
    targets = read_sizes(target_sizes, [(0, 0)] * len(logits), "target_sizes")
    return [
        resize_bilinear(each[None].float(), size)[0].argmax(dim=0)
        for each, size in zip(logits, targets, strict=True)
    ]


# Under their own names instead of a config, as `MTPImageProcessor`.
for _processor in (SegmentationImageProcessor, ChangeDetectionImageProcessor):
    AutoImageProcessor.register(
        _processor, image_processor_classes={"torchvision": _processor}, exist_ok=True
    )
