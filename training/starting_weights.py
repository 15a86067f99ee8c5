"""What a finetuning run starts from: a folder, a repository of the Hub, or a file of the original.

Backbone weights are taken from whatever holds a backbone of the same kind: an encoder, a finetuned
model, the multi-task model. Position tables are interpolated to the input size of the run. The
head comes along only from a model of the same architecture with the same classes.

Source: loading rules of the original, spec 1.7.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor
from transformers import PreTrainedModel

from mtp_hf.conversion.decoder_reuse import ReuseReport, load_pretraining_decoder
from mtp_hf.hub.whole_model import read_config, read_weights
from mtp_hf.modeling.convert_mtp_checkpoint import fit_position_table
from mtp_hf.training.build_model import (
    ORIGINAL_TABLES,
    check_layers,
    some_names,
    start_backbone,
)
from mtp_hf.training.finetune_schema import FinetuneModel

BACKBONE = "backbone."


def start_network(network: PreTrainedModel, wishes: FinetuneModel) -> list[str]:
    """Give a network the weights that a recipe starts from.

    Args:
        network: changed in place.
        wishes: `init`, `init_decoder`, `take_head`.

    Returns:
        What was taken, missing and left over, in lines for the log.

    Raises:
        ValueError: nothing is there, it is of another kind or size, or its classes are others.
    """
    lines = []
    if wishes.init:
        path = find_weights(wishes.init, "model.init")
        kind = network.backbone.config.model_type
        if path.is_file() and kind not in ORIGINAL_TABLES:
            raise ValueError(f"model.init={wishes.init}: a {kind} starts from a folder, not a file")
        if path.is_file():
            lines.append(start_backbone(network.backbone, str(path)))
        else:
            lines.append(_start_from_folder(network, path, wishes))
    if wishes.init_decoder:
        path = find_weights(wishes.init_decoder, "model.init_decoder")
        try:
            report = load_pretraining_decoder(network, path)
            _check_decoder(report)
        except ValueError as error:
            raise ValueError(f"model.init_decoder={wishes.init_decoder}: {error}") from None
        lines.append(f"decoder of {path}: {report.summary()}")
    return lines


def find_weights(name: str, field: str) -> Path:
    """Find a file or folder here, else on the Hub.

    Args:
        name: path or Hub id.
        field: of the recipe, for the message.

    Raises:
        ValueError: it is neither, or the Hub could not be asked.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{field}={name}: no such file or folder, and not from the Hub: {reason}"
        ) from None


@torch.no_grad()
def _start_from_folder(network: PreTrainedModel, folder: Path, wishes: FinetuneModel) -> str:
    config, weights = read_config(folder), read_weights(folder)
    _check_kind(network, config, folder)
    if type(network).__name__ in (config.get("architectures") or []) and wishes.take_head:
        _check_classes(network, config, folder)
        return _copy(network, weights, f"start from all of {folder}")
    return _copy(
        network.backbone, _backbone_weights(weights), f"start from the backbone of {folder}"
    )


def _backbone_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An encoder's own weights; those of a model without its head."""
    if not any(name.startswith(BACKBONE) for name in weights):
        return dict(weights)
    return {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in weights.items()
        if name.startswith(BACKBONE)
    }


def _copy(module: Any, weights: Mapping[str, Tensor], title: str) -> str:
    own = module.state_dict()
    taken = {}
    for name, tensor in weights.items():
        if name in own:
            fitted = fit_position_table(name, tensor, own[name])
            if fitted.shape != own[name].shape:
                raise ValueError(
                    f"{title}: {name} is {tuple(fitted.shape)} there and {tuple(own[name].shape)}"
                    " in the network of the recipe: another size (model.backbone)"
                )
            taken[name] = fitted
    if not taken:
        raise ValueError(f"{title}: none of its {len(weights)} tensors fits")
    missing = [name for name in own if name not in taken]
    unused = [name for name in weights if name not in own]
    check_layers(missing, unused, title)
    module.load_state_dict(taken, strict=False)
    about = f"{title}: {len(taken)} tensors; new: {some_names(missing)}"
    return f"{about}; not used: {some_names(unused)}"


def _check_decoder(report: ReuseReport) -> None:
    """Refuse a decoder of other widths: a part of one learns no better than none."""
    misfits = [f"{name} is {why}" for name, why in report.not_taken.items() if "decoders" in name]
    sizes = [each for each in misfits if "in pretraining" in each]
    if sizes or not any(name.startswith("decoder.") for name in report.taken):
        told = sizes[0] if sizes else "other parameters"
        raise ValueError(
            f"its decoder does not fit: {told}; set model.head.hidden_size to the width of"
            " pretraining"
        )


def _check_kind(network: PreTrainedModel, config: Mapping[str, Any], folder: Path) -> None:
    found = (config.get("backbone_config") or config).get("model_type")
    expected = network.backbone.config.model_type
    if found != expected:
        raise ValueError(
            f"{folder} has a backbone of the kind {found}, the recipe one of the kind {expected}"
            " (model.backbone)"
        )


def _check_classes(network: PreTrainedModel, config: Mapping[str, Any], folder: Path) -> None:
    found = list((config.get("id2label") or {}).values())
    expected = list((network.config.id2label or {}).values())
    if len(found) != len(expected):
        raise ValueError(
            f"the model in {folder} has {len(found)} classes ({', '.join(found[:3])} ...), the data"
            f" set {len(expected)} ({', '.join(expected[:3])} ...); model.take_head=false starts"
            " from its backbone alone"
        )
    if found != expected and not found[0].startswith("LABEL_"):
        other = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
        raise ValueError(
            f"class {other} of the model in {folder} is {found[other]!r}, of the data set"
            f" {expected[other]!r}; model.take_head=false starts from its backbone alone"
        )
