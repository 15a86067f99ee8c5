"""One pretraining run, from a recipe to its results; every process has one and does the same.

The order of things: data, network, weights to start from or a checkpoint, validation of the
untrained network, training with its checkpoints and validations, validation, results.
"""

import sys
from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import set_seed
from torch import nn

from mtp_hf.data.multi_dataset import SourceDataset
from mtp_hf.metrics.pretraining import PretrainingEvaluator
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.training.build_model import build_model, start_backbone
from mtp_hf.training.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from mtp_hf.training.loaders import class_names, load_sources, train_loader, validation_loader
from mtp_hf.training.loop import Prepared, train
from mtp_hf.training.optim import build_optimizer, build_schedule, parameter_groups
from mtp_hf.training.recipe import check_same_training, recipe_to_yaml
from mtp_hf.training.recipe_schema import Recipe
from mtp_hf.training.results import (
    describe_network,
    metric_words,
    results_text,
    write_results,
)
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.run_log import RunLog
from mtp_hf.training.validation import PredictedImages, validate

logger = get_logger(__name__)

NUM_DRAWN = 3  # validation images of each set in the pictures


class PretrainingRun:
    """Data, network and state of a run.

    Args:
        recipe: what to do.
        accelerator: of this process.
        folder: where everything goes; checked and ready.
        resume: `latest`, the path of a checkpoint, or None for a new run.
    """

    def __init__(
        self, recipe: Recipe, accelerator: Accelerator, folder: RunFolder, resume: str | None
    ) -> None:
        self.recipe, self.accelerator, self.folder = recipe, accelerator, folder
        checkpoint = find_checkpoint(folder.checkpoints, resume) if resume else None
        if checkpoint:
            check_same_training(recipe, checkpoint / "recipe.yaml")
        set_seed(recipe.seed)  # the same weights on every process
        with accelerator.main_process_first():  # the first reads the files, the others its copy
            self.sources = load_sources(recipe, "train", augment=True)
            limit = recipe.evaluation.max_samples
            self.validation_sources = load_sources(recipe, "validation", limit=limit)
        model = build_model(recipe, class_names(recipe))
        if recipe.model.init and not checkpoint:
            logger.info(start_backbone(model.backbone, recipe.model.init))
        for name, (num_train, num_validation) in self.num_images.items():
            logger.info(f"{name}: {num_train} training, {num_validation} validation images")
        logger.info(describe_network(model))
        self.prepared = prepare(accelerator, model, recipe)
        set_seed(recipe.seed, device_specific=True)  # dropout and sampling differ
        self.step = load_checkpoint(accelerator, checkpoint) if checkpoint else 0
        self.is_new = checkpoint is None
        if checkpoint:
            logger.info(f"going on from {checkpoint}")
        if accelerator.is_main_process:
            folder.recipe.write_text(recipe_to_yaml(recipe), encoding="utf-8")
        accelerator.init_trackers("pretrain")
        self.log = RunLog(folder.log, accelerator, self.step)

    @property
    def num_images(self) -> dict[str, tuple[int, int]]:
        """Training and validation images of each source."""
        pairs = zip(self.sources.values(), self.validation_sources.values(), strict=True)
        return {train.name: (len(train), len(validation)) for train, validation in pairs}

    def execute(self, max_steps: int | None) -> None:
        """Train, measure and write the results.

        Args:
            max_steps: stop after so many steps in all, before the schedule ends; None: do not.
        """
        if self.recipe.evaluation.before and self.is_new:
            metrics, _ = self.evaluate(0)
            if self.accelerator.is_main_process:
                self.folder.write_metrics(before=flatten_metrics(metrics))
            self.evaluate_training_images("before")
        last_step = min(self.recipe.schedule.steps, max_steps or sys.maxsize)
        if self.step < last_step:
            self.train(last_step)
        self.evaluate_training_images("after")
        metrics, kept = self.evaluate(self.step, num_kept=NUM_DRAWN)
        if self.accelerator.is_main_process:
            network = self.accelerator.unwrap_model(self.prepared.model)
            write_results(
                self.recipe,
                self.folder,
                network,
                step=self.step,
                metrics=metrics,
                kept=kept,
                num_images=self.num_images,
            )
            print(results_text(self.folder, metrics))
        self.accelerator.wait_for_everyone()

    def train(self, last_step: int) -> None:
        """Train from the step reached so far."""
        loader = train_loader(
            self.recipe,
            self.sources,
            start_step=self.step,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        train(
            self.prepared,
            loader,
            self.recipe,
            log=self.log,
            first_step=self.step,
            last_step=last_step,
            evaluate=self.evaluate,
            save=self.save,
        )
        self.step = last_step

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        text = recipe_to_yaml(self.recipe)
        save_checkpoint(self.accelerator, self.folder.checkpoints, step, text)

    def evaluate(self, step: int, num_kept: int = 0) -> tuple[dict[str, Any], PredictedImages]:
        """Validate and log the metrics; see `validate`."""
        metrics, kept = self._measure(self.validation_sources, num_kept)
        flat = flatten_metrics(metrics)
        self.log.write(step, metrics=flat)
        logger.info(f"step {step}, validation in percent: {metric_words(flat)}")
        return metrics, kept

    def evaluate_training_images(self, moment: str) -> None:
        """Measure on unaugmented training images, where the recipe asks for it.

        Args:
            moment: `before` or `after` training; part of the key in `metrics.json`.
        """
        if not self.recipe.evaluation.on_training_images:
            return
        limit = self.recipe.evaluation.max_samples
        metrics, _ = self._measure(load_sources(self.recipe, "train", limit=limit))
        if self.accelerator.is_main_process:
            flat = flatten_metrics(metrics)
            self.folder.write_metrics(**{f"training_images_{moment}": flat})
            logger.info(f"{moment}, on training images in percent: {metric_words(flat)}")

    def _measure(
        self, sources: Mapping[str, SourceDataset], num_kept: int = 0
    ) -> tuple[dict[str, Any], PredictedImages]:
        loader = validation_loader(
            self.recipe,
            sources,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        tasks = {name: source.tasks for name, source in self.recipe.data.sources.items()}
        evaluator = PretrainingEvaluator(class_names(self.recipe), tasks)
        return validate(self.accelerator, self.prepared.model, loader, evaluator, num_kept=num_kept)


def prepare(accelerator: Accelerator, model: nn.Module, recipe: Recipe) -> Prepared:
    """Make optimizer and schedule, and hand them with the model to Accelerate."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    groups = parameter_groups(
        model.to(accelerator.device),
        lr=recipe.optimizer.lr,
        weight_decay=recipe.optimizer.weight_decay,
        layer_decay=recipe.optimizer.layer_decay,
    )
    optimizer = build_optimizer(groups, betas=recipe.optimizer.betas)
    schedule = build_schedule(
        optimizer,
        steps=recipe.schedule.steps,
        warmup_steps=recipe.schedule.warmup_steps,
        kind=recipe.schedule.kind,
    )
    return Prepared(accelerator, *accelerator.prepare(model, optimizer, schedule))
