"""The folder of the checkpoints: which are whole, which is the newest, which have to go.

    checkpoints/latest                   name of the newest whole checkpoint of the run
    checkpoints/step_0000100/            a whole checkpoint; manifest.json has size and SHA-256 of
                                         each of its files
    checkpoints/step_0000200.set_aside/  whole, but the run has gone on from an earlier one since
    checkpoints/.step_0000300.partial/   being written, or left by a kill

A checkpoint gets its name when it is on the disk, the marker `latest` moves after that, and only
then something old goes. So a kill at any moment leaves the newest one that the marker names.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path

from accelerate.logging import get_logger

from mtp_hf.training.durable_files import flush_file, flush_folder, write_durably

logger = get_logger(__name__)

LATEST_FILE = "latest"
MANIFEST_FILE = "manifest.json"
_NAME = re.compile(r"step_(\d{7,})")


class DamagedCheckpointError(ValueError):
    """A checkpoint lacks a file, or one is not what was written; the message says which and how."""


def checkpoint_name(step: int) -> str:
    """Return the name of the checkpoint after so many steps."""
    return f"step_{step:07d}"


def step_of(name: str) -> int:
    """Return the steps of a checkpoint's name."""
    return int(name.removeprefix("step_"))


def partial_path(checkpoint: Path) -> Path:
    """Return the name that a checkpoint has while it is written."""
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run by steps; not those set aside or half-written."""
    if not folder.is_dir():
        return []
    matches = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(matches, key=lambda path: step_of(path.name))


def write_manifest(checkpoint: Path) -> None:
    """Flush every file of a checkpoint and write down sizes and checksums."""
    files = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file():
            flush_file(path)
            files[path.relative_to(checkpoint).as_posix()] = _facts(path)
        else:
            flush_folder(path)
    write_durably(checkpoint / MANIFEST_FILE, json.dumps({"files": files}, indent=2) + "\n")


def check_is_checkpoint(path: Path) -> None:
    """Check that a path can be meant as a checkpoint.

    Raises:
        ValueError: nothing is there, or something else.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such checkpoint")
    if (path / "checkpoints").is_dir():
        raise ValueError(
            f"{path} is the folder of a run, not a checkpoint: --resume latest --output {path}"
        )
    if path.is_dir() and (path / "state.json").exists() and not (path / MANIFEST_FILE).exists():
        raise DamagedCheckpointError(f"{path} is half-written: it has no {MANIFEST_FILE}")
    if not (path / MANIFEST_FILE).is_file():
        raise ValueError(f"{path} is not a checkpoint: it has no {MANIFEST_FILE}")


def check_whole(checkpoint: Path) -> None:
    """Compare every file of a checkpoint with what was written.

    Raises:
        DamagedCheckpointError: a file is missing or changed, with what was expected and found.
    """
    path = checkpoint / MANIFEST_FILE
    if not path.is_file():
        raise DamagedCheckpointError(f"{checkpoint} is half-written: it has no {MANIFEST_FILE}")
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))["files"]
        wrong = [text for name, facts in expected.items() if (text := _differs(path, name, facts))]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedCheckpointError(f"{path} is damaged: not the list of files expected") from None
    if wrong:
        raise DamagedCheckpointError(f"{checkpoint} is damaged: {'; '.join(wrong)}")


def mark_latest(checkpoint: Path) -> None:
    """Make a whole checkpoint the one that `--resume latest` takes."""
    write_durably(checkpoint.parent / LATEST_FILE, checkpoint.name + "\n")


def read_latest(folder: Path) -> str | None:
    """Return the name in the marker; None if there is none or it is no name of a checkpoint."""
    path = folder / LATEST_FILE
    if not path.is_file():
        return None
    name = path.read_text(encoding="utf-8", errors="replace").strip()
    return name if _NAME.fullmatch(name) else None


def find_latest(folder: Path) -> Path:
    """Return the checkpoint of the marker, or if it is damaged the newest whole one before it.

    Raises:
        ValueError: there is none; what is wrong with those found is listed.
    """
    found = list_checkpoints(folder)
    if not found:
        raise ValueError(
            f"nothing to resume: no checkpoint in {folder}; start again with --overwrite"
        )
    marked = read_latest(folder)
    if marked is None:
        logger.warning(f"WARNING: {folder / LATEST_FILE} does not name a checkpoint")
    else:
        found = [path for path in found if step_of(path.name) <= step_of(marked)]
        if not found or found[-1].name != marked:
            logger.warning(f"WARNING: {folder / marked} is not there, but {LATEST_FILE} names it")
    problems = []
    for checkpoint in reversed(found):
        try:
            check_whole(checkpoint)
        except DamagedCheckpointError as error:
            logger.warning(f"WARNING: {error}")
            problems.append(str(error))
            continue
        if checkpoint.name != marked:
            logger.warning(f"WARNING: the newest whole checkpoint before is {checkpoint}")
        return checkpoint
    raise ValueError(f"nothing to resume: no whole checkpoint in {folder}: {'; '.join(problems)}")


def set_aside(checkpoint: Path) -> Path:
    """Rename a checkpoint that is no longer of the run's line; `--resume PATH` still takes it."""
    target = checkpoint.with_name(f"{checkpoint.name}.set_aside")
    number = 1
    while target.exists():
        number += 1
        target = checkpoint.with_name(f"{checkpoint.name}.set_aside_{number}")
    checkpoint.rename(target)
    logger.warning(
        f"set aside {target}: the run has gone on from before it; delete it if you do not need it"
    )
    return target


def remove_oldest(folder: Path, limit: int) -> None:
    """Keep the newest `limit` checkpoints."""
    for checkpoint in list_checkpoints(folder)[:-limit]:
        # Renamed first: a kill meanwhile leaves no checkpoint that lacks files.
        hidden = checkpoint.with_name(f".{checkpoint.name}.removed")
        checkpoint.rename(hidden)
        shutil.rmtree(hidden)


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill left half-written or half-deleted."""
    for pattern in (".step_*.partial", ".step_*.removed"):
        for path in folder.glob(pattern):
            logger.info(f"removing {path}, left by a run that was stopped")
            shutil.rmtree(path)


def _facts(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _differs(manifest: Path, name: str, expected: dict[str, object]) -> str | None:
    """Say how a file differs from its entry in the manifest; None if it does not."""
    path = manifest.parent / name
    if not path.is_file():
        return f"{name} is missing"
    size = path.stat().st_size
    if size != expected["size"]:
        return f"{name}: expected {expected['size']} bytes, found {size}"
    try:
        digest = _facts(path)["sha256"]
    except OSError as error:
        return f"{name} cannot be read: {error}"
    if digest != expected["sha256"]:
        return f"{name}: expected SHA-256 {expected['sha256']}, found {digest}"
    return None
