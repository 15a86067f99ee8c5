"""One network with all that turns images into its inputs, and what it finds into their pixels.

Large images are cut into windows and what is found in them is merged; images too small for the
backbone are padded.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from mtp_hf.data.collate import Collate
from mtp_hf.modeling.ops_rotated_boxes import rotated_boxes_to_polygons
from mtp_hf.pipelines.detections import (
    TILE_NMS_IOU,
    Detections,
    box_name,
    merge_detections,
    shift_detections,
)
from mtp_hf.pipelines.small_images import pad_small, smallest_side
from mtp_hf.training.augmented_prediction import predict_augmented
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.model_loading import load_network
from mtp_hf.training.prediction_sources import DETECTION, PAIR_FOLDERS, Source, WindowRule, opened
from mtp_hf.training.processes import set_up_cpu
from mtp_hf.training.tasks import find_task, make_transforms
from mtp_hf.training.validation import predict_batch
from mtp_hf.visualize.predictions import draw_prediction


def keep_visible(found: Detections, size: tuple[int, int]) -> Detections:
    """Leave out what was found beside an image, on the padding of a window, by its hull.

    Args:
        found: in pixels of the image.
        size: its height and width.
    """
    corners = found[box_name(found)].float()
    if box_name(found) == "rotated_boxes":
        corners = rotated_boxes_to_polygons(corners)
    x, y = corners.unflatten(-1, (-1, 2)).unbind(-1)  # (N, 4 or 8) -> (N, corners) each
    height, width = size
    visible = (x > 0).any(1) & (x < width).any(1) & (y > 0).any(1) & (y < height).any(1)
    return {key: values[visible] for key, values in found.items()}


class Predictor:
    """A model with all that turns images into its inputs.

    Args:
        recipe: task and settings of evaluation.
        model: folder of the model.
        class_names: K names.
        rule: how images are cut; None: whole.
    """

    def __init__(
        self,
        recipe: FinetuneRecipe,
        model: Path,
        class_names: Sequence[str],
        rule: WindowRule | None,
    ) -> None:
        self.recipe, self.class_names, self.rule = recipe, class_names, rule
        self.task = find_task(recipe)
        self.accelerator = Accelerator(mixed_precision=recipe.efficiency.mixed_precision)
        set_up_cpu(self.accelerator, recipe)
        network: Any = load_network(model, recipe, class_names)
        self.network = network.to(self.accelerator.device)
        self.smallest = smallest_side(network.config)
        self.transforms = make_transforms(recipe, augment=False)
        is_padded = "validation" in self.task.pads
        self.collate = Collate(recipe.data.image_size if is_padded else None)

    def predict(self, source: Source) -> tuple[tuple[int, int], dict[str, Any]]:
        """Predict an image.

        Returns:
            Its (height, width), and what was found in its pixels.
        """
        with opened(source, self.rule, self.recipe.data.builder) as (size, samples):
            parts = list(self._parts(samples))
        found = parts[0]
        if self.rule is not None:
            is_rotated = box_name(found) == "rotated_boxes"
            threshold = TILE_NMS_IOU if is_rotated else self.network.config.nms_iou
            found = merge_detections(parts, threshold)
        return size, keep_visible(found, size) if self.recipe.task in DETECTION else found

    def _parts(self, samples: Iterable[tuple[Any, Any]]) -> Iterable[dict[str, Any]]:
        """Predict windows in batches, detections in pixels of the image."""
        waiting = iter(samples)
        while batch := list(islice(waiting, self.recipe.evaluation.batch_size)):
            rng = np.random.default_rng(0)  # transforms of evaluation draw nothing
            ready = [self._padded(self.transforms(sample, rng)) for _, sample in batch]
            found = predict_batch(
                self.accelerator, self.network, self.collate(ready), self._predict
            )
            for (window, _), each in zip(batch, found, strict=True):
                yield each if self.rule is None else shift_detections(each, window.x, window.y)

    def _padded(self, sample: Any) -> Any:
        """Pad a sample that is too small for the backbone; `size` stays that of its content."""
        pictures = {
            key: pad_small(sample[key], self.smallest) for key in PAIR_FOLDERS.keys() & sample
        }
        return {"size": tuple(sample["image"].shape[1:]), **sample, **pictures}

    def _predict(self, network: Any, inputs: Any) -> list[dict[str, Any]]:
        recipe = self.recipe
        if any(min(label["size"]) < self.smallest for label in inputs["labels"]):
            whole = dataclasses.replace(recipe.evaluation, window=None, stride=None)
            recipe = dataclasses.replace(recipe, evaluation=whole)  # windows have no padding
        return predict_augmented(self.task.predict, network, inputs, recipe)

    def draw(self, source: Source, found: dict[str, Any]) -> Image.Image:
        """Draw what was found; of a pair on the second date."""
        with opened(source, None, self.recipe.data.builder) as (_, samples):
            _, sample = next(iter(samples))
        pixels: torch.Tensor = sample.get("image_post", sample["image"])
        picture = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
        names, task = self.class_names, self.recipe.task
        return draw_prediction(task, picture, found, names, caption=source.image_id)
