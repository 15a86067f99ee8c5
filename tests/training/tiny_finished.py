"""Finished models without training: the tiny network of a recipe, as a run leaves it."""

from pathlib import Path

import torch

from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetuning_data import find_class_names, open_rows
from mtp_hf.training.recipe import load_recipe, recipe_to_yaml
from tests.training.tiny_finetune import write_recipe


def write_finished(folder: Path, task: str, root: Path, **sections) -> Path:
    """Write `recipe.yaml` and `model/`; returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = write_recipe(folder / "tiny.yaml", task, **sections)
    recipe = load_recipe(str(path), overrides=[f"data.root={root}"])
    torch.manual_seed(0)
    names = find_class_names(recipe, open_rows(recipe, "validation"))
    build_network(recipe, names).save_pretrained(folder / "model")
    (folder / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    return folder / "model"
