"""What a finetuning run leaves: metrics, pictures, the last model and the best one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from mtp_hf.conversion.folder import build_processor, written_whole
from mtp_hf.hub.bundle import save_with_code
from mtp_hf.hub.card import markdown_table
from mtp_hf.metrics.finetuning import HEADLINES, headline
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.plots import plot_losses
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.validation import PredictedImages


def write_results(
    recipe: FinetuneRecipe,
    folder: RunFolder,
    network: PreTrainedModel,
    *,
    step: int,
    metrics: Mapping[str, Any],
    kept: PredictedImages,
) -> None:
    """Write metrics, pictures and model of a run; on the main process.

    Args:
        recipe: of the run.
        folder: of the run.
        network: the trained network.
        step: optimizer steps done.
        metrics: of the last evaluation, as `TaskEvaluator.compute` gives them; may be empty.
        kept: measured images to draw.
    """
    folder.write_metrics(step=step, after=flatten_metrics(metrics), per_class=_per_class(metrics))
    if folder.log.stat().st_size:
        plot_losses(folder.log, folder.losses)
    write_model(recipe, network, folder.path / "model", step=step, metrics=metrics)


def write_best(
    recipe: FinetuneRecipe,
    folder: RunFolder,
    network: PreTrainedModel,
    *,
    step: int,
    metrics: Mapping[str, Any],
) -> None:
    """Write the model to `best/`, then what it reached into the metrics; on the main process."""
    write_model(recipe, network, folder.path / "best", step=step, metrics=metrics)
    name = headline(recipe.task)
    folder.write_metrics(best={"step": step, name: metrics[name]})


def write_model(
    recipe: FinetuneRecipe,
    network: PreTrainedModel,
    folder: Path,
    *,
    step: int,
    metrics: Mapping[str, Any],
) -> None:
    """Write config, weights, processor, code and card as one folder, whole or not at all."""
    with written_whole(folder) as work:
        processor = build_processor(type(network).__name__, recipe.data.image_size)
        save_with_code(network, processor, work)


def results_text(recipe: FinetuneRecipe, folder: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Compose what the script prints at the end: classes, headlines, files."""
    parts = []
    if metrics:
        rows = [["metric", "reached", "published"]]
        for name, heading in HEADLINES[recipe.task].items():
            published = recipe.published.get(name)
            shown = "-" if published is None else f"{published:g}"
            rows.append([heading, f"{100 * metrics[name]:.2f}", shown])
        parts += [metrics["table"], markdown_table(rows)]
    parts.append("\n".join(f"wrote {path}" for path in folder.list_written()))
    return "\n\n".join(parts)


def _per_class(metrics: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Arrays of the classes as lists, undefined values as null."""
    return {
        name: [None if np.isnan(x) else float(x) for x in np.asarray(values, dtype=float)]
        for name, values in metrics.get("per_class", {}).items()
    }
