"""A finetuning run: one task on one data set; see `training_run.py`."""

import functools
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from accelerate.utils import DistributedType
from transformers import PreTrainedModel

from mtp_hf.data.batch_mix import BatchMix
from mtp_hf.data.multi_dataset import SourceDataset
from mtp_hf.hub.bundle import BEST, MODEL
from mtp_hf.hub.finetuned_card import FinetunedFacts
from mtp_hf.metrics.finetuning import HEADLINES, TaskEvaluator, headline
from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.architectures import build_network
from mtp_hf.training.augmented_prediction import predict_augmented
from mtp_hf.training.batch_mixing import make_mix, mix_batch
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_card import gather_facts
from mtp_hf.training.finetuning_data import (
    canvas_of,
    check_labelled,
    check_scene_classes,
    find_class_names,
    limit_rows,
    make_source,
    open_rows,
    rows_to_train_on,
)
from mtp_hf.training.finetuning_results import results_text, write_best, write_model, write_results
from mtp_hf.training.frozen_backbone import freeze_backbone
from mtp_hf.training.loop import Inputs
from mtp_hf.training.low_rank import add_low_rank_updates
from mtp_hf.training.sharding import whole_network
from mtp_hf.training.starting_weights import start_network
from mtp_hf.training.tasks import find_task
from mtp_hf.training.training_run import TrainingRun
from mtp_hf.training.validation import PredictedImages
from mtp_hf.training.weight_average import average_weights

logger = get_logger(__name__)


