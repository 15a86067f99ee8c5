"""The accelerator of a run, and refusing a launch that would not do what was asked."""

import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    is_tensorboard_available,
)

from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.host_memory import keep_freed_memory
from mtp_hf.training.recipe_sections import CommonRecipe, micro_batch_sizes
from mtp_hf.training.sharding import check_sharding, set_up_deepspeed, sharding_plugins

# A process that hangs, or whose machine is gone without a word, stops the others after this time;
# reading a batch, writing a checkpoint or drawing pictures has to be faster.
TIMEOUT = timedelta(minutes=30)
# Where the others wait for the main process alone: it reads a data set for the first time, or
# scores a whole split.
PATIENCE = timedelta(hours=12)

# Variables that tell how many processes a launcher other than Accelerate's or torchrun started.
_COUNTS_OF_LAUNCHERS = (
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)


def make_accelerator(
    recipe: CommonRecipe, log_with: str | None, tracker_folder: Path
) -> Accelerator:
    """Make the accelerator of a run.

    Args:
        recipe: precision and accumulation.
        log_with: `tensorboard` or None.
        tracker_folder: where its files go.

    Raises:
        ValueError: the tracker is not installed, the device lacks the precision, or the launcher
            asks for an FSDP that is not supported.
    """
    if log_with == "tensorboard" and not is_tensorboard_available():
        raise ValueError("--log_with tensorboard needs it installed: pip install mtp-hf[tracking]")
    accelerator = Accelerator(
        mixed_precision=recipe.efficiency.mixed_precision,
        gradient_accumulation_steps=recipe.schedule.gradient_accumulation,
        step_scheduler_with_optimizer=False,  # the loop steps it, once per optimizer step
        log_with=log_with,
        project_dir=str(tracker_folder),
        kwargs_handlers=[
            # A process without an image of some data set leaves that set's classifiers unused.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=TIMEOUT),
        ],
        **sharding_plugins(),
    )
    set_up_deepspeed(accelerator, recipe)
    return accelerator


def set_up_cpu(accelerator: Accelerator, recipe: CommonRecipe) -> None:
    """Train fast where it is on a CPU: keep freed memory, use the threads that the recipe names.

    `accelerate launch` gives a process one thread unless it is told `--cpu`.
    """
    if accelerator.device.type != "cpu":
        return
    keep_freed_memory()
    if recipe.efficiency.cpu_threads:
        torch.set_num_threads(recipe.efficiency.cpu_threads)


def precision_of_launcher() -> str:
    """Return what `accelerate launch --mixed_precision` was told: `no`, `bf16` or `fp16`."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "no")


@functools.cache
def _patient_group() -> dist.ProcessGroup:
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def wait_patiently(accelerator: Accelerator) -> None:
    """Wait for every process, for hours if the main one has that much to do alone."""
    if accelerator.num_processes > 1:
        dist.barrier(group=_patient_group())


@contextlib.contextmanager
def main_process_first(accelerator: Accelerator) -> Iterator[None]:
    """Let the main process do something before the others, who wait patiently."""
    if not accelerator.is_main_process:
        wait_patiently(accelerator)
    yield
    if accelerator.is_main_process:
        wait_patiently(accelerator)


def describe_lost_process(error: Exception) -> str | None:
    """Say what it means that a process is gone, of this run or of its loader; else return None."""
    if "DataLoader worker" in str(error):
        return (
            f"a process that reads images ended ({error}). If it was killed, memory may have been"
            " short: try fewer efficiency.num_workers; a bus error means too little shared memory"
            " (/dev/shm)"
        )
    if not isinstance(error, dist.DistError) and "gloo" not in str(error):
        return None
    first_line = str(error).strip().splitlines()[0]
    return (
        "lost another process of this run; its own message, or the launcher's (`Root Cause`), says"
        f" why it ended. The communication said: {first_line}"
    )


def check_launch(accelerator: Accelerator, recipe: CommonRecipe) -> None:
    """Check that the processes are connected and can share a step of the recipe.

    Raises:
        ValueError: the launcher started or was asked for more processes than found each other, a
            node has fewer devices than processes, the weights would be shared out in a way that is
            not supported, the launcher sets another accumulation than the recipe, or a batch size
            cannot be shared.
        OtherProcessError: instead, on all but the main process, once they are connected.
    """
    _check_processes_found_each_other(accelerator)
    _check_devices(accelerator)
    on_main_process(accelerator, lambda: _check_settings(accelerator, recipe))


def _check_settings(accelerator: Accelerator, recipe: CommonRecipe) -> None:
    check_sharding(accelerator)
    accumulation = accelerator.gradient_accumulation_steps
    if accumulation != recipe.schedule.gradient_accumulation:
        raise ValueError(
            f"the launcher sets gradient accumulation to {accumulation}; set it in the recipe"
            f" instead: schedule.gradient_accumulation={accumulation}"
        )
    micro_batch_sizes(recipe, accelerator.num_processes)


def describe_sharing(accelerator: Accelerator, recipe: CommonRecipe) -> str:
    """Say how an optimizer step is shared, in one line for the user."""
    processes, accumulation = accelerator.num_processes, recipe.schedule.gradient_accumulation
    sizes = micro_batch_sizes(recipe, processes)
    images = ", ".join(
        f"{name} {size} = {processes} x {accumulation} x {sizes[name]}"
        for name, size in recipe.batch_sizes().items()
    )
    kind = accelerator.device.type.upper()
    return f"images of a step ({kind} processes x accumulated batches x images of one): {images}"


def _check_processes_found_each_other(accelerator: Accelerator) -> None:
    found = accelerator.num_processes
    asked = _count_of_launcher()
    if asked is None and found == 1 and _accelerate_was_asked_for_several():
        raise ValueError(
            "accelerate was asked for several processes but started one, as it does without several"
            f" GPUs; on CPUs launch with:\n  {_working_command('N')}\n(if one process is what you"
            " want: --num_processes 1, and MASTER_ADDR and MASTER_PORT unset)"
        )
    if asked is not None and asked != found:
        raise ValueError(
            f"the launcher started {asked} processes but this one sees {found}: they are not"
            " connected, each would train alone and write over the others. On CPUs launch with:\n"
            f"  {_working_command(str(asked))}\nOn several machines see docs/cluster.md"
        )


def _count_of_launcher() -> int | None:
    """Return how many processes the launcher says it started; None if it does not say."""
    for name in ("WORLD_SIZE", *_COUNTS_OF_LAUNCHERS):
        if os.environ.get(name):
            return int(os.environ[name])
    return None


def _accelerate_was_asked_for_several() -> bool:
    """Tell whether `accelerate launch` started one process though asked for more.

    Without several GPUs it starts the script once, whatever `--num_processes` says; all that is
    left of the number is the address at which the processes would meet.
    """
    return "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ


def _working_command(num_processes: str) -> str:
    return (
        f"ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node {num_processes}"
        f" {shlex.join(sys.argv)}"
    )


def _check_devices(accelerator: Accelerator) -> None:
    on_node = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if accelerator.device.type == "cuda" and on_node > torch.cuda.device_count():
        raise ValueError(
            f"the launcher started {on_node} processes on this machine, which has"
            f" {torch.cuda.device_count()} GPUs: one process for each, at most"
        )
