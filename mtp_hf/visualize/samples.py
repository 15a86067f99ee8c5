"""Pictures of samples: what was annotated, what was predicted, and sheets with both.

What is unusual: small images are enlarged first, so that names are legible; a class has the same
colour in maps, masks, boxes and turned boxes.

The tasks are `ss` (semantic map), `is` (instances) and `rd` (turned boxes).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mtp_hf.metrics.arrays import as_array
from mtp_hf.metrics.pretraining import crop_labels
from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.drawing import (
    Color,
    NamePlates,
    draw_boxes,
    draw_rotated_boxes,
    enlarge,
    load_font,
    overlay_masks,
    overlay_semantic_map,
)
from mtp_hf.visualize.sheets import lay_out_row, stack_rows
from mtp_hf.visualize.task_layers import Layer, read_layer

MIN_SIDE_PX = 384
ALPHA = 0.45  # opacity of maps and masks
TASK_NAMES = {"ss": "semantic map", "is": "instances", "rd": "turned boxes"}
MAX_NAMES = 12  # beside a legend
LEGEND_FONT_PX = 13
LEGEND_LINE_PX = 18


def draw_layer(
    picture: Image.Image, layer: Layer, palette: np.ndarray, *, scale: int
) -> tuple[Image.Image, list[tuple[float, float]]]:
    """Draw what one task adds, without names.

    Args:
        picture: Canvas.
        layer: Map, instances or turned boxes.
        palette: uint8 (K, 3).
        scale: Size of the canvas over that of the image.

    Returns:
        The picture, and for each object where its name may stand on.
    """
    if layer.semantic_map is not None:
        return overlay_semantic_map(picture, layer.semantic_map, palette, alpha=ALPHA), []
    if layer.labels is None:
        return picture, []
    colors = class_colors(layer.labels, palette)
    if layer.masks is not None:
        picture = overlay_masks(picture, layer.masks, colors, alpha=ALPHA)
    if layer.boxes is not None:
        return picture, draw_boxes(picture, layer.boxes, colors, scale=scale)
    assert layer.rotated_boxes is not None
    return picture, draw_rotated_boxes(picture, layer.rotated_boxes, colors, scale=scale)


def write_names(
    picture: Image.Image,
    layer: Layer,
    corners: Sequence[tuple[float, float]],
    *,
    class_names: Sequence[str] | None,
    palette: np.ndarray,
) -> None:
    """Write class and score beside each object, the best first: it has its choice of places.

    Args:
        picture: Canvas, drawn upon in place.
        layer: Instances or turned boxes.
        corners: Where the names may stand on.
        class_names: K names; None writes the scores only.
        palette: uint8 (K, 3).
    """
    plates = NamePlates(picture)
    if layer.labels is None:
        return
    colors = class_colors(layer.labels, palette)
    for index in reversed(range(len(corners))):
        words = [class_names[int(layer.labels[index])]] if class_names is not None else []
        words += [f"{layer.scores[index]:.2f}"] if layer.scores is not None else []
        if words:
            plates.write(" ".join(words), corners[index], colors[index])


def class_colors(labels: np.ndarray, palette: np.ndarray) -> list[Color]:
    """Look up the colour of each object.

    Args:
        labels: Classes (N,).
        palette: uint8 (K, 3).

    Returns:
        N colours as Pillow takes them.
    """
    return [(int(red), int(green), int(blue)) for red, green, blue in palette[labels]]


def draw_sample(
    image: Any,
    annotations: Mapping[str, Any],
    class_names: Sequence[str],
    *,
    tasks: Sequence[str] = ("ss", "is", "rd"),
    palette: np.ndarray | None = None,
    scale: int | None = None,
    score_threshold: float = 0.3,
    max_names: int | None = None,
) -> Image.Image:
    """Draw an image with its labels or predictions.

    Args:
        image: uint8 (3, H, W).
        annotations: Labels of a sample, a prediction of one task, or `{task: prediction}`; maps
            and masks of the size of the image.
        class_names: K names, without background.
        tasks: What to draw, in this order. Names are written once: for instances where they are
            drawn, else for turned boxes.
        palette: Colours of the classes, uint8 (K, 3).
        scale: Integer enlargement; by default such that the longer side has at least 384 pixels.
        score_threshold: Detections below it are left out.
        max_names: Where there are more objects, names would hide them: only scores are written.

    Returns:
        RGB picture of H * scale by W * scale pixels.

    Raises:
        ValueError: If a map or mask differs in size from the image.
    """
    pixels = as_array(image)
    scale = scale or default_scale(pixels.shape[1:])
    palette = default_palette(len(class_names)) if palette is None else np.asarray(palette)
    picture = enlarge(pixels, scale)
    named: tuple[Layer, list[tuple[float, float]]] = (Layer(), [])
    for task in tasks:
        layer = read_layer(task, annotations, score_threshold)
        for grid in (layer.semantic_map, layer.masks):
            if grid is not None and grid.shape[-2:] != pixels.shape[1:]:
                raise ValueError(
                    f"{TASK_NAMES[task]} of {grid.shape[-2:]} on an image of {pixels.shape[1:]}"
                )
        picture, corners = draw_layer(picture, layer, palette, scale=scale)
        if corners and (task == "is" or not named[1]):
            named = (layer, corners)
    is_crowded = max_names is not None and len(named[1]) > max_names
    shown_names = None if is_crowded else class_names
    write_names(picture, *named, class_names=shown_names, palette=palette)
    return picture


def default_scale(size: Sequence[int]) -> int:
    """Choose the enlargement that gives the longer side at least `MIN_SIDE_PX` pixels.

    Args:
        size: Height and width.

    Returns:
        Integer of at least 1.
    """
    return max(1, math.ceil(MIN_SIDE_PX / max(size)))


def draw_comparison(
    images: Sequence[Any],
    references: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Mapping[str, Any]]],
    class_names: Mapping[str, Sequence[str]],
    folder: str | Path,
    *,
    palettes: Mapping[str, np.ndarray] | None = None,
    score_threshold: float = 0.3,
) -> list[Path]:
    """Write one sheet a task: a row an image, with the image, its labels and its prediction.

    Args:
        images: uint8 (3, H, W), which may be padded.
        references: Labels of each image, with `dataset`, `image_id` and `size`.
        predictions: `{task: prediction}` of each image, in pixels of the image without padding.
        class_names: For each data set its K names.
        folder: Gets `predictions_ss.png`, `predictions_is.png` and `predictions_rd.png`, those
            of the tasks that occur.
        palettes: For each data set the colours of its classes, uint8 (K, 3).
        score_threshold: Detections below it are left out.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for task in TASK_NAMES:
        rows = []
        for image, labels, prediction in zip(images, references, predictions, strict=True):
            if task in prediction:
                dataset = labels["dataset"]
                palette = (palettes or {}).get(dataset, default_palette(len(class_names[dataset])))
                rows.append(
                    _draw_row(
                        as_array(image),
                        labels,
                        prediction,
                        class_names=class_names[dataset],
                        task=task,
                        palette=palette,
                        score_threshold=score_threshold,
                    )
                )
        if rows:
            files.append(folder / f"predictions_{task}.png")
            stack_rows(rows).save(files[-1])
    return files