class FinetuningRun(TrainingRun[FinetuneRecipe]):
    """Finetuning of the model that a recipe describes."""

    @functools.cached_property
    def task(self) -> Any:
        """Row of `TASKS`."""
        return find_task(self.recipe)

    @functools.cached_property
    def mix(self) -> BatchMix | None:
        """Mixing of scenes, or None."""
        return make_mix(self.recipe, len(self.class_names))

    @property
    def class_names(self) -> list[str]:
        """K names, in label order."""
        (source,) = self.sources.values()
        return find_class_names(self.recipe, source.rows)

    @property
    def num_drawn(self) -> int:  # type: ignore[override]
        """Images of the picture that shows predictions."""
        return self.task.num_drawn

    def load(
        self, part: str, *, limit: int | None = None, augment: bool = False
    ) -> dict[str, SourceDataset]:
        """Open the rows of a part; none to measure on where the recipe names no split."""
        data = self.recipe.data
        split = data.train if part == "train" else data.evaluate
        if split is None:
            return {}
        rows = open_rows(self.recipe, part)
        check_labelled(self.recipe, rows, split)
        names = find_class_names(self.recipe, rows)
        if part == "train":
            check_scene_classes(self.recipe, rows)
        if augment:  # before the limit, which may be two images
            rows = rows_to_train_on(self.recipe, rows)
        rows = limit_rows(rows, limit, data.limit_samples)
        source = make_source(self.recipe, rows, names, augment=augment)
        return {data.builder: source}

    def build(self, *, is_new: bool) -> PreTrainedModel:
        """Make the network of the recipe, with the weights it starts from."""
        network = build_network(self.recipe, self.class_names)
        if is_new:
            for line in start_network(network, self.recipe.model):
                logger.info(line)
        if self.recipe.model.freeze_backbone:
            freeze_backbone(network)
        if self.recipe.model.lora_rank:
            if self.accelerator.distributed_type == DistributedType.FSDP:
                raise ValueError("model.lora_rank does not go with FSDP; launch with DDP")
            add_low_rank_updates(network.backbone, self.recipe.model.lora_rank)
        return network

    def describe(self, network: PreTrainedModel) -> str:
        """Count parameters."""
        every = sum(p.numel() for p in network.parameters())
        backbone = sum(p.numel() for p in network.backbone.parameters())
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        millions = f"{every / 1e6:.2f} million parameters: backbone {backbone / 1e6:.2f}, head"
        return f"{millions} {(every - backbone) / 1e6:.2f}; {trained / 1e6:.2f} are trained"

    def canvas(self, part: str) -> int | None:
        """Side that images of a part are padded to."""
        return canvas_of(self.recipe, part)

    def adapt(self, inputs: Inputs, number: int) -> Inputs:
        """Call models of scenes with (B,) labels or shares (B, K), the others with a list."""
        if "image_labels" not in inputs:
            return inputs
        inputs = {"pixel_values": inputs["pixel_values"], "labels": inputs["image_labels"]}
        if self.mix is None:
            return inputs
        process = self.accelerator.process_index
        return mix_batch(self.mix, inputs, seed=self.recipe.seed, number=number, process=process)

    def add_to_checkpoints(self) -> None:
        """Average the weights, where the recipe asks for it; the average is what is measured."""
        decay = self.recipe.optimizer.ema_decay
        if decay is not None:
            self.measured_model = average_weights(self.prepared, decay).module

    def predict(self, network: Any, inputs: Inputs) -> list[dict[str, Any]]:
        """Predict in pixels of the images as stored."""
        return predict_augmented(self.task.predict, network, inputs, self.recipe)

    def make_evaluator(self) -> TaskEvaluator:
        """Make the evaluator of the task."""
        ignore_difficult = self.recipe.evaluation.ignore_difficult
        return TaskEvaluator(self.recipe.task, self.class_names, ignore_difficult=ignore_difficult)

    def metric_words(self, flat: Mapping[str, float]) -> str:
        """Write the metrics that results of the task are known by."""
        shown = HEADLINES[self.recipe.task].items()
        return ", ".join(f"{heading} {100 * flat[name]:.2f}" for name, heading in shown)

    def evaluate(self, step: int, num_kept: int = 0) -> tuple[dict[str, Any], PredictedImages]:
        """Measure, and keep the network where it is the best so far."""
        metrics, kept = super().evaluate(step, num_kept)
        if not self.recipe.data.evaluate or step == 0:
            return metrics, kept
        network = whole_network(self.accelerator, self.measured_model)
        on_main_process(self.accelerator, lambda: self._keep_best(network, step, metrics))
        return metrics, kept

    def write_results(
        self, network: PreTrainedModel, metrics: Mapping[str, Any], kept: PredictedImages
    ) -> str:
        """Write metrics, pictures and model."""
        facts = self._facts(metrics)
        write_results(self.recipe, self.folder, network, facts=facts, kept=kept)
        return results_text(facts, self.folder)

    def write_snapshot(self, folder: Path, *, network: PreTrainedModel, step: int) -> None:
        """Write the model as it is now; where the best one is pushed, the best so far."""
        best = self.folder.path / BEST
        if self.publisher and BEST in self.publisher.names and best.exists():
            shutil.copytree(best, folder / BEST)
            return
        for kind in self.publisher.names if self.publisher else (MODEL,):
            write_model(self.recipe, network, folder / kind, self._facts({}))

    def _keep_best(self, network: PreTrainedModel, step: int, metrics: Mapping[str, Any]) -> None:
        name = headline(self.recipe.task)
        best = self.folder.read_metrics().get("best", {}).get(name)
        if math.isnan(metrics[name]):
            logger.warning(f"step {step}: {name} is not defined on the images measured")
        # The first one is kept though nothing may be defined: then best/ is there.
        if best is None or metrics[name] > best:
            write_best(self.recipe, self.folder, network, self._facts(metrics))

    def _facts(self, metrics: Mapping[str, Any]) -> FinetunedFacts:
        """Gather what the card tells."""
        (num_images,) = self.num_images.values()
        assert self.recipe.schedule.steps is not None
        return gather_facts(
            self.recipe_as_given,
            self.class_names,
            num_images=num_images,
            steps=self.step,
            planned_steps=self.recipe.schedule.steps,
            metrics=metrics,
        )
