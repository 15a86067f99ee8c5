"""The accelerator of a run, and refusing a launch that would not do what was asked."""

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    is_tensorboard_available,
)

from mtp_hf.training.recipe_schema import Recipe, micro_batch_sizes


def make_accelerator(recipe: Recipe, log_with: str | None, tracker_folder: Path) -> Accelerator:
    """Make the accelerator of a run.

    Args:
        recipe: precision and accumulation.
        log_with: `tensorboard` or None.
        tracker_folder: where its files go.

    Raises:
        ValueError: the tracker is not installed, or the device lacks the precision.
    """
    if log_with == "tensorboard" and not is_tensorboard_available():
        raise ValueError("--log_with tensorboard needs it installed: pip install mtp-hf[tracking]")
    return Accelerator(
        mixed_precision=recipe.efficiency.mixed_precision,
        gradient_accumulation_steps=recipe.schedule.gradient_accumulation,
        step_scheduler_with_optimizer=False,  # the loop steps it, once per optimizer step
        log_with=log_with,
        project_dir=str(tracker_folder),
        # A process whose images have no object leaves parameters of the RoI heads unused.
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),
            # The others wait while the first process reads a data set for the first time or scores
            # a whole split; ten minutes, the default, are not enough for SAMRS.
            InitProcessGroupKwargs(timeout=timedelta(hours=3)),
        ],
    )


def use_cpu_threads(accelerator: Accelerator, recipe: Recipe) -> None:
    """Compute with as many threads as the recipe says, where it says so and trains on a CPU.

    `accelerate launch` gives a process one thread unless it is told `--cpu`.
    """
    if recipe.efficiency.cpu_threads and accelerator.device.type == "cpu":
        torch.set_num_threads(recipe.efficiency.cpu_threads)


def precision_of_launcher() -> str:
    """Return what `accelerate launch --mixed_precision` was told: `no`, `bf16` or `fp16`."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "no")


def check_launch(accelerator: Accelerator, recipe: Recipe) -> None:
    """Check that the processes are connected and can share a step of the recipe.

    Raises:
        ValueError: the launcher started more processes than found each other, sets another
            accumulation than the recipe, or a batch size cannot be shared.
    """
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked != accelerator.num_processes:
        raise ValueError(
            f"the launcher started {asked} processes but this one sees {accelerator.num_processes}:"
            " they are not connected; on CPUs launch with ACCELERATE_USE_CPU=true torchrun"
            f" --standalone --nproc_per_node {asked} training/pretrain.py"
        )
    accumulation = accelerator.gradient_accumulation_steps
    if accumulation != recipe.schedule.gradient_accumulation:
        raise ValueError(
            f"the launcher sets gradient accumulation to {accumulation}; set it in the recipe"
            f" instead: schedule.gradient_accumulation={accumulation}"
        )
    micro_batch_sizes(recipe, accelerator.num_processes)