def draw_legend(names: Sequence[str], colors: np.ndarray) -> Image.Image:
    """Draw a line a class: its colour and its name.

    Args:
        names: K names.
        colors: uint8 (K, 3).

    Returns:
        Picture on white, as wide as the longest name.
    """
    font = load_font(LEGEND_FONT_PX)
    width = max([math.ceil(font.getlength(name)) for name in names], default=0) + 24
    legend = Image.new("RGB", (width, LEGEND_LINE_PX * len(names)), "white")
    pen = ImageDraw.Draw(legend)
    for line, (name, color) in enumerate(zip(names, colors, strict=True)):
        middle = (line + 0.5) * LEGEND_LINE_PX
        pen.rectangle((0, middle - 6, 12, middle + 6), fill=tuple(color.tolist()))
        pen.text((18, middle), name, fill="black", font=font, anchor="lm")
    return legend


def _draw_row(
    image: np.ndarray,
    labels: Mapping[str, Any],
    prediction: Mapping[str, Any],
    *,
    class_names: Sequence[str],
    task: str,
    palette: np.ndarray,
    score_threshold: float,
) -> Image.Image:
    """Draw the title, image, labels, prediction and legend of one image."""
    labels = crop_labels(labels)
    image = image[:, : int(labels["size"][0]), : int(labels["size"][1])]
    truth = read_layer(task, labels)
    found = read_layer(task, prediction, score_threshold)
    pictures = [
        draw_sample(
            image,
            source,
            class_names,
            tasks=tasks,
            palette=palette,
            score_threshold=score_threshold,
            max_names=MAX_NAMES,
        )
        for source, tasks in ((labels, ()), (labels, (task,)), (prediction, (task,)))
    ]
    captions = ["image", "labels", "prediction"]
    if task != "ss":
        captions[1] += f": {_count(truth)}"
        captions[2] += f": {_count(found)} with a score of {score_threshold:g} or more"
    classes = sorted(truth.classes() | found.classes())
    legend = draw_legend([class_names[label] for label in classes], palette[classes])
    title = f"{labels['dataset']}  {labels['image_id']}  {TASK_NAMES[task]}"
    return lay_out_row(title, list(zip(captions, pictures, strict=True)), legend)


def _count(layer: Layer) -> str:
    """Say how many objects a layer has."""
    number = 0 if layer.labels is None else len(layer.labels)
    return f"{number} object{'' if number == 1 else 's'}"
