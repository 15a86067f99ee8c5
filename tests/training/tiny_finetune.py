"""Recipes of all finetuning tasks on fakes, with the smallest networks that have every part."""

from pathlib import Path

import yaml

from tests.fakes_change import write_levir
from tests.fakes_classification import write_eurosat
from tests.fakes_detection import write_dior
from tests.fakes_segmentation import write_loveda

BACKBONE = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
DETECTOR = {
    "hidden_size": 8,
    "box_hidden_size": 16,
    "train_pre_nms": 20,
    "train_post_nms": 10,
    "test_pre_nms": 20,
    "test_post_nms": 10,
    "rpn_num_samples": 16,
    "box_num_samples": 8,
    "max_detections": 5,
}
SHORT = {
    "schedule": {"steps": 4, "batch_size": 2, "warmup_steps": 1, "kind": "cosine"},
    "optimizer": {"lr": 1.0e-3},
    "evaluation": {"every": 2, "batch_size": 2},
    "saving": {"checkpoint_every": 2, "log_every": 1},
    "efficiency": {"num_workers": 0},
}
# Task -> data, architecture and head, and what is special about the rest.
TASK_VALUES = {
    "scene_classification": (
        {"builder": "eurosat", "image_size": 112},
        {"architecture": "linear"},
        {"evaluation": {"transforms": {"resize_size": 128}}},
    ),
    "horizontal_detection": (
        {"builder": "dior", "config": "hbb", "image_size": 192, "evaluate": "test"},
        {"architecture": "faster_rcnn", "head": DETECTOR},
        {},
    ),
    "rotated_detection": (
        {"builder": "dior", "config": "obb", "image_size": 192, "evaluate": "test"},
        {"architecture": "oriented_rcnn", "head": DETECTOR},
        {"augment": {"rotate_probability": 0.0, "drop_degenerate": True}},
    ),
    "semantic_segmentation": (
        {"builder": "loveda", "image_size": 112},
        {"architecture": "upernet", "head": {"hidden_size": 8}},
        {"evaluation": {"transforms": {"image_size": [112, 112]}}},
    ),
    "change_detection": (
        {"builder": "levir_cd", "image_size": 128},
        {"architecture": "siamese_unet", "head": {"hidden_sizes": [16, 12, 8, 8]}},
        {
            "augment": {"crop_size": None, "image_size": 128},
            "evaluation": {"transforms": {"image_size": 128}},
        },
    ),
}
WRITERS = {
    "scene_classification": write_eurosat,
    "horizontal_detection": write_dior,
    "rotated_detection": write_dior,
    "semantic_segmentation": write_loveda,
    "change_detection": write_levir,
}


def write_recipe(path: Path, task: str, **sections) -> Path:
    """Write the recipe of a task; sections are laid over its values."""
    data, model, special = TASK_VALUES[task]
    values = {
        "task": task,
        "data": data,
        "model": {"backbone": "vit_t_rvsa", "backbone_overrides": BACKBONE, **model},
        **SHORT,
    }
    for extra in (special, sections):
        for name, fields in extra.items():
            values[name] = {**values.get(name, {}), **fields}
    path.write_text(yaml.safe_dump(values))
    return path
