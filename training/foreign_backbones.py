"""Backbones of timm and transformers in recipes: the config that a name means.

`timm/NAME` is a model of timm, anything else with a slash, or a folder that is there, a backbone of
transformers, of which the config is read. Weights are random, unless `model.init` names some. Heads
read four maps: the last four that a backbone has, where the recipe does not choose others. Most
transformers of timm take images of one size only, which the config cannot change.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, TimmBackboneConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

from mtp_hf.modeling.backbones import OWN_BACKBONES
from mtp_hf.training.strict_dataclass import unknown_name

TIMM = "timm/"
NUM_MAPS = 4


def is_foreign(name: str) -> bool:
    """Tell whether a name means a backbone of another library."""
    return "/" in name or Path(name).is_dir()


def foreign_config(name: str, overrides: Mapping[str, Any]) -> PreTrainedConfig:
    """Make the config of a backbone of another library.

    Args:
        name: see above.
        overrides: fields of the config.

    Raises:
        ValueError: there is no such backbone, or a field that its config lacks.
    """
    try:
        if name.startswith(TIMM):
            return _timm_config(name, overrides)
        return _transformers_config(name, overrides)
    except (TypeError, StrictDataclassError) as error:
        raise ValueError(f"model.backbone_overrides: {error}") from error


def check_input_size(name: str, *sizes: int | None) -> None:
    """Check that a backbone of timm that takes one size of images only gets no other.

    Args:
        name: see above.
        sizes: sides of training images and of windows, in pixels; None where there are no windows.

    Raises:
        ValueError: it gets others.
    """
    if not name.startswith(TIMM):
        return
    config = timm.models.get_pretrained_cfg(name.removeprefix(TIMM), allow_unregistered=True)
    if config is None or not config.fixed_input_size:
        return
    side = config.input_size[-1]
    if any(size not in (None, side) for size in sizes):
        raise ValueError(
            f"model.backbone={name} takes images of {side} pixels only; got data.image_size and"
            f" evaluation.window of {', '.join(map(str, sizes))}"
        )


def _timm_config(name: str, overrides: Mapping[str, Any]) -> TimmBackboneConfig:
    model = name.removeprefix(TIMM)
    if not timm.is_model(model.split(".")[0]):
        known = timm.list_models()
        raise ValueError(unknown_name(f"model.backbone={name}", "model of timm", model, known))
    fields: dict[str, Any] = {"out_indices": list(range(-NUM_MAPS, 0)), **overrides}
    config = TimmBackboneConfig(backbone=model)
    _set(config, fields, name)
    return config


def _transformers_config(name: str, overrides: Mapping[str, Any]) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(Path(name).expanduser() if _is_here(name) else name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"model.backbone={name}: no config of transformers, here or on the Hub: {reason}"
        ) from None
    if config.model_type in OWN_BACKBONES:
        raise ValueError(
            f"model.backbone={name} holds a {config.model_type}: name its size, such as vit_b_rvsa,"
            " and start from the folder with --init"
        )
    if type(config) not in MODEL_FOR_BACKBONE_MAPPING:
        raise ValueError(
            f"model.backbone={name}: transformers has no backbone of the kind {config.model_type}"
        )
    names = config.stage_names
    _set(config, {"out_features": names[-NUM_MAPS:], **overrides}, name)
    return config


def _is_here(name: str) -> bool:
    return Path(name).expanduser().exists()


def _set(config: PreTrainedConfig, fields: Mapping[str, Any], name: str) -> None:
    for field, value in fields.items():
        if not hasattr(config, field):
            raise ValueError(
                f"model.backbone_overrides.{field}: the config of {name} has no such field"
            )
        setattr(config, field, value)
