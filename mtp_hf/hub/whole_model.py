"""Read a folder in Hub layout whole, or not at all.

What is unusual: where weights are missing, `from_pretrained` draws random ones and goes on with a
warning; here that is an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from mtp_hf.hub.bundle import AUTO_CLASSES


def load_whole(model_class: type[PreTrainedModel], source: Path | str) -> PreTrainedModel:
    """Load a model of which nothing may be missing or left over.

    Args:
        model_class: class that it was saved from.
        source: folder, or Hub id.

    Raises:
        ValueError: there is no such model, its files are not whole, or its weights are not those of
            its config.
    """
    try:
        model, report = model_class.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, SafetensorError, StrictDataclassError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{source} cannot be loaded: {reason}") from None
    wrong = {kind: sorted(map(str, keys)) for kind, keys in report.items() if keys}
    if wrong:
        kind, keys = next(iter(wrong.items()))
        raise ValueError(f"{source}: {kind.replace('_', ' ')}: {', '.join(keys[:5])}")
    return model


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config of a folder.

    Raises:
        ValueError: there is none, or it is no JSON object.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds no model: no config.json")
    return read_json(folder / "config.json")


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: holds a {type(content).__name__}, expected an object")
    return content


def class_named(config: Mapping[str, Any]) -> type[PreTrainedModel] | None:
    """Return the class of this package that a config was saved from, None if it is another's."""
    (name, *_) = config.get("architectures") or [None]
    return next((each for each in AUTO_CLASSES if each.__name__ == name), None)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a folder as they are stored: no name and no type is changed.

    Raises:
        ValueError: there are none in the form of safetensors, or a file is not whole.
    """
    index, names = folder / "model.safetensors.index.json", {"model.safetensors"}
    if index.is_file():
        names = set(read_json(index).get("weight_map", {}).values())
    weights: dict[str, Tensor] = {}
    for name in sorted(names):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no weights: no {name}")
        weights |= read_tensors(folder / name)
    return weights


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read a file of safetensors.

    Raises:
        ValueError: it is cut short or damaged.
    """
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: not whole: {error}") from None
