"""What a finetuned model found, beside what was annotated: one sheet for the images of a task.

Everything is drawn at one length of the longer side, so that small scenes are legible and large
ones fit: boxes are scaled with the image, maps take the nearest pixel.
"""

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
from mtp_hf.visualize.drawing import Color, overlay_semantic_map
from mtp_hf.visualize.samples import ALPHA, MAX_NAMES, draw_layer, draw_legend, write_names
from mtp_hf.visualize.sheets import lay_out_row, stack_rows
from mtp_hf.visualize.task_layers import Layer, read_layer

SIDE_PX = 448  # longer side of every picture
SCENE_SIDE_PX = 192
SCENES_IN_A_ROW = 6
BACKGROUNDS = ("background", "unchanged")  # a class 0 of this name stays clear
IGNORED = 255
RIGHT: Color = (0, 110, 60)
WRONG: Color = (190, 0, 0)
# What happened to a pixel that changed, or was said to have, and its colour.
CHANGE_OUTCOMES = {
    "change found": (40, 190, 90),
    "change missed": (255, 140, 0),
    "false alarm": (230, 0, 120),
    "not labelled": (128, 128, 128),
}

Panel = tuple[str, Image.Image]


def draw_predictions(
    task: str,
    images: Sequence[Sequence[Any]],
    labels: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    *,
    score_threshold: float = 0.3,
) -> Image.Image:
    """Draw images with their annotations and predictions.

    Args:
        task: Of `HEADLINES` in `mtp_hf.metrics.finetuning`.
        images: For each image its pictures, one, or two for pairs, uint8 (3, H, W) as the network
            saw them, which may be padded.
        labels: Of each image: `image_id`, `size` of the content without padding, `orig_size` as
            stored, and `reference` with the annotations in pixels of the image as stored.
        predictions: Of each image, in pixels of the image as stored.
        class_names: K names, background included in maps.
        score_threshold: Detections below it are left out.

    Returns:
        A row an image; scenes lie several in a row.
    """
    if task == "scene_classification":
        return _draw_scenes(images, labels, predictions, class_names)
    draw = _DRAW_ROW[task]
    rows = []
    for pictures, label, prediction in zip(images, labels, predictions, strict=True):
        height, width = (int(side) for side in label["orig_size"])
        factor = SIDE_PX / max(height, width)
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        canvases = [_canvas(picture, label["size"], size) for picture in pictures]
        found = {**prediction, "score_threshold": score_threshold}
        panels, legend = draw(canvases, label, found, class_names)
        rows.append(lay_out_row(f"{label['image_id']}  {width} x {height}", panels, legend))
    return stack_rows(rows)


def _draw_scenes(
    images: Sequence[Sequence[Any]],
    labels: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
) -> Image.Image:
    """Lay scenes out in rows, with label, prediction and its score above each."""
    cells = []
    for (picture,), label, prediction in zip(images, labels, predictions, strict=True):
        scores = as_array(prediction["scores"], np.float64)
        best, wanted = int(scores.argmax()), int(label["reference"]["label"])
        size = label["size"]
        factor = SCENE_SIDE_PX / max(size)
        canvas = _canvas(picture, size, (round(size[0] * factor), round(size[1] * factor)))
        named = lay_out_row("", [(f"label: {class_names[wanted]}", canvas)])
        words = f"{class_names[best]} {scores[best]:.2f}"
        color = RIGHT if best == wanted else WRONG
        cells.append(lay_out_row("", [(words, named)], caption_colors=[color]))
    starts = range(0, len(cells), SCENES_IN_A_ROW)
    lines = [cells[start : start + SCENES_IN_A_ROW] for start in starts]
    return stack_rows([_side_by_side(line) for line in lines])


def _draw_objects(
    canvases: list[Image.Image],
    label: Mapping[str, Any],
    prediction: Mapping[str, Any],
    class_names: Sequence[str],
) -> tuple[list[Panel], Image.Image]:
    """Image, annotated boxes, detected boxes; upright or rotated ones."""
    (canvas,) = canvases
    kind = "rd" if "rotated_boxes" in prediction else "is"
    threshold = prediction["score_threshold"]
    truth = read_layer(kind, label["reference"])
    found = read_layer(kind, prediction, threshold)
    palette = default_palette(len(class_names))
    panels = [("image", canvas)]
    captions = (f"labels: {_count(truth)}", f"prediction: {_count(found)} from {threshold:g} up")
    for caption, layer in zip(captions, (truth, found), strict=True):
        _scale(layer, label["orig_size"], (canvas.height, canvas.width))
        picture, corners = draw_layer(canvas.copy(), layer, palette, scale=1)
        names = class_names if len(corners) <= MAX_NAMES else None
        write_names(picture, layer, corners, class_names=names, palette=palette)
        panels.append((caption, picture))
    classes = sorted(truth.classes() | found.classes())
    return panels, draw_legend([class_names[each] for each in classes], palette[classes])


