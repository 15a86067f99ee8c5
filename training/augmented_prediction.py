"""Test-time augmentation: predictions of several views of an image, brought together.

A view is the image resized and mirrored. What is found in it is mirrored back: detections in pixels
of the image as stored, where views are merged by (rotated) NMS inside each class; maps and scenes
by the mean of their probabilities. All views of a batch have its canvas, grown or shrunk.

Source: test-time augmentation of mmsegmentation 1.0, mmdetection 3.1 and mmrotate 1.0 (mean of
probabilities; NMS with the threshold of the model).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mtp_hf.metrics.finetuning import MAPS
from mtp_hf.pipelines.detections import BOX_NAMES, flip_detections, merge_detections
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import Inputs
from mtp_hf.training.tasks import sizes_of, windows_of

PICTURES = ("pixel_values", "pixel_values_post")
AXES = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}
DIVISOR = 32

Predictions = list[dict[str, Any]]
Predict = Callable[[Any, Inputs, FinetuneRecipe], Predictions]


def predict_augmented(
    predict: Predict, network: Any, inputs: Inputs, recipe: FinetuneRecipe
) -> Predictions:
    """Predict all views that a recipe wants; its only view is mostly the image itself.

    Args:
        predict: of the task.
        network: to predict with.
        inputs: batch on the device; `labels` have `size` and `orig_size`.
        recipe: `evaluation.scales` and `evaluation.flips`.

    Returns:
        For each image what `predict` gives.
    """
    scales, flips = recipe.evaluation.scales, recipe.evaluation.flips
    if tuple(scales) == (1.0,) and not flips:
        return predict(network, inputs, recipe)
    map_name = MAPS[recipe.task][0] if recipe.task in MAPS else None
    views = []
    for scale in scales:
        for direction in (None, *dict.fromkeys(flips)):
            view = make_view(inputs, scale, direction)
            found = (_predict_scores if map_name else predict)(network, view, recipe)
            pairs = zip(found, inputs["labels"], strict=True)
            views.append([_turn_back(each, label["orig_size"], direction) for each, label in pairs])
    merged = [_merge(list(found), network) for found in zip(*views, strict=True)]
    if map_name is None:
        return merged
    return [{map_name: each["scores"].argmax(dim=0)} for each in merged]


def make_view(inputs: Inputs, scale: float, direction: str | None) -> Inputs:
    """Resize and mirror the content of each image; the rest of the canvas is zero, as before.

    Args:
        inputs: batch, see `predict_augmented`.
        scale: factor on the sides.
        direction: `horizontal`, `vertical`, `diagonal`, or None.

    Returns:
        A batch whose labels have the new `size`.
    """
    if scale == 1.0 and direction is None:
        return inputs
    sizes = [_scaled(label["size"], scale) for label in inputs["labels"]]
    view = dict(inputs)
    for name in (each for each in PICTURES if each in inputs):
        height, width = inputs[name].shape[-2:]
        canvas = inputs[name].new_zeros((*inputs[name].shape[:2], *_canvas(height, width, scale)))
        for index, (label, size) in enumerate(zip(inputs["labels"], sizes, strict=True)):
            rows, columns = label["size"]
            content = inputs[name][index, None, :, :rows, :columns]
            if size != (rows, columns):
                content = F.interpolate(content, size, mode="bilinear", align_corners=False)
            canvas[index, :, : size[0], : size[1]] = _mirror(content[0], direction)
        view[name] = canvas
    pairs = zip(inputs["labels"], sizes, strict=True)
    return {**view, "labels": [{**label, "size": size} for label, size in pairs]}


def _predict_scores(network: Any, view: Inputs, recipe: FinetuneRecipe) -> Predictions:
    """Probabilities of the classes of every pixel, (K, h, w) of each image."""
    pictures = tuple(view[name] for name in PICTURES if name in view)
    logits = network.predict_logits(pictures, *sizes_of(view), **windows_of(recipe))
    return [{"scores": each.softmax(dim=0)} for each in logits]


def _turn_back(prediction: dict[str, Any], size: Any, direction: str | None) -> dict[str, Any]:
    """Mirror what was found in a view; scenes look the same from every side."""
    if direction is None:
        return prediction
    if any(name in prediction for name in BOX_NAMES):
        height, width = (int(side) for side in size)
        return flip_detections(prediction, (height, width), direction)
    scores = prediction["scores"]
    return {"scores": _mirror(scores, direction) if scores.dim() == 3 else scores}


def _merge(found: list[dict[str, Any]], network: Any) -> dict[str, Any]:
    if any(name in found[0] for name in BOX_NAMES):
        return merge_detections(found, network.config.nms_iou, network.config.max_detections)
    return {"scores": torch.stack([each["scores"] for each in found]).mean(dim=0)}


def _mirror(pixels: Tensor, direction: str | None) -> Tensor:
    return pixels if direction is None else pixels.flip(AXES[direction])


def _scaled(size: Any, scale: float) -> tuple[int, int]:
    height, width = (max(1, int(int(side) * scale + 0.5)) for side in size)
    return height, width


def _canvas(height: int, width: int, scale: float) -> tuple[int, int]:
    """Canvas of a view; at scale 1 that of the batch."""
    if scale == 1.0:
        return height, width
    rows, columns = (math.ceil(side * scale / DIVISOR) * DIVISOR for side in (height, width))
    return rows, columns
