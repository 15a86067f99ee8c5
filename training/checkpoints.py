"""Checkpoints of a run: `checkpoints/step_0000100/` with everything that the next step depends on.

Accelerate writes model, optimizer, schedule, loss scaler and the random states of each process;
beside them lie the losses since the last line of the log (`loss_window_RANK.json`), `state.json`
(step, number of processes, versions) and the resolved `recipe.yaml`. How a checkpoint becomes whole
or stays invisible is in `checkpoint_files.py`.

All nodes write into one folder, so it has to lie on a file system that they share.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger

from mtp_hf.training.agreement import errors_of_all
from mtp_hf.training.checkpoint_files import (
    check_is_checkpoint,
    check_whole,
    checkpoint_name,
    find_latest,
    list_checkpoints,
    mark_latest,
    partial_path,
    read_latest,
    remove_oldest,
    set_aside,
    step_of,
    write_manifest,
)
from mtp_hf.training.durable_files import flush_folder
from mtp_hf.training.loss_window import LossWindow

logger = get_logger(__name__)

STATE_FILE = "state.json"
RECIPE_FILE = "recipe.yaml"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message says why and which is the last good one."""


@dataclasses.dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says about its run, for a run that goes on from it.

    Args:
        recipe_yaml: the resolved recipe.
        num_images: training images of each source; with other ones the order would be another.
    """

    recipe_yaml: str
    num_images: Mapping[str, int]


def save_checkpoint(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    window: LossWindow,
    *,
    facts: CheckpointFacts,
    total_limit: int | None = None,
) -> Path:
    """Write the state after `step` optimizer steps; called by every process.

    Checkpoints of the same or a later step that are there already belong to a line which the run
    has left by going back; they are set aside.

    Args:
        accelerator: has the prepared model, optimizer and schedule.
        folder: the run's `checkpoints/`.
        step: optimizer steps done.
        window: losses since the last line of the log.
        facts: of the run.
        total_limit: how many checkpoints to keep; None: all.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: on every process, if one could not write; the last good one stays.
    """
    final = folder / checkpoint_name(step)
    partial = partial_path(final)

    def make_folder() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    def write_files() -> None:
        accelerator.save_state(str(partial))
        text = json.dumps(window.state_dict())
        _window_file(partial, accelerator).write_text(text, encoding="utf-8")

    def complete() -> None:
        _write_state(accelerator, partial, step, facts)
        _check_all_processes_wrote(accelerator, partial)
        write_manifest(partial)
        _put_in_place(partial, final)
        if total_limit is not None:
            remove_oldest(folder, total_limit)

    for action, is_shared in ((make_folder, False), (write_files, True), (complete, False)):
        acts = is_shared or accelerator.is_main_process
        errors = errors_of_all(accelerator, action if acts else _nothing)
        if errors:
            message = _failure(folder, final, errors)
            if accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(message)
    return final


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the checkpoint meant by `--resume`, compared with its checksums.

    Args:
        folder: the run's `checkpoints/`.
        which: `latest`, or the path of a checkpoint.

    Raises:
        ValueError: there is none, or the path is not a whole one; `latest` also goes back to an
            earlier one.
    """
    if which == "latest":
        return find_latest(folder)
    try:
        check_is_checkpoint(Path(which))
        check_whole(Path(which))
    except ValueError as error:
        names = ", ".join(each.name for each in list_checkpoints(folder)) or "none"
        raise type(error)(f"{error} (in {folder}: {names})") from None
    return Path(which)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read `state.json` of a checkpoint.

    Raises:
        ValueError: it is missing or not what a run writes there.
    """
    path = checkpoint / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{checkpoint} is not a checkpoint: it has no {STATE_FILE}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    missing = {"step", "num_processes", "num_images", "versions", "device"} - set(state)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    return state


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, window: LossWindow) -> int:
    """Put everything back, after `accelerator.prepare`; called by every process.

    Args:
        accelerator: with model, optimizer and schedule of the same shapes.
        checkpoint: a whole one.
        window: gets the losses since the last line of the log.

    Returns:
        Optimizer steps done.

    Raises:
        ValueError: the random state of this process or the loss scaler is not in the checkpoint.
    """
    state = read_state(checkpoint)
    random_state = _random_state_file(checkpoint, accelerator.process_index)
    same_processes = state["num_processes"] == accelerator.num_processes
    if not same_processes:
        logger.warning(
            f"{checkpoint} was written by {state['num_processes']} processes and goes on with"
            f" {accelerator.num_processes}: the same images follow, but in other batches"
        )
    elif not random_state.is_file():
        # Accelerate itself would go on with other random numbers and not say so.
        raise ValueError(f"{checkpoint} lacks {random_state.name}; it cannot be resumed exactly")
    if accelerator.scaler is not None and not (checkpoint / "scaler.pt").is_file():
        raise ValueError(f"{checkpoint} was written without fp16 and has no loss scaler")
    _warn_of_another_machine(accelerator, checkpoint, state)
    accelerator.load_state(str(checkpoint))
    if same_processes:
        text = _window_file(checkpoint, accelerator).read_text(encoding="utf-8")
        window.load_state_dict(json.loads(text))
    return int(state["step"])


def check_same_images(checkpoint: Path, num_images: Mapping[str, int]) -> None:
    """Check that the data sets are as long as they were, whatever folder they lie in now.

    Raises:
        ValueError: they are not, so other images would follow; the differences are listed.
    """
    old = read_state(checkpoint)["num_images"]
    changed = [
        f"{name}: {old.get(name)} -> {num_images.get(name)}"
        for name in sorted(old.keys() | num_images.keys())
        if old.get(name) != num_images.get(name)
    ]
    if changed:
        raise ValueError(
            f"{checkpoint} was made with another number of training images; changed:"
            f" {'; '.join(changed)}"
        )


def _nothing() -> None:
    """Wait for the main process."""


def _put_in_place(partial: Path, final: Path) -> None:
    """Give a written checkpoint its name, then make it the newest, then look at others."""
    if final.exists():
        set_aside(final)
    partial.rename(final)
    flush_folder(final.parent)
    mark_latest(final)
    for other in list_checkpoints(final.parent):
        if step_of(other.name) > step_of(final.name):
            set_aside(other)


def _failure(folder: Path, final: Path, errors: list[str]) -> str:
    name = read_latest(folder)
    last = f"the last good checkpoint is {folder / name}" if name else "there is none before it"
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    # Where the disk is full, torch only says at which position it could not write.
    free = f"{shutil.disk_usage(existing).free / 1e9:.3g} GB are free there"
    return f"cannot write checkpoint {final}: {'; '.join(errors)} ({free}); {last}"


def _write_state(accelerator: Accelerator, folder: Path, step: int, facts: CheckpointFacts) -> None:
    state = {
        "step": step,
        "num_processes": accelerator.num_processes,
        "num_images": dict(facts.num_images),
        "device": accelerator.device.type,
        "versions": _versions(),
    }
    (folder / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    (folder / RECIPE_FILE).write_text(facts.recipe_yaml, encoding="utf-8")


def _check_all_processes_wrote(accelerator: Accelerator, folder: Path) -> None:
    for index in range(accelerator.num_processes):
        if not _random_state_file(folder, index).is_file():
            raise OSError(
                f"the files of process {index} are not in {folder}: the output folder has to be on"
                " a file system that all nodes share"
            )


def _warn_of_another_machine(
    accelerator: Accelerator, checkpoint: Path, state: Mapping[str, Any]
) -> None:
    """Say why a resumed run may differ from the unbroken one by rounding or random numbers."""
    now = {"device": accelerator.device.type, **_versions()}
    old = {"device": state["device"], **state["versions"]}
    changed = [f"{key}: {old.get(key)} -> {now[key]}" for key in now if old.get(key) != now[key]]
    if changed:
        logger.warning(f"{checkpoint} comes from elsewhere, not bit-equal: {'; '.join(changed)}")


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__, "accelerate": accelerate.__version__}


def _random_state_file(folder: Path, process_index: int) -> Path:
    return folder / f"random_states_{process_index}.pkl"


def _window_file(folder: Path, accelerator: Accelerator) -> Path:
    return folder / f"loss_window_{accelerator.process_index}.json"
