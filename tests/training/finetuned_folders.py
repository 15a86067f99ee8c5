"""Folders of tiny finetuned networks with random weights, and what evaluation finds with them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mtp_hf.data.collate import Collate, normalize_images
from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetuning_card import gather_facts
from mtp_hf.training.finetuning_results import write_model
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import find_task, make_transforms
from tests.training.tiny_finetune import write_recipe

CLASS_NAMES = {
    "scene_classification": ["Forest", "River", "Pasture", "Highway", "Industrial", "SeaLake"],
    "horizontal_detection": ["ship", "harbor", "vehicle"],
    "rotated_detection": ["ship", "harbor", "vehicle"],
    "semantic_segmentation": ["background", "building", "road", "water"],
    "change_detection": ["unchanged", "changed"],
}
INTERNIMAGE = {
    "model": {
        "backbone": "internimage_t",
        "backbone_overrides": {
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_groups": [1, 2, 4, 8],
        },
    }
}


def metrics_of(task: str) -> dict:
    """Metrics as an evaluation gives them, with a class that nothing is known about."""
    num_classes = len(CLASS_NAMES[task])
    values = np.linspace(0.2, 0.8, num_classes)
    values[-1] = np.nan
    curve = (np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.8, 0.4]))
    names = ("accuracy", "precision", "iou", "f1", "ap50", "recall", "box_ap50", "box_ap")
    per_class = {name: values for name in names}
    common = {"per_class": per_class, "num_images": 7, "table": "class  score\nall    50.00"}
    return (
        common
        | {
            "scene_classification": {
                "accuracy": 0.5,
                "top5_accuracy": 1.0,
                "confusion": np.eye(num_classes, dtype=int),
            },
            "horizontal_detection": {
                "box_ap50": 0.61234,
                "box_ap": 0.4,
                "box_ap75": float("nan"),
                "curves": [curve] * num_classes,
            },
            "rotated_detection": {"ap50": 0.7, "curves": [curve] * num_classes},
            "semantic_segmentation": {"miou": 0.5, "mean_f1": 0.6, "overall_accuracy": 0.7},
            "change_detection": {
                "changed_f1": float("nan"),
                "changed_iou": 0.0,
                "changed_precision": float("nan"),
                "changed_recall": 0.0,
                "overall_accuracy": 0.8,
            },
        }[task]
    )


def make_finetuned(folder: Path, task: str, **sections):
    """Write `folder/model`, of the recipe of a task with sections laid over it.

    Returns:
        Recipe, network and facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(str(write_recipe(folder / "recipe.yaml", task, **sections)))
    torch.manual_seed(0)
    network = build_network(recipe, CLASS_NAMES[task]).eval()
    facts = gather_facts(
        recipe,
        CLASS_NAMES[task],
        num_images=(20, 7),
        steps=4,
        planned_steps=4,
        metrics=metrics_of(task),
    )
    write_model(recipe, network, folder / "model", facts)
    return recipe, network, facts


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Blurred noise, so that resizing has something to do."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@torch.no_grad()
def evaluate_pictures(recipe, network, *pictures: Image.Image) -> dict:
    """What an evaluation of the recipe predicts for one image, or for a pair."""
    task = find_task(recipe)
    tensors = [torch.from_numpy(np.array(each)).permute(2, 0, 1) for each in pictures]
    size = tuple(tensors[0].shape[1:])
    sample = {"image": tensors[0], "dataset": "x", "image_id": "a", "orig_size": size}
    if len(tensors) > 1:
        sample["image_post"] = tensors[1]
    sample = make_transforms(recipe, augment=False)(sample, np.random.default_rng(0))
    padded = recipe.data.image_size if "validation" in task.pads else None
    batch = Collate(padded)([sample])
    sizes = [label["size"] for label in batch["labels"]]
    inputs = {
        name: normalize_images(batch[name], sizes)
        for name in ("pixel_values", "pixel_values_post")
        if name in batch
    }
    (found,) = task.predict(network, {**inputs, "labels": batch["labels"]}, recipe)
    return found
