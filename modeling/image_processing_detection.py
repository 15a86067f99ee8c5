"""Images into the input of detection models, and their output back to the pixels of the images.

Resizing, normalisation and padding are those of `MTPImageProcessor`.

    inputs = processor(images, return_tensors="pt")      # pixel_values, sizes, target_sizes
    outputs = model(**inputs)
    found = processor.post_process_object_detection(outputs, 0.5, inputs["target_sizes"])

One class for boxes and one for masks, because pipelines choose by the methods that are there.

Source: test pipelines of the original detectors (original spec 3.2, 3.3, 7.8).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor

from .image_processing_mtp import MTPImageProcessor
from .image_sizes import Size, Sizes, read_size, read_sizes
from .modeling_outputs import DetectionOutput
from .ops_boxes import rescale_boxes
from .ops_masks import paste_masks
from .ops_rotated_boxes import rescale_rotated_boxes


class DetectionImageProcessor(MTPImageProcessor):
    """Prepare images for models of boxes; arguments as `MTPImageProcessor`.

    The published detectors were trained at 800 (DIOR, DIOR-R, FAIR1M), 416 (xView) and 1024 (DOTA).
    """

    size = {"height": 800, "width": 800}

    def post_process_object_detection(
        self,
        outputs: DetectionOutput,
        threshold: float = 0.5,
        target_sizes: Sizes | None = None,
    ) -> list[dict[str, Tensor]]:
        """Bring horizontal boxes to the images.

        Args:
            outputs: Of a model without labels.
            threshold: Detections with lower or equal scores are left out.
            target_sizes: (height, width) of each image; default: of the network input's content.

        Returns:
            B dicts `scores` (n,), `labels` (n,), `boxes` (n, 4) xyxy.
        """
        return _move(outputs, "boxes", rescale_boxes, threshold, target_sizes)

    def post_process_oriented_object_detection(
        self,
        outputs: DetectionOutput,
        threshold: float = 0.5,
        target_sizes: Sizes | None = None,
    ) -> list[dict[str, Tensor]]:
        """Bring rotated boxes to the images: as above, but `rotated_boxes` (n, 5)."""
        return _move(outputs, "rotated_boxes", rescale_rotated_boxes, threshold, target_sizes)


class InstanceSegmentationImageProcessor(MTPImageProcessor):
    """Prepare images for models of masks; arguments as `MTPImageProcessor`."""

    size = {"height": 800, "width": 800}

    def post_process_instance_segmentation(
        self,
        outputs: DetectionOutput,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        target_sizes: Sizes | None = None,
        return_binary_maps: bool = False,
        **kwargs: object,
    ) -> list[dict[str, Any]]:
        """Paste masks into the images.

        Args:
            outputs: Of a model without labels.
            threshold: Detections with lower or equal scores are left out.
            mask_threshold: Probability from which a pixel belongs to the object.
            target_sizes: (height, width) of each image; default: of the network input's content.
            return_binary_maps: Whether every object has a map of its own.
            kwargs: Ignored; pipelines pass options of panoptic models.

        Returns:
            B dicts: `segmentation` (height, width) int64, number of the object or -1, the better
            score on top, or (n, height, width) bool; and `segments_info`, a list of dicts `id`,
            `label_id`, `score`.
        """
        found = _move(outputs, "boxes", rescale_boxes, threshold, target_sizes)
        sizes = outputs["sizes"] if target_sizes is None else target_sizes
        targets = [read_size(size) for size in sizes]
        results = []
        for image, (each, (height, width)) in enumerate(zip(found, targets, strict=True)):
            probs = outputs["mask_probs"][image, : len(each["boxes"])]  # best first: what is kept
            masks = paste_masks(probs, each["boxes"], (height, width), mask_threshold)
            segmentation = masks
            if not return_binary_maps:
                segmentation = torch.full((height, width), -1, device=masks.device)
                for number in reversed(range(len(masks))):
                    segmentation[masks[number]] = number
            segments = [
                {"id": number, "label_id": label, "score": score}
                for number, (label, score) in enumerate(
                    zip(each["labels"].tolist(), each["scores"].tolist(), strict=True)
                )
            ]
            results.append({"segmentation": segmentation, "segments_info": segments})
        return results


def _move(
    outputs: DetectionOutput,
    name: str,
    rescale: Callable[[Tensor, Size, Size], Tensor],
    threshold: float,
    target_sizes: Sizes | None,
) -> list[dict[str, Tensor]]:
    """Drop what fills the batch up and what scores low, and rescale the boxes called `name`."""
    if outputs.get(name) is None:
        raise ValueError(
            f"the output has no {name}: it comes from another kind of model, or from labels"
        )
    contents = [read_size(size) for size in outputs["sizes"]]
    targets = read_sizes(target_sizes, contents, "target_sizes")
    found = []
    for image, (content, target) in enumerate(zip(contents, targets, strict=True)):
        scores, labels = outputs["scores"][image], outputs["labels"][image]
        keep = (labels >= 0) & (scores > threshold)
        boxes = rescale(outputs[name][image][keep], content, target)
        found.append({"scores": scores[keep], "labels": labels[keep], name: boxes})
    return found


# Under their own names instead of a config, as `MTPImageProcessor`.
for _processor in (DetectionImageProcessor, InstanceSegmentationImageProcessor):
    AutoImageProcessor.register(
        _processor, image_processor_classes={"torchvision": _processor}, exist_ok=True
    )
