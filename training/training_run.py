"""A training run, from a recipe to its results; every process has one and does the same.

What is trained on which task is told by the subclasses (`pretraining_run.py`, `finetuning_run.py`).

The order of things: data, network, weights to start from or a checkpoint, validation of the
untrained network, training with its checkpoints and validations, validation, results. When all is
prepared, a signal to stop is obeyed between steps and between batches (`preemption.py`).
"""

import abc
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import set_seed

from mtp_hf.data.multi_dataset import SourceDataset
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.checkpoint_files import read_latest, remove_leftovers
from mtp_hf.training.checkpoints import (
    RECIPE_FILE,
    CheckpointFacts,
    check_same_images,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from mtp_hf.training.durable_files import write_durably
from mtp_hf.training.loaders import evaluation_loader, train_loader
from mtp_hf.training.loop import Callbacks, Inputs, is_due, prepare, train
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.preemption import (
    StoppedBySignal,
    StopSignals,
    WatchedBatches,
    shield_workers,
)
from mtp_hf.training.processes import describe_sharing, main_process_first, wait_patiently
from mtp_hf.training.publishing import Publisher
from mtp_hf.training.recipe import check_same_training, recipe_to_yaml
from mtp_hf.training.recipe_sections import CommonRecipe
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.run_log import RunLog, keep_old_log
from mtp_hf.training.sharding import whole_network
from mtp_hf.training.validation import Evaluator, PredictedImages, validate

logger = get_logger(__name__)

NUM_DRAWN = 3  # validation images of each set in the pictures
R = TypeVar("R", bound=CommonRecipe)


class TrainingRun(abc.ABC, Generic[R]):
    """Data, network and state of a run; subclasses say what the task is.

    Args:
        recipe: what to do.
        accelerator: of this process.
        folder: where everything goes; checked and ready.
        resume: `latest`, the path of a checkpoint, or None for a new run.
        publisher: pushes snapshots to the Hub along the way.

    Attributes:
        measured_model: what is measured and written; the prepared model itself, or another one.
        step: optimizer steps done.
        saved_step: of the newest checkpoint of this state; None before the first.
    """

    num_drawn = NUM_DRAWN

    def __init__(
        self,
        recipe: R,
        accelerator: Accelerator,
        folder: RunFolder,
        *,
        resume: str | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        self.recipe, self.accelerator, self.folder = recipe, accelerator, folder
        self.publisher = publisher
        checkpoint = self._find_checkpoint(resume) if resume else None
        set_seed(recipe.seed)  # the same weights on every process
        with main_process_first(accelerator):  # it reads the files, the others its copy
            self.sources = self.load("train", augment=True)
            self.validation_sources = self.load("validation", limit=recipe.evaluation.max_samples)
        self.recipe_as_given = recipe  # perhaps in epochs
        lengths = {name: num_train for name, (num_train, _) in self.num_images.items()}
        self.recipe = recipe.in_steps(lengths)
        steps = self.recipe.schedule.steps
        if late := [each for each in self.recipe.schedule.milestones if each >= steps]:
            logger.warning(f"schedule.milestones: no step {late}, the run ends at {steps}")
        self.facts = CheckpointFacts(recipe_to_yaml(recipe), lengths)
        if checkpoint:
            check_same_images(checkpoint, lengths)
        model = self.build(is_new=checkpoint is None)
        for name, (num_train, num_validation) in self.num_images.items():
            logger.info(f"{name}: {num_train} training, {num_validation} validation images")
        logger.info(self.describe(model))
        logger.info(describe_sharing(accelerator, recipe))
        self.prepared = prepare(accelerator, model, self.recipe, self.adapt)
        self.measured_model = self.prepared.model
        self.add_to_checkpoints()
        set_seed(recipe.seed, device_specific=True)  # dropout and sampling differ
        self.window, self.signals = LossWindow(accelerator), StopSignals(accelerator)
        self.step, self.saved_step = 0, None
        if checkpoint:
            self.step = self.saved_step = load_checkpoint(accelerator, checkpoint, self.window)
            logger.info(f"going on from {checkpoint}")
        on_main_process(accelerator, lambda: self._start_folder(checkpoint))
        accelerator.init_trackers(Path(recipe.name).parent.name or "run")
        self.log = RunLog(folder.log, accelerator, self.saved_step)

    @abc.abstractmethod
    def load(
        self, part: str, *, limit: int | None = None, augment: bool = False
    ) -> dict[str, SourceDataset]:
        """Open the images of each data set.

        Args:
            part: `train`, or `validation`: what is measured on.
            limit: images of each set at most, besides `data.limit_samples`.
            augment: training transforms instead of those of validation.
        """

    @abc.abstractmethod
    def build(self, *, is_new: bool) -> Any:
        """Make the network; with the weights it starts from, where the run is new."""

    @abc.abstractmethod
    def describe(self, network: Any) -> str:
        """Say what the network is, in one line for the user."""

    @abc.abstractmethod
    def canvas(self, part: str) -> int | None:
        """Side that images of a part are padded to; None: the next multiples of 32."""

    def adapt(self, inputs: Inputs, number: int) -> Inputs:
        """Turn a training batch on the device into what the network is called with.

        Args:
            inputs: the batch.
            number: of the batch in the run, on this process.
        """
        return inputs

    def add_to_checkpoints(self) -> None:  # noqa: B027 (most runs have nothing more)
        """Make what else a run has, before a checkpoint is read."""

    @abc.abstractmethod
    def predict(self, network: Any, inputs: Inputs) -> list[dict[str, Any]]:
        """Predict the images of a batch of validation."""

    @abc.abstractmethod
    def make_evaluator(self) -> Evaluator:
        """Make an empty evaluator."""

    @abc.abstractmethod
    def metric_words(self, flat: Mapping[str, float]) -> str:
        """Write the metrics that matter in one line."""

    @abc.abstractmethod
    def write_results(self, network: Any, metrics: Mapping[str, Any], kept: PredictedImages) -> str:
        """Write what the run leaves; on the main process.

        Returns:
            What the user is shown at the end.
        """

    @abc.abstractmethod
    def write_snapshot(self, folder: Path, *, network: Any, step: int) -> None:
        """Write what is pushed along the way; on the main process."""

    @property
    def share(self) -> dict[str, int]:
        """Which part of a batch or split this process loads."""
        return {
            "rank": self.accelerator.process_index,
            "world_size": self.accelerator.num_processes,
        }

    @property
    def num_images(self) -> dict[str, tuple[int, int]]:
        """Training and validation images of each source."""
        validation = self.validation_sources
        return {
            name: (len(source), len(validation[name]) if name in validation else 0)
            for name, source in self.sources.items()
        }

    def execute(self, max_steps: int | None) -> None:
        """Train, measure and write the results.

        Args:
            max_steps: stop after so many steps in all, before the schedule ends; None: do not.

        Raises:
            StoppedBySignal: a process got a signal; a checkpoint has everything so far.
        """
        last_step = min(self.recipe.schedule.steps, max_steps or sys.maxsize)
        if self.publisher:
            self.publisher.plan(self.recipe.saving.checkpoint_every, last_step)
        with self.signals:
            try:
                self._execute(last_step)
            except StoppedBySignal:
                if self.step != self.saved_step:
                    self.window.check()
                    self.save(self.step)
                raise

    def _execute(self, last_step: int) -> None:
        if self.step == 0:
            self.evaluate_before()
        if self.step < last_step:
            self.train(last_step)
        self.evaluate_training_images("after")
        metrics, kept = self.evaluate(self.step, num_kept=self.num_drawn)
        network = whole_network(self.accelerator, self.measured_model)
        on_main_process(self.accelerator, lambda: print(self.write_results(network, metrics, kept)))

    def evaluate_before(self) -> None:
        """Measure the untrained network, where the recipe asks for it and no earlier start did."""
        measured = on_main_process(self.accelerator, self.folder.read_metrics)
        if not self.recipe.evaluation.before:
            return
        if "before" not in measured:
            flat = flatten_metrics(self.evaluate(0)[0])
            on_main_process(self.accelerator, lambda: self.folder.write_metrics(before=flat))
        if "training_images_before" not in measured:
            self.evaluate_training_images("before")

    def train(self, last_step: int) -> None:
        """Train from the step reached so far."""
        every, is_measured = self.recipe.evaluation.every, self.step in self.log.measured
        if self.step and is_due(self.step, every) and not is_measured:
            self.evaluate(self.step)  # the run was stopped between checkpoint and validation
        canvas = self.canvas("train")
        batches = train_loader(
            self.recipe, self.sources, canvas=canvas, start_step=self.step, **self.share
        )
        train(
            self.prepared,
            shield_workers(batches),
            self.recipe,
            steps=range(self.step + 1, last_step + 1),
            window=self.window,
            log=self.log,
            callbacks=Callbacks(self.evaluate, self.save, self.signals.agreed),
        )

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        self.step = step
        self.log.flush()
        save_checkpoint(
            self.accelerator,
            self.folder.checkpoints,
            step,
            self.window,
            facts=self.facts,
            total_limit=self.recipe.saving.total_limit,
        )
        self.saved_step = step
        if self.publisher and step in self.publisher.steps:
            network = whole_network(self.accelerator, self.measured_model)
            write = functools.partial(self.write_snapshot, network=network, step=step)
            self.publisher.push_snapshot(step, write)

    def evaluate(self, step: int, num_kept: int = 0) -> tuple[dict[str, Any], PredictedImages]:
        """Validate and log the metrics; see `validate`. Nothing, where there are no images."""
        self.step = step
        if not self.validation_sources:
            return {}, PredictedImages()
        metrics, kept = self._measure(self.validation_sources, num_kept)
        flat = flatten_metrics(metrics)
        self.log.write_metrics(step, flat)
        if metrics:  # on the main process alone
            logger.info(f"step {step}, validation in percent: {self.metric_words(flat)}")
        return metrics, kept

    def evaluate_training_images(self, moment: str) -> None:
        """Measure on unaugmented training images, where the recipe asks for it.

        Args:
            moment: `before` or `after` training; part of the key in `metrics.json`.
        """
        if not self.recipe.evaluation.on_training_images:
            return
        limit = self.recipe.evaluation.max_samples
        metrics, _ = self._measure(self.load("train", limit=limit))
        if self.accelerator.is_main_process:
            flat = flatten_metrics(metrics)
            self.folder.write_metrics(**{f"training_images_{moment}": flat})
            logger.info(f"{moment}, on training images in percent: {self.metric_words(flat)}")

    def _measure(
        self, sources: Mapping[str, SourceDataset], num_kept: int = 0
    ) -> tuple[dict[str, Any], PredictedImages]:
        canvas = self.canvas("validation")
        loader = evaluation_loader(self.recipe, sources, canvas=canvas, **self.share)
        batches = WatchedBatches(shield_workers(loader), self.signals)
        found = validate(
            self.accelerator,
            self.measured_model,
            batches,
            self.make_evaluator(),
            predict=self.predict,
            num_kept=num_kept,
        )
        wait_patiently(self.accelerator)  # the main process scores for all
        return found

    def _find_checkpoint(self, resume: str) -> Path:
        """Look on one process for the checkpoint to go on from, and compare recipes."""

        def find() -> Path:
            remove_leftovers(self.folder.checkpoints)
            checkpoint = find_checkpoint(self.folder.checkpoints, resume)
            changes = check_same_training(self.recipe, checkpoint / RECIPE_FILE)
            if changes:
                logger.info(f"changed since {checkpoint}: {'; '.join(changes)}")
            return checkpoint

        return on_main_process(self.accelerator, find)

    def _start_folder(self, checkpoint: Path | None) -> None:
        """Write the recipe; keep the log if lines after an earlier checkpoint have to go."""
        write_durably(self.folder.recipe, self.facts.recipe_yaml)
        folder = self.folder.checkpoints
        if checkpoint and checkpoint.resolve() != (folder / str(read_latest(folder))).resolve():
            logger.warning(
                f"going back: checkpoints after step {self.step} are set aside when there is a new"
                f" one; the log so far is kept as {keep_old_log(self.folder.log, folder)}"
            )
