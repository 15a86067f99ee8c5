"""Read a checkpoint of another project without running anything that it names.

A `.pth` file is a pickle, and a pickle may call any function that can be imported. PyTorch's
restricted reader knows tensors and plain containers only. Training checkpoints also hold what is no
weight: the curves of mmengine's message hub and MTP's loss history (numpy arrays), MAE's command
line, configurations. Each of those few names gets an inert stand-in here that forgets what it is
given, so that nothing of numpy or of any other package is built from the file; every other name is
refused.

Source: what mmengine, mmcv 1.x, MAE, the Swin-like trainers of InternImage and the original's
`main_pretrain.py` (original spec 2.13, 3.0) write.
"""

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


class _Forgotten:
    """Stand in for an object that is not a weight."""

    def __new__(cls, *_: Any) -> "_Forgotten":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


class _ForgottenMapping:
    """Stand in for a kind of dict; an ordered one is what the restricted reader lets fill."""

    def __new__(cls, *_: Any) -> OrderedDict:  # type: ignore[misc]
        return OrderedDict()


FORGOTTEN_OBJECTS = (
    "argparse.Namespace",
    "builtins.int",
    "builtins.list",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    # Both homes: numpy 2 moved numpy.core to numpy._core.
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
FORGOTTEN_MAPPINGS = (
    "addict.addict.Dict",
    "builtins.dict",
    "collections.defaultdict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
)
# Entries that hold the weights, in the order in which they are looked for.
WRAPPERS = ("state_dict", "model")
# What wrappers of networks put before every name: of several devices, and of compiled code.
PREFIXES = ("module.", "_orig_mod.")
# Beginnings of files that are often taken for a checkpoint -> what they are.
OTHER_FILES = {
    b"version https://git-lfs": "a pointer of git-lfs, not the file itself: `git lfs pull` gets it",
    b"<!doctype": "a web page, not the file that was to be downloaded",
    b"<html": "a web page, not the file that was to be downloaded",
}


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file and how they were wrapped.

    Args:
        state_dict: original key -> tensor, without `prefix`.
        wrapper: entry of the file that held them, None where they lay bare.
        prefix: what every key began with, such as `module.`.
        class_names: of the data set that the file says it was trained on.
        other_entries: entries of the file that were not read, since they are no weights.
        other_weights: entries that hold weights as well, such as averaged ones, and were not read.
    """

    state_dict: dict[str, Tensor]
    wrapper: str | None = None
    prefix: str = ""
    class_names: tuple[str, ...] | None = None
    other_entries: tuple[str, ...] = ()
    other_weights: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pth` or `.safetensors` file; tensors stay in the file until they are used.

    Raises:
        ValueError: no such file, not a checkpoint, cut short, or a pickle that names anything but
            tensors, plain containers and the names above.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    found = next((what for mark, what in OTHER_FILES.items() if start.startswith(mark)), None)
    if found:
        raise ValueError(f"{path}: {found}")
    if path.suffix != ".safetensors":
        return unwrap_checkpoint(_load_pickle(path), path)
    try:
        weights = load_file(path)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as safetensors: {error}") from None
    return unwrap_checkpoint(weights, path)


def unwrap_checkpoint(content: Any, path: Path | str = "checkpoint") -> Checkpoint:
    """Find the weights in what a file holds.

    Args:
        content: of the file: the weights themselves or a dict with an entry of `WRAPPERS`.
        path: for messages.

    Raises:
        ValueError: there are no weights in it, or a weight is no tensor.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a dict of weights")
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
    weights = content if wrapper is None else content[wrapper]
    if not weights:
        raise ValueError(f"{path}: holds no weights")
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            found = ", ".join(map(str, list(content)[:8]))
            kind = "passed over" if isinstance(value, _Forgotten) else f"a {type(value).__name__}"
            raise ValueError(
                f"{path}: {wrapper + '.' if wrapper else ''}{key} is {kind}, no tensor of PyTorch; "
                f"expected weights, bare or in one of {WRAPPERS}; the file holds {found}"
            )
    prefix = _shared_prefix(list(weights))
    others = [name for name in content if name != wrapper] if wrapper else []
    averaged = [name for name in others if _is_weights(content[name])]
    return Checkpoint(
        {key.removeprefix(prefix): value for key, value in weights.items()},
        wrapper,
        prefix,
        _class_names(content) if wrapper else None,
        tuple(str(name) for name in others if name not in averaged),
        tuple(map(str, averaged)),
    )


def _shared_prefix(keys: list[str]) -> str:
    """Return the wrappers' names that all keys begin with."""
    prefix = ""
    while True:
        longer = [prefix + each for each in PREFIXES]
        found = next((each for each in longer if all(key.startswith(each) for key in keys)), None)
        if found is None:
            return prefix
        prefix = found


def _is_weights(entry: Any) -> bool:
    is_filled = isinstance(entry, Mapping) and len(entry) > 0
    return is_filled and all(isinstance(value, Tensor) for value in entry.values())


def _load_pickle(path: Path) -> Any:
    stand_ins: list[tuple[type, str]] = [(_Forgotten, name) for name in FORGOTTEN_OBJECTS]
    stand_ins += [(_ForgottenMapping, name) for name in FORGOTTEN_MAPPINGS]
    try:
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # a damaged file can fail in any operation of the format
        name = _refused_name(str(error))
        if name:
            raise ValueError(
                f"{path}: the pickle wants to import {name}, which no weights need. Nothing in it "
                "was run; do not trust this file"
            ) from None
        raise ValueError(
            f"{path}: cut short, damaged, or no checkpoint ({type(error).__name__})"
        ) from None


def _refused_name(message: str) -> str | None:
    """Find the name that PyTorch's reader stopped at in its message."""
    patterns = (
        r"GLOBAL (\S+) was not an allowed global",
        r"unsupported GLOBAL (\S+) whose module",
    )
    for pattern in patterns:
        match = re.search(pattern, message)
        if match:
            return match[1]
    return None


def _class_names(content: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes in the metadata of mmengine or mmcv 1.x."""
    meta = content.get("meta")
    if not isinstance(meta, Mapping):
        return None
    dataset = meta.get("dataset_meta")
    names = dataset.get("classes") if isinstance(dataset, Mapping) else meta.get("CLASSES")
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
