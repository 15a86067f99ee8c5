"""What is written of predictions: a line of JSON an image, maps as png, and reading it back.

A line is written when its image is done, in one piece, so that an interrupted command goes on after
the last whole line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mtp_hf.metrics.arrays import as_array
from mtp_hf.metrics.finetuning import MAPS
from mtp_hf.modeling.ops_rotated_boxes import rotated_boxes_to_polygons
from mtp_hf.pipelines.picture_folders import RESULTS_FILE

SETTINGS_FILE, MAPS_FOLDER = "settings.json", "maps"


def make_record(
    task: str, prediction: Mapping[str, Any], class_names: Sequence[str], folder: Path, stem: str
) -> dict[str, Any]:
    """Turn a prediction of an image into what JSON has; a map is written to `maps/`.

    Args:
        task: of `HEADLINES` in `mtp_hf.metrics.finetuning`.
        prediction: in pixels of the image.
        class_names: K names.
        folder: of the results.
        stem: name of the map.
    """
    if task == "scene_classification":
        scores = as_array(prediction["scores"], np.float64)
        best = int(scores.argmax())
        rounded = {name: round(float(x), 6) for name, x in zip(class_names, scores, strict=True)}
        return {"label": best, "name": class_names[best], "scores": rounded}
    if task in MAPS:
        values = as_array(prediction[MAPS[task][0]]).astype(np.uint8)
        (folder / MAPS_FOLDER).mkdir(exist_ok=True)
        path = folder / MAPS_FOLDER / f"{stem}.png"
        Image.fromarray(values).save(path)
        counts = np.bincount(values.ravel(), minlength=len(class_names)).tolist()
        return {
            "map": path.relative_to(folder).as_posix(),
            "pixels": dict(zip(class_names, counts, strict=True)),
        }
    objects = []
    labels, scores = prediction["labels"].tolist(), prediction["scores"].tolist()
    for label, score, place in zip(labels, scores, _places(prediction), strict=True):
        objects.append({"label": label, "name": class_names[label], "score": score, **place})
    return {"objects": objects}


def _places(prediction: Mapping[str, Any]) -> list[dict[str, list[float]]]:
    if "boxes" in prediction:
        boxes = prediction["boxes"].float()
        sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)  # x y w h
        return [{"bbox": [round(x, 3) for x in box]} for box in sides.tolist()]
    rotated = prediction["rotated_boxes"].float()
    polygons = rotated_boxes_to_polygons(rotated).reshape(len(rotated), 8)
    return [
        {
            "rotated_box": [*(round(x, 3) for x in box[:4]), round(box[4], 6)],
            "polygon": [round(x, 3) for x in polygon],
        }
        for box, polygon in zip(rotated.tolist(), polygons.tolist(), strict=True)
    ]


def append_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write one line."""
    with (folder / RESULTS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read all whole lines; a last one that was cut short is taken away.

    Raises:
        ValueError: a line in between is damaged.
    """
    path = folder / RESULTS_FILE
    if not path.is_file():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    records = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: no JSON ({error}); remove it") from None
    return records


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note what results are made with; where there are some, compare it with what was noted.

    Raises:
        ValueError: the folder holds results of another model, recipe or set of images.
    """
    path = folder / SETTINGS_FILE
    text = json.dumps(settings, indent=2) + "\n"
    if not read_records(folder):
        path.write_text(text, encoding="utf-8")
        return
    if not path.is_file():
        raise ValueError(f"{folder} holds results but no {SETTINGS_FILE}: take another folder")
    old = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in settings if json.loads(text)[key] != old.get(key)]
    if changed:
        raise ValueError(
            f"{folder} holds results of another {' and '.join(changed)}; take another folder with"
            " --output, or replace them with --overwrite"
        )
