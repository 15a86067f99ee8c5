"""The training loop: batches -> named losses -> one sum -> backward -> clipped step, on Accelerate.

One optimizer step is `gradient_accumulation` batches on each process; Accelerate divides the loss
by that number and averages gradients over processes, so every image of a step weighs the same.
Losses stay tensors until the logging interval (`loss_window.py`): reading a number makes the host
wait for the device.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mtp_hf.data.collate import normalize_images
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.optim import build_optimizer, build_schedule, parameter_groups
from mtp_hf.training.preemption import StoppedBySignal
from mtp_hf.training.recipe_sections import CommonRecipe
from mtp_hf.training.run_log import RunLog

logger = get_logger(__name__)

Inputs = dict[str, Any]  # images and labels on the device
WAITING_WARNED_OF = 0.2  # share of an interval


@dataclasses.dataclass
class Prepared:
    """What `accelerator.prepare` returned, and the accelerator.

    Args:
        accelerator: made with `step_scheduler_with_optimizer=False`, so that the schedule steps
            once per optimizer step on any number of processes.
        model: returns `loss` and `losses`.
        optimizer: over the model's parameters.
        schedule: of the optimizer.
        adapt: turns a batch on the device and its number in the run, over accumulated ones and
            counted from 0, into what the model is called with.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    adapt: Callable[[Inputs, int], Inputs] = lambda inputs, number: inputs


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """What the loop calls between steps, on every process.

    Args:
        evaluate: with the step at every interval of `evaluation.every` before the last step.
        save: with the step at every interval of `saving.checkpoint_every`, at the end, and before
            the loop leaves on a signal.
        stop: after each step; the signal on which all processes leave, or None.
    """

    evaluate: Callable[[int], None]
    save: Callable[[int], None]
    stop: Callable[[], int | None]