def _draw_segments(
    canvases: list[Image.Image],
    label: Mapping[str, Any],
    prediction: Mapping[str, Any],
    class_names: Sequence[str],
) -> tuple[list[Panel], Image.Image]:
    """Image, annotated map, predicted map, and where they differ."""
    (canvas,) = canvases
    found, truth = _maps("semantic_segmentation", canvas, label, prediction)
    palette = default_palette(len(class_names))
    has_background = class_names[0].lower() in BACKGROUNDS
    panels = [("image", canvas)]
    for caption, values in {"labels": truth, "prediction": found}.items():
        shown = np.where(values == IGNORED, IGNORED, values + 1)  # 0 stays clear
        if has_background:
            shown[values == 0] = 0
        panels.append((caption, overlay_semantic_map(canvas, shown, palette, alpha=ALPHA)))
    known = truth != IGNORED
    wrong = known & (found != truth)
    errors = overlay_semantic_map(canvas, wrong.astype(int), np.array([WRONG]), alpha=0.7)
    share = 100 * wrong.sum() / max(1, known.sum())
    panels.append((f"errors: {share:.1f} % of the labelled pixels", errors))
    classes = sorted({int(value) for value in np.unique([found, truth])} - {IGNORED})
    classes = [each for each in classes if each or not has_background]
    return panels, draw_legend([class_names[each] for each in classes], palette[classes])


def _draw_changes(
    canvases: list[Image.Image],
    label: Mapping[str, Any],
    prediction: Mapping[str, Any],
    class_names: Sequence[str],
) -> tuple[list[Panel], Image.Image]:
    """Both dates, annotated and predicted change, and what was found, missed and made up."""
    found, truth = _maps("change_detection", canvases[0], label, prediction)
    outcomes = [
        (truth == 1) & (found == 1),
        (truth == 1) & (found == 0),
        (truth == 0) & (found == 1),
        truth == IGNORED,
    ]
    colors = np.array(list(CHANGE_OUTCOMES.values()), dtype=np.uint8)
    picture = np.zeros((*truth.shape, 3), dtype=np.uint8)
    for mask, color in zip(outcomes, colors, strict=True):
        picture[mask] = color
    gray = [np.where(values == IGNORED, 128, 255 * (values == 1)) for values in (truth, found)]
    maps = [Image.fromarray(each.astype(np.uint8)).convert("RGB") for each in gray]
    captions = ("before", "after", "labels", "prediction", "errors")
    pictures = [*canvases, *maps, Image.fromarray(picture)]
    legend = draw_legend(list(CHANGE_OUTCOMES), colors)
    return list(zip(captions, pictures, strict=True)), legend


_DRAW_ROW: dict[str, Callable[..., tuple[list[Panel], Image.Image]]] = {
    "horizontal_detection": _draw_objects,
    "rotated_detection": _draw_objects,
    "semantic_segmentation": _draw_segments,
    "change_detection": _draw_changes,
}


def _canvas(picture: Any, content: Sequence[int], size: Sequence[int]) -> Image.Image:
    """Cut the padding off (3, H, W) and bring the rest to a size (height, width)."""
    height, width = (int(side) for side in content)
    pixels = as_array(picture)[:, :height, :width].transpose(1, 2, 0)  # -> (H, W, 3)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def _maps(
    task: str, canvas: Image.Image, label: Mapping[str, Any], prediction: Mapping[str, Any]
) -> list[np.ndarray]:
    """Predicted and annotated map int64 (H, W) of the size of the canvas."""
    found, wanted = MAPS[task]
    maps = []
    for values in (prediction[found], label["reference"][wanted]):
        image = Image.fromarray(as_array(values).astype(np.uint8))
        resized = image.resize(canvas.size, Image.Resampling.NEAREST)
        maps.append(np.asarray(resized).astype(np.int64))
    return maps


def _scale(layer: Layer, size: Sequence[int], target: tuple[int, int]) -> None:
    """Bring the boxes of a layer from the image as stored to the canvas."""
    height, width = (int(side) for side in size)
    for name, rescale in (("boxes", rescale_boxes), ("rotated_boxes", rescale_rotated_boxes)):
        boxes = getattr(layer, name)
        if boxes is not None:
            moved = rescale(torch.as_tensor(boxes).float(), (height, width), target)
            setattr(layer, name, moved.numpy())


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    width, height = sum(each.width for each in pictures), max(each.height for each in pictures)
    row = Image.new("RGB", (width, height), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width
    return row


def _count(layer: Layer) -> str:
    number = 0 if layer.labels is None else len(layer.labels)
    return f"{number} object{'' if number == 1 else 's'}"
