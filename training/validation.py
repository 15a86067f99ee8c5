"""Validation: every image of a split once, predictions scored by task and data set.

Predictions are compared in pixels of the resized validation image, where the labels are. Each
process scores its own share; the scores' states are merged on the main process.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object, send_to_device
from torch import Tensor, nn
from tqdm.auto import tqdm

from mtp_hf.training.loop import Inputs, batch_to_device
from mtp_hf.training.sharding import whole_network

Predict = Callable[[Any, Inputs], list[dict[str, Any]]]


class Evaluator(Protocol):
    """Gathers predictions on every process and scores them on one."""

    def update(self, dataset: str, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add images of a data set."""

    def state(self) -> Any:
        """Give what was gathered, picklable."""

    def merge(self, states: Iterable[Any]) -> None:
        """Add what other processes gathered; an image counts once."""

    def compute(self) -> dict[str, Any]:
        """Score everything that was gathered."""


@dataclasses.dataclass
class PredictedImages:
    """Some images with their labels and predictions, on the CPU, to be drawn.

    `images_post` are the second pictures of pairs.
    """

    images: list[Tensor] = dataclasses.field(default_factory=list)
    images_post: list[Tensor] = dataclasses.field(default_factory=list)
    labels: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    predictions: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def validate(
    accelerator: Accelerator,
    model: nn.Module,
    loader: Iterable[dict[str, Any]],
    evaluator: Evaluator,
    *,
    predict: Predict,
    num_kept: int = 0,
) -> tuple[dict[str, Any], PredictedImages]:
    """Predict and score a split; called by every process.

    Args:
        accelerator: moves batches and gathers scores.
        model: the prepared model.
        loader: this process's batches, each of one data set; predictions are compared with the
            `reference` in an image's labels, or with the labels themselves.
        evaluator: a fresh one.
        predict: the network and inputs -> a prediction of each image.
        num_kept: images of each data set to keep for drawing.

    Returns:
        Metrics as `evaluator.compute` gives them (empty but on the main process), and
        the images kept on this process.
    """
    kept = PredictedImages()
    network = whole_network(accelerator, model)
    share_statistics(accelerator, network)
    network.eval()
    shown = tqdm(
        loader,
        desc="validation",
        unit="batch",
        leave=False,
        disable=not accelerator.is_main_process,
        dynamic_ncols=True,
    )
    for batch in shown:
        predictions = predict_batch(accelerator, network, batch, predict)
        labels = batch["labels"]
        references = [label.get("reference", label) for label in labels]
        evaluator.update(labels[0]["dataset"], predictions, references)
        _keep(kept, batch, predictions, num_kept)
    states = gather_object([evaluator.state()])
    if not accelerator.is_main_process:
        return {}, kept
    evaluator.merge(states)
    return evaluator.compute(), kept


def share_statistics(accelerator: Accelerator, network: nn.Module) -> None:
    """Give every process the running statistics of the main one, which are those that are saved.

    On CPUs each process gathers its own in training, and would measure another network; training
    does not change, as DDP begins each forward pass with those of the main process.
    """
    if accelerator.num_processes == 1:
        return
    for module in network.modules():
        if getattr(module, "track_running_stats", False):
            broadcast(list(module.buffers(recurse=False)))


@torch.no_grad()
def predict_batch(
    accelerator: Accelerator, network: Any, batch: dict[str, Any], predict: Predict
) -> list[dict[str, Any]]:
    """Predict the images of a batch; tensors of the predictions are on the CPU."""
    inputs = batch_to_device(accelerator, batch)
    with accelerator.autocast():
        predictions = predict(network, inputs)
    return send_to_device(predictions, torch.device("cpu"))


def _keep(
    kept: PredictedImages,
    batch: dict[str, Any],
    predictions: list[dict[str, Any]],
    num_kept: int,
) -> None:
    images = batch["pixel_values"]
    posts = batch.get("pixel_values_post", [None] * len(images))
    rows = zip(images, posts, batch["labels"], predictions, strict=True)
    for image, post, label, prediction in rows:
        alike = [other for other in kept.labels if other["dataset"] == label["dataset"]]
        scene = label.get("reference", {}).get("label")  # of scenes one a class: rows are sorted
        if len(alike) >= num_kept or (
            scene is not None and any(other["reference"]["label"] == scene for other in alike)
        ):
            continue
        kept.images.append(image)
        if post is not None:
            kept.images_post.append(post)
        kept.labels.append(label)
        kept.predictions.append(prediction)