def prepare(
    accelerator: Accelerator,
    model: nn.Module,
    recipe: CommonRecipe,
    adapt: Callable[[Inputs, int], Inputs] = lambda inputs, number: inputs,
) -> Prepared:
    """Make optimizer and schedule, and hand them with the model to Accelerate."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if recipe.efficiency.compile:
        cast(nn.Module, model.backbone).compile()
    groups = parameter_groups(
        model.to(accelerator.device),
        lr=recipe.optimizer.lr,
        weight_decay=recipe.optimizer.weight_decay,
        layer_decay=recipe.optimizer.layer_decay,
    )
    optimizer = build_optimizer(groups, betas=recipe.optimizer.betas)
    schedule = build_schedule(optimizer, recipe.schedule)
    return Prepared(accelerator, *accelerator.prepare(model, optimizer, schedule), adapt)


def train(
    prepared: Prepared,
    batches: Iterable[dict[str, Any]],
    recipe: CommonRecipe,
    *,
    steps: range,
    window: LossWindow,
    log: RunLog,
    callbacks: Callbacks,
) -> None:
    """Make some optimizer steps.

    Args:
        prepared: model, optimizer and schedule, in their state before the first of these steps.
        batches: this process's batches from there on.
        recipe: accumulation, clipping and intervals.
        steps: counted from 1.
        window: losses of the steps since the last line of the log.
        log: gets one line per logging interval.
        callbacks: saving, validation, stopping.

    Raises:
        NonFiniteLossError: see `LossWindow`.
        StoppedBySignal: a process got a signal; the checkpoint is written.
    """
    iterator, is_warned = iter(batches), False
    bar = tqdm(
        total=recipe.schedule.steps,
        initial=steps[0] - 1,
        desc=recipe.name,
        unit="step",
        disable=not prepared.accelerator.is_main_process,
        dynamic_ncols=True,
    )
    with logging_redirect_tqdm(), bar:
        for step in steps:
            gradient_norm = train_step(prepared, iterator, recipe, window, step)
            if is_due(step, recipe.saving.log_every) or step == steps[-1]:
                line = {"lr": highest_rate(prepared.optimizer), "grad_norm": float(gradient_norm)}
                line = window.summarize() | line
                log.write(step, **line)
                bar.set_postfix(progress_words(line), refresh=False)
                # In the first interval the workers start.
                if step - recipe.saving.log_every >= steps[0] and not is_warned:
                    is_warned = warn_of_waiting(line["data_wait"], recipe)
            prepared.schedule.step()
            bar.update()
            signum = callbacks.stop()
            if signum or is_due(step, recipe.saving.checkpoint_every) or step == steps[-1]:
                window.check()
                callbacks.save(step)
            if signum:
                raise StoppedBySignal(signum)
            if is_due(step, recipe.evaluation.every) and step != steps[-1]:
                callbacks.evaluate(step)


def train_step(
    prepared: Prepared,
    batches: Iterator[dict[str, Any]],
    recipe: CommonRecipe,
    window: LossWindow,
    step: int,
) -> Tensor:
    """Make one optimizer step.

    Returns:
        Global norm of the gradient before clipping, a scalar on the device.
    """
    accelerator, model = prepared.accelerator, prepared.model
    model.train()
    started = time.perf_counter()
    accumulation = recipe.schedule.gradient_accumulation
    for part in range(accumulation):
        asked = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - asked
        inputs = batch_to_device(accelerator, batch)
        with accelerator.accumulate(model):
            with accelerator.autocast():  # Accelerate does it itself, but not under FSDP2
                output = model(**prepared.adapt(inputs, (step - 1) * accumulation + part))
            losses = getattr(output, "losses", None) or {"loss": output.loss}
            window.add(step, losses, inputs["labels"], seconds_waited=waited)
            accelerator.backward(output.loss)
            if accelerator.sync_gradients:
                max_norm = recipe.optimizer.max_grad_norm or float("inf")
                gradient_norm = accelerator.clip_grad_norm_(model.parameters(), max_norm)
                window.add_gradient_norm(step, gradient_norm)
            prepared.optimizer.step()
            prepared.optimizer.zero_grad()
    window.seconds += time.perf_counter() - started
    return gradient_norm


def batch_to_device(accelerator: Accelerator, batch: dict[str, Any]) -> Inputs:
    """Move a batch and normalise its pixels there.

    Returns:
        `pixel_values` (B, 3, H, W) float32, for pairs also `pixel_values_post`; B `labels`, and
        what else the batch has.
    """
    inputs = send_to_device(batch, accelerator.device, non_blocking=True)
    sizes = [label["size"] for label in inputs["labels"]]
    images = [key for key in inputs if key.startswith("pixel_values")]
    return inputs | {key: normalize_images(inputs[key], sizes) for key in images}


def warn_of_waiting(data_wait: float, recipe: CommonRecipe) -> bool:
    """Warn if reading images is what limits the speed; tell whether it is.

    Args:
        data_wait: share of an interval that went by waiting for batches.
        recipe: says how many workers read.
    """
    if data_wait <= WAITING_WARNED_OF:
        return False
    logger.warning(
        f"{data_wait:.0%} of the time goes by waiting for images (data_wait in log.jsonl): raise"
        f" efficiency.num_workers, which is {recipe.efficiency.num_workers}, if there are"
        " processor cores left, or put the data on a faster disk"
    )
    return True


def is_due(step: int, every: int) -> bool:
    """Tell whether an interval ends at a step; an interval of 0 never does."""
    return every > 0 and step % every == 0


def highest_rate(optimizer: Optimizer) -> float:
    """Return the learning rate of the heads, the largest one under layer-wise decay."""
    return max(group["lr"] for group in optimizer.param_groups)


def progress_words(line: dict[str, Any]) -> dict[str, str]:
    """Pick what the progress bar shows: total loss, sum of each task, learning rate."""
    words = {"loss": line["loss"], **line["tasks"]}
    return {name: f"{value:.3f}" for name, value in words.items()} | {"lr": f"{line['lr']:.1e}"}
