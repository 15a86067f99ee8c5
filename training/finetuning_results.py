"""What a finetuning run leaves: metrics, pictures, the last model and the best one."""

import dataclasses
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from mtp_hf.conversion.folder import written_whole
from mtp_hf.dataset_scripts.demo import example_picture
from mtp_hf.hub.bundle import BEST, MODEL, save_with_code
from mtp_hf.hub.card import EXAMPLE_FILE, markdown_table
from mtp_hf.hub.finetuned_card import FinetunedFacts, render_finetuned_card
from mtp_hf.metrics.finetuning import HEADLINES, headline
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_card import evaluation_processor
from mtp_hf.training.low_rank import plain_network
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.validation import PredictedImages
from mtp_hf.visualize.loss_curves import plot_losses
from mtp_hf.visualize.metric_plots import plot_class_bars, plot_confusion, plot_precision_recall
from mtp_hf.visualize.task_sheets import draw_predictions

PREDICTIONS, CONFUSION, CURVES = "predictions.png", "confusion.png", "curves.png"
# Picture -> title on the card; predictions stay at home, for they show the data set.
PICTURES = {"losses.png": "Losses", CONFUSION: "Confusion", CURVES: "Classes"}


def write_results(
    recipe: FinetuneRecipe,
    folder: RunFolder,
    network: PreTrainedModel,
    *,
    facts: FinetunedFacts,
    kept: PredictedImages,
) -> None:
    """Write metrics, pictures and model of a run; on the main process.

    Args:
        recipe: of the run.
        folder: of the run.
        network: the trained network.
        facts: what the card tells, with the metrics of the last evaluation.
        kept: measured images to draw.
    """
    metrics = facts.metrics
    folder.write_metrics(
        step=facts.steps, after=flatten_metrics(metrics), per_class=class_lists(metrics)
    )
    if folder.log.stat().st_size:
        plot_losses(folder.log, folder.losses)
    if metrics:
        draw_results(facts, folder.path, kept)
    shown = {t: name for name, t in PICTURES.items() if (folder.path / name).is_file()}
    facts = dataclasses.replace(facts, pictures=shown)
    write_model(recipe, network, folder.path / MODEL, facts, pictures=folder.path)


def draw_results(facts: FinetunedFacts, folder: Path, kept: PredictedImages) -> list[Path]:
    """Draw predictions, and the confusion or the curves of the classes.

    Args:
        facts: task, class names and metrics.
        folder: gets the pictures.
        kept: measured images; none are drawn where there are none.

    Returns:
        The files written.
    """
    files = []
    if kept.images:
        columns = [kept.images, kept.images_post] if kept.images_post else [kept.images]
        images = list(zip(*columns, strict=True))
        names, file = facts.class_names, folder / PREDICTIONS
        draw_predictions(facts.task, images, kept.labels, kept.predictions, names).save(file)
        files.append(file)
    classes, names = facts.metrics["per_class"], facts.class_names
    if "confusion" in facts.metrics and facts.task == "scene_classification":
        files.append(plot_confusion(facts.metrics["confusion"], names, folder / CONFUSION))
    elif "curves" in facts.metrics:
        precision = next(classes[name] for name in ("box_ap50", "ap50") if name in classes)
        curves = facts.metrics["curves"]
        files.append(plot_precision_recall(curves, precision, names, folder / CURVES))
    else:
        values = {"IoU": classes["iou"], "F1": classes["f1"]}
        files.append(plot_class_bars(values, names, folder / CURVES))
    return files


def write_best(
    recipe: FinetuneRecipe, folder: RunFolder, network: PreTrainedModel, facts: FinetunedFacts
) -> None:
    """Write the model to `best/`, then what it reached into the metrics; on the main process."""
    write_model(recipe, network, folder.path / BEST, facts)
    name = headline(recipe.task)
    value = facts.metrics[name]
    reached = None if math.isnan(value) else value
    folder.write_metrics(best={"step": facts.steps, name: reached})


def write_model(
    recipe: FinetuneRecipe,
    network: PreTrainedModel,
    folder: Path,
    facts: FinetunedFacts,
    *,
    pictures: Path | None = None,
) -> None:
    """Write config, weights, processor, code and card as one folder, whole or not at all.

    Args:
        recipe: of the run.
        network: to write.
        folder: where to.
        facts: what the card tells.
        pictures: folder of the pictures that the facts name.
    """
    with written_whole(folder) as work:
        save_with_code(plain_network(network), evaluation_processor(recipe), work)
        card = render_finetuned_card(facts, folder.name)
        (work / "README.md").write_text(card, encoding="utf-8")
        for name in facts.pictures.values() if pictures else ():
            shutil.copyfile(pictures / name, work / name)
        example_picture().save(work / EXAMPLE_FILE)


def results_text(facts: FinetunedFacts, folder: RunFolder) -> str:
    """Compose what the script prints at the end: classes, headlines, files."""
    parts = []
    if facts.metrics:
        rows = [["metric", "reached", "published"]]
        for name, heading in HEADLINES[facts.task].items():
            published = facts.published.get(name)
            shown = "-" if published is None else f"{published:g}"
            rows.append([heading, f"{100 * facts.metrics[name]:.2f}", shown])
        parts += [facts.metrics["table"], markdown_table(rows)]
    parts.append("\n".join(f"wrote {path}" for path in folder.list_written()))
    return "\n\n".join(parts)


def class_lists(metrics: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Arrays of the classes as lists, undefined values as null."""
    return {
        name: [None if np.isnan(x) else float(x) for x in np.asarray(values, dtype=float)]
        for name, values in metrics.get("per_class", {}).items()
    }
