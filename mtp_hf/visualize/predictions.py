"""What a model found in one image, drawn on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from mtp_hf.metrics.arrays import as_array
from mtp_hf.metrics.finetuning import MAPS
from mtp_hf.modeling.ops_boxes import rescale_boxes
from mtp_hf.modeling.ops_rotated_boxes import rescale_rotated_boxes
from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.drawing import overlay_semantic_map
from mtp_hf.visualize.samples import ALPHA, MAX_NAMES, draw_layer, draw_legend, write_names
from mtp_hf.visualize.sheets import lay_out_row
from mtp_hf.visualize.task_layers import read_layer

Rescale = Callable[[torch.Tensor, tuple[int, int], tuple[int, int]], torch.Tensor]

LONG_SIDE_PX = 1600  # larger pictures are shrunk
BACKGROUNDS = ("background", "unchanged")  # a class 0 of this name stays clear


def draw_prediction(
    task: str,
    picture: Image.Image,
    prediction: Mapping[str, Any],
    class_names: Sequence[str],
    *,
    caption: str = "",
    score_threshold: float = 0.3,
) -> Image.Image:
    """Draw a prediction.

    Args:
        task: Of `HEADLINES` in `mtp_hf.metrics.finetuning`.
        picture: The image; of a pair the second one.
        prediction: In pixels of the image.
        class_names: K names.
        caption: Above the picture.
        score_threshold: Detections below it are left out.
    """
    height, width = picture.height, picture.width
    factor = min(1.0, LONG_SIDE_PX / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    canvas = picture.convert("RGB").resize(size[::-1])
    if task == "scene_classification":
        scores = as_array(prediction["scores"], np.float64)
        best = int(scores.argmax())
        return lay_out_row(caption, [(f"{class_names[best]} {scores[best]:.2f}", canvas)])
    palette = default_palette(len(class_names))
    if task in MAPS:
        return _draw_map(canvas, as_array(prediction[MAPS[task][0]]), class_names, caption)
    kind = "rd" if "rotated_boxes" in prediction else "is"
    layer = read_layer(kind, prediction, score_threshold)
    for name, rescale in (("boxes", rescale_boxes), ("rotated_boxes", rescale_rotated_boxes)):
        boxes = getattr(layer, name)
        if boxes is not None:
            setattr(layer, name, _rescaled(boxes, rescale, (height, width), size))
    canvas, corners = draw_layer(canvas, layer, palette, scale=1)
    names = class_names if len(corners) <= MAX_NAMES else None
    write_names(canvas, layer, corners, class_names=names, palette=palette)
    classes = sorted(layer.classes())
    legend = draw_legend([class_names[each] for each in classes], palette[classes])
    words = f"{len(corners)} objects from {score_threshold:g} up"
    return lay_out_row(caption, [(words, canvas)], legend)


def _draw_map(
    canvas: Image.Image, values: np.ndarray, class_names: Sequence[str], caption: str
) -> Image.Image:
    small = Image.fromarray(values.astype(np.uint8)).resize(canvas.size, Image.Resampling.NEAREST)
    found = np.asarray(small).astype(np.int64)
    shown, first = found + 1, 0  # 0 stays clear
    if class_names[0].lower() in BACKGROUNDS:
        shown, first = np.where(found == 0, 0, shown), 1
    palette = default_palette(len(class_names))
    classes = [each for each in np.unique(found).tolist() if each >= first]
    legend = draw_legend([class_names[each] for each in classes], palette[classes])
    tinted = overlay_semantic_map(canvas, shown, palette, alpha=ALPHA)
    return lay_out_row(caption, [("prediction", tinted)], legend)


def _rescaled(
    boxes: np.ndarray, rescale: Rescale, size: tuple[int, int], target: tuple[int, int]
) -> np.ndarray:
    return rescale(torch.as_tensor(boxes).float(), size, target).numpy()
