"""Predictions and archives for the checks, and what they say."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES
from mtp_hf.submissions.checking import check_submission

POLYGON = [10, 20, 30, 20, 30, 40, 10, 40]
LINE = "1 0.5 10 20 30 20 30 40 10 40\n"


def records(kind, folder):
    """Predictions of the two images."""
    found = {"label": 0, "score": 0.5}
    made = []
    for name in ("1", "2"):
        record = {"image_id": name, "file_name": f"{name}.png", "width": 12, "height": 10}
        if kind == "loveda":
            Image.new("L", (12, 10), 6).save(folder / f"{name}_map.png")
            record["map"] = f"{name}_map.png"
        elif kind == "coco":
            record["objects"] = [{**found, "bbox": [1, 2, 3, 4]}]
        else:
            record["objects"] = [{**found, "polygon": POLYGON}] if name == "1" else []
        made.append(record)
    return made


def zipped(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def dota(**changes):
    return {f"Task1_{name}.txt": "" for name in DOTA_V1_CLASSES} | changes


def refused(path, kind, images=None):
    with pytest.raises(ValueError) as error:
        check_submission(path, kind, images)
    return str(error.value)


def png(values, mode="L"):
    content = io.BytesIO()
    Image.fromarray(np.asarray(values, dtype=np.uint8)).convert(mode).save(content, "PNG")
    return content.getvalue()
