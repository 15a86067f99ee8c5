"""What a run leaves when it ends: metrics, pictures and the two networks with their cards."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.logging import get_logger

from mtp_hf.hub.bundle import save_bundle
from mtp_hf.hub.card import RunFacts, SourceFacts, library_versions, markdown_table, metric_rows
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training.pretrain_schema import DEMO_ROOT, Recipe
from mtp_hf.training.recipe import recipe_to_yaml, without_paths
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.validation import PredictedImages
from mtp_hf.visualize.loss_curves import plot_losses
from mtp_hf.visualize.samples import draw_comparison

logger = get_logger(__name__)

# Picture -> title on the cards.
PICTURES = {
    "losses.png": "Losses",
    "predictions_ss.png": "Semantic maps",
    "predictions_is.png": "Instances",
    "predictions_rd.png": "Rotated boxes",
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run has to show: metrics of the untrained and trained network, folder of pictures."""

    before: Mapping[str, float] = dataclasses.field(default_factory=dict)
    after: Mapping[str, float] = dataclasses.field(default_factory=dict)
    pictures: Path | None = None


def write_results(
    recipe: Recipe,
    folder: RunFolder,
    network: MTPForPreTraining,
    *,
    step: int,
    metrics: Mapping[str, Any],
    kept: PredictedImages,
    num_images: Mapping[str, tuple[int, int]],
) -> None:
    """Write metrics, pictures and bundle of a run; on the main process.

    Args:
        recipe: of the run.
        folder: of the run.
        network: the trained network.
        step: optimizer steps done.
        metrics: of the last validation, as `PretrainingEvaluator.compute` gives them.
        kept: validation images to draw.
        num_images: training and validation images of each source.
    """
    after = flatten_metrics(metrics)
    folder.write_metrics(step=step, after=after, per_class=_per_class(network, metrics))
    if folder.log.stat().st_size:
        plot_losses(folder.log, folder.losses)
    draw_comparison(
        kept.images, kept.labels, kept.predictions, network.config.class_names, folder.path
    )
    measured = Measured(folder.read_metrics().get("before", {}), after, folder.path)
    save_bundle(network, folder.path, _facts(recipe, network, step, num_images, measured))


def write_snapshot(
    recipe: Recipe,
    folder: Path,
    *,
    network: MTPForPreTraining,
    step: int,
    num_images: Mapping[str, tuple[int, int]],
) -> None:
    """Write the bundle of a run that goes on, without metrics and pictures; on the main process."""
    save_bundle(network, folder, _facts(recipe, network, step, num_images, Measured()))


def results_text(folder: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Compose what the script prints at the end: classes, table before and after, files."""
    saved = folder.read_metrics()
    parts = [f"{dataset}\n{table}" for dataset, table in metrics["tables"].items()]
    parts.append(markdown_table(metric_rows(saved.get("before", {}), saved["after"])))
    parts.append("\n".join(f"wrote {path}" for path in folder.list_written()))
    return "\n\n".join(parts)


def metric_words(metrics: Mapping[str, float]) -> str:
    """Write the pooled metrics in one line."""
    rows = metric_rows({}, metrics)[1:]
    return ", ".join(f"{heading} {value}" for name, heading, value in rows if name == "pooled")


def describe_network(network: MTPForPreTraining) -> str:
    """Count parameters: all, backbone, each decoder with its classifiers."""
    parts = {"backbone": network.backbone.num_parameters()}
    for task, decoder in network.decoders.items():
        modules = (decoder, network.classifiers[task])
        parts[task] = sum(p.numel() for module in modules for p in module.parameters())
    total = f"{sum(parts.values()) / 1e6:.2f} million parameters"
    return f"{total}: " + ", ".join(f"{name} {n / 1e6:.2f}" for name, n in parts.items())


def _facts(
    recipe: Recipe,
    network: MTPForPreTraining,
    step: int,
    num_images: Mapping[str, tuple[int, int]],
    measured: Measured,
) -> RunFacts:
    """Gather what the cards tell."""
    sources = [
        SourceFacts(
            name,
            source.config,
            source.tasks,
            len(network.config.class_names[name]),
            *num_images[name],
        )
        for name, source in recipe.data.sources.items()
    ]
    folder = measured.pictures
    pictures = {
        title: name for name, title in PICTURES.items() if folder and (folder / name).is_file()
    }
    return RunFacts(
        name=recipe.name + (f", row {recipe.result}" if recipe.result else ""),
        about=recipe.about,
        backbone=f"ViT-{recipe.model.backbone} + RVSA, trained at {recipe.data.image_size} px",
        steps=step,
        planned_steps=recipe.schedule.steps,
        is_demo=recipe.data.root == DEMO_ROOT,
        sources=sources,
        recipe_yaml=recipe_to_yaml(without_paths(recipe)),
        before=measured.before,
        after=measured.after,
        versions=library_versions(),
        pictures=pictures,
    )


def _per_class(network: MTPForPreTraining, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of the classes as lists, undefined values as null, with the classes' names."""
    found: dict[str, Any] = {}
    for dataset, names in network.config.class_names.items():
        found[dataset] = {"classes": list(names)}
        for task, values in metrics[dataset].items():
            found[dataset][task] = {
                key: [None if np.isnan(x) else float(x) for x in np.asarray(array, dtype=float)]
                for key, array in values["per_class"].items()
            }
    return found
