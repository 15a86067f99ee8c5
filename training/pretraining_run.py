"""A pretraining run: several data sets, three tasks, one network; see `training_run.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger

from mtp_hf.data.multi_dataset import SourceDataset
from mtp_hf.metrics.pretraining import PretrainingEvaluator
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training.build_model import build_model, start_backbone
from mtp_hf.training.loaders import class_names, load_sources
from mtp_hf.training.loop import Inputs
from mtp_hf.training.pretrain_schema import Recipe
from mtp_hf.training.pretraining_results import (
    describe_network,
    metric_words,
    results_text,
    write_results,
    write_snapshot,
)
from mtp_hf.training.training_run import TrainingRun
from mtp_hf.training.validation import PredictedImages

logger = get_logger(__name__)


class PretrainingRun(TrainingRun[Recipe]):
    """Multi-task pretraining of `MTPForPreTraining`."""

    def load(
        self, part: str, *, limit: int | None = None, augment: bool = False
    ) -> dict[str, SourceDataset]:
        """Open a split of every source."""
        return load_sources(self.recipe, part, limit=limit, augment=augment)

    def build(self, *, is_new: bool) -> MTPForPreTraining:
        """Make the network of the recipe; its backbone starts from `model.init`."""
        model = build_model(self.recipe, class_names(self.recipe))
        if self.recipe.model.init and is_new:
            logger.info(start_backbone(model.backbone, self.recipe.model.init))
        return model

    def describe(self, network: MTPForPreTraining) -> str:
        """Count parameters."""
        return describe_network(network)

    def canvas(self, part: str) -> int | None:
        """Side that images of a part are padded to."""
        return self.recipe.data.image_size

    def predict(self, network: MTPForPreTraining, inputs: Inputs) -> list[dict[str, Any]]:
        """Predict with all decoders."""
        return predict_images(network, inputs)

    def make_evaluator(self) -> PretrainingEvaluator:
        """Make an evaluator of all sources and tasks."""
        tasks = {name: source.tasks for name, source in self.recipe.data.sources.items()}
        return PretrainingEvaluator(class_names(self.recipe), tasks)

    def metric_words(self, flat: Mapping[str, float]) -> str:
        """Write the pooled metrics."""
        return metric_words(flat)

    def write_results(
        self, network: MTPForPreTraining, metrics: Mapping[str, Any], kept: PredictedImages
    ) -> str:
        """Write metrics, pictures, encoder and model."""
        write_results(
            self.recipe,
            self.folder,
            network,
            step=self.step,
            metrics=metrics,
            kept=kept,
            num_images=self.num_images,
        )
        return results_text(self.folder, metrics)

    def write_snapshot(self, folder: Path, *, network: MTPForPreTraining, step: int) -> None:
        """Write encoder and model as they are now."""
        write_snapshot(self.recipe, folder, network=network, step=step, num_images=self.num_images)


def predict_images(network: Any, inputs: Inputs) -> list[dict[str, Any]]:
    """Predict every task of the images' data sets, in pixels of their content."""
    labels = inputs["labels"]
    return network.predict(
        inputs["pixel_values"],
        [label["dataset"] for label in labels],
        sizes=[label["size"] for label in labels],
    )
