"""Checkpoints of a run: `checkpoints/step_0000100/` with everything that the next step depends on.

Accelerate writes model, optimizer, schedule, loss scaler and the random states of each process;
beside them lie `state.json` (step, number of processes, versions) and the resolved `recipe.yaml`. A
checkpoint is written under a name that starts with a dot and renamed when every process is done, so
a folder called `step_*` is whole.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger

logger = get_logger(__name__)

STATE_FILE = "state.json"
RECIPE_FILE = "recipe.yaml"


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, recipe_yaml: str) -> Path:
    """Write the state after `step` optimizer steps; called by every process.

    Args:
        accelerator: has the prepared model, optimizer and schedule.
        folder: the run's `checkpoints/`.
        step: optimizer steps done.
        recipe_yaml: the resolved recipe.

    Returns:
        The folder of the checkpoint.
    """
    final = folder / f"step_{step:07d}"
    temporary = folder / f".{final.name}.partial"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    if accelerator.is_main_process:
        state = {
            "step": step,
            "num_processes": accelerator.num_processes,
            "versions": {"torch": torch.__version__, "accelerate": accelerate.__version__},
        }
        (temporary / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        (temporary / RECIPE_FILE).write_text(recipe_yaml, encoding="utf-8")
    accelerator.wait_for_everyone()  # save_state has no barrier of its own
    if accelerator.is_main_process:
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    accelerator.wait_for_everyone()
    return final


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the checkpoint meant by `--resume`.

    Args:
        folder: the run's `checkpoints/`.
        which: `latest`, or the path of a checkpoint.

    Raises:
        ValueError: there is none, or the path is not one; the message lists what there is.
    """
    found = list_checkpoints(folder)
    if which == "latest":
        if not found:
            raise ValueError(f"nothing to resume: no checkpoint in {folder}")
        return found[-1]
    path = Path(which)
    if not (path / STATE_FILE).is_file():
        names = ", ".join(each.name for each in found) or "none"
        raise ValueError(f"{path} is not a checkpoint (in {folder}: {names})")
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """List the whole checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    matches = [path for path in folder.iterdir() if re.fullmatch(r"step_\d+", path.name)]
    return sorted(matches, key=lambda path: int(path.name.removeprefix("step_")))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read `state.json` of a checkpoint."""
    return json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> int:
    """Put everything back, after `accelerator.prepare`; called by every process.

    Returns:
        Optimizer steps done.

    Raises:
        ValueError: the random state of this process is not in the checkpoint.
    """
    state = read_state(checkpoint)
    random_state = checkpoint / f"random_states_{accelerator.process_index}.pkl"
    if state["num_processes"] != accelerator.num_processes:
        logger.warning(
            f"{checkpoint} was written by {state['num_processes']} processes and goes on with"
            f" {accelerator.num_processes}: the same images follow, but in other batches"
        )
    elif not random_state.is_file():
        # Accelerate itself would go on with other random numbers and not say so.
        raise ValueError(f"{checkpoint} lacks {random_state.name}; it cannot be resumed exactly")
    accelerator.load_state(str(checkpoint))
    return int(state["step"])
