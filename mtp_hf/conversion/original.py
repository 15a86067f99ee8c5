"""Back to the original: a folder of ours becomes a checkpoint under the original's names.

For a folder that was converted from a checkpoint the result has the same keys and the same bits.
Without its record, layers that the original never applies are left out; it loads without them.

Source: the tables of `modeling/convert_*.py`, read backwards; original spec 1.3 h (index).
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mtp_hf.conversion.backbones import BACKBONE_KINDS
from mtp_hf.conversion.convert import full_table
from mtp_hf.conversion.families import FAMILIES
from mtp_hf.hub.whole_model import (
    class_named,
    load_whole,
    read_config,
    read_json,
    read_tensors,
    read_weights,
)
from mtp_hf.modeling.convert_mtp_checkpoint import invert_table, rename_key

# Beside converted weights: the fate of every key, and what nothing of ours uses.
RECORD, LEFTOVERS = "conversion.json", "original_unused.safetensors"
WINDOW_TABLE = "attn.relative_position_bias_table"


def restore_original(
    source: Path | str, destination: Path | str, *, overwrite: bool = False
) -> list[str]:
    """Write a folder of ours as a `.pth` file of the original.

    Args:
        source: folder with config and weights.
        destination: file to write.
        overwrite: replace a file that is there.

    Returns:
        The original's keys.

    Raises:
        ValueError: the folder is not a model of ours, or the file is there already.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    if destination.suffix == ".safetensors":
        raise ValueError(f"{destination}: the original's files are pickles; expected NAME.pth")
    if destination.exists() and not overwrite:
        raise ValueError(f"{destination}: exists already; --overwrite replaces it")
    model = _load(source)
    record = _record(source)
    family = record.get("row") or _family_of(model)
    prefix = record.get("backbone_prefix", FAMILIES[family].prefixes[-1])
    # Not the model's own: it has one type, and these may have been saved in several.
    weights = original_state_dict(read_weights(source), model.config, family, prefix)
    for key, name in record.get("narrow_types", {}).items():
        weights[key] = weights[key].to(getattr(torch, name))
    leftovers = source / LEFTOVERS
    if leftovers.is_file():
        weights |= read_tensors(leftovers)
    order = [key for key in record.get("keys", weights) if key in weights]
    outer = record.get("prefix", "")
    content: Any = {outer + key: weights[key] for key in order}
    wrapper = record.get("wrapper", "state_dict")
    _save_whole(content if wrapper is None else {wrapper: content}, destination)
    return list(order)


def original_state_dict(
    state_dict: dict[str, Tensor], config: PreTrainedConfig, family: str, prefix: str
) -> dict[str, Tensor]:
    """Give the parameters of a model the names of the original, and add its constants.

    Args:
        state_dict: our names.
        config: of ours.
        family: row of `FAMILIES`.
        prefix: of the backbone's original keys.

    Raises:
        ValueError: a parameter that the original does not have.
    """
    backbone_type = getattr(config, "backbone_config", config).model_type
    kind = next(
        (k for k, row in BACKBONE_KINDS.items() if row.config_class.model_type == backbone_type),
        None,
    )
    if kind is None:
        raise ValueError(f"the original has no backbone of type {backbone_type}")
    table = invert_table(full_table(family, kind, prefix, config))
    renamed: dict[str, Tensor] = {}
    for name, tensor in state_dict.items():
        key = rename_key(name, table)[1]
        if key is None:
            raise ValueError(f"{name}: the original has no such parameter")
        renamed[key] = tensor
    return _with_window_names(renamed, prefix)


def relative_position_index(side: int) -> Tensor:
    """Return the row of the bias table for each query and key of a window.

    Args:
        side: tokens on a side.

    Returns:
        (side side, side side) int64: vertical distance, then horizontal distance.
    """
    place = torch.arange(side)
    distance = place[:, None] - place + side - 1
    pairs = distance[:, None, :, None] * (2 * side - 1) + distance[None, :, None, :]
    return pairs.reshape(side**2, side**2)


def _with_window_names(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tell the relative positions of windows from those of full attention; add the index."""
    named = {}
    for key, tensor in weights.items():
        block = re.match(re.escape(prefix) + r"blocks\.\d+\.", key)
        is_window = block is not None and block[0] + WINDOW_TABLE in weights
        named[key.replace("full_attn_rel_pos", "rel_pos") if is_window else key] = tensor
        if key.endswith(WINDOW_TABLE):
            side = (round(tensor.shape[0] ** 0.5) + 1) // 2
            constant = key.removesuffix(WINDOW_TABLE) + "attn.relative_position_index"
            named[constant] = relative_position_index(side)
    return named


def _load(source: Path) -> PreTrainedModel:
    """Load the folder with the class that it was saved from."""
    config = read_config(source)
    model_class = class_named(config)
    if model_class is None:
        architecture = (config.get("architectures") or ["a model without a name"])[0]
        raise ValueError(f"{source / 'config.json'}: {architecture} is no model of this package")
    return load_whole(model_class, source)


def _record(source: Path) -> dict[str, Any]:
    """Read what a conversion left, if there was one."""
    file = source / RECORD
    record = read_json(file) if file.is_file() else {}
    if record.get("row", "backbone") not in FAMILIES:
        raise ValueError(f"{file}: row {record['row']!r}, expected one of {', '.join(FAMILIES)}")
    return record


def _family_of(model: PreTrainedModel) -> str:
    for name, family in FAMILIES.items():
        models = family.models if isinstance(family.models, dict) else {"": family.models}
        if type(model) in models.values():
            return name
    raise ValueError(f"the original has no {type(model).__name__}")


def _save_whole(content: Any, destination: Path) -> None:
    """Write a file that is either whole or not there."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{destination.name}.", dir=destination.parent)
        os.close(handle)
    except OSError as error:
        raise ValueError(f"{destination}: cannot be written: {error}") from None
    try:
        torch.save(content, name)
        os.replace(name, destination)
    except OSError as error:
        raise ValueError(f"{destination}: cannot be written: {error}") from None
    finally:
        Path(name).unlink(missing_ok=True)
