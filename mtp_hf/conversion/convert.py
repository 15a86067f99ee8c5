"""From an original state dict to a model of ours: recognise, configure, rename, account for keys.

Everything works on shapes and names, so that it runs on the meta device as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from mtp_hf.conversion.backbones import BACKBONE_KINDS, BackboneFacts, describe_backbone
from mtp_hf.conversion.config import Wishes, build_config
from mtp_hf.conversion.families import FAMILIES, backbone_prefix, recognise_family
from mtp_hf.conversion.report import (
    WHY_MISSING,
    WHY_MISSING_OF_PLAIN,
    WHY_UNUSED,
    WHY_UNUSED_OF_BACKBONE,
    ConversionReport,
    KeyFate,
    reason_for,
)
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.convert_mtp_checkpoint import RenameTable, move_table, rename_key
from mtp_hf.modeling.convert_mtp_decoders import pretraining_table


@dataclass
class Conversion:
    """A converted checkpoint, before it is written.

    Args:
        family: row of `FAMILIES`.
        backbone_prefix: of the original.
        model_class: of ours.
        config: of ours.
        state_dict: our names -> tensors of the file, all weights in its widest type.
        narrow_types: original keys -> types of those that the file holds in a narrower one.
        unused: original keys -> tensors that nothing of ours uses, or not the whole of.
        report: what became of every key.
    """

    family: str
    backbone_prefix: str
    model_class: type[PreTrainedModel]
    config: PreTrainedConfig
    state_dict: dict[str, Tensor]
    narrow_types: dict[str, str]
    unused: dict[str, Tensor]
    report: ConversionReport

    def build_model(self) -> PreTrainedModel:
        """Make the model around the tensors, without copying them.

        Parameters that the file lacks start as in a new model (seed 0), counters at 0.
        """
        weights = dict(self.state_dict)
        missing = list(self.report.missing)
        if missing:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                fresh = self.model_class(self.config).state_dict()
            widest = _widest_type(weights)
            weights |= {
                name: fresh[name].to(widest) if fresh[name].is_floating_point() else fresh[name]
                for name in missing
            }
        model = _on_meta(self.model_class, self.config)
        model.load_state_dict(weights, strict=True, assign=True)
        return model.eval()


def convert_state_dict(
    state_dict: Mapping[str, Tensor],
    wishes: Wishes | None = None,
    *,
    strict: bool = True,
) -> Conversion:
    """Convert an original state dict.

    Args:
        state_dict: original keys, bare of wrappers such as `module.`.
        wishes: what the keys cannot tell.
        strict: fail on any key, or parameter of ours, that is left over without a known reason.

    Raises:
        ValueError: another architecture, a shape that does not fit, a wish that contradicts the
            keys or, if strict, an unexplained key.
    """
    wishes = wishes or Wishes()
    shapes = {key: tuple(tensor.shape) for key, tensor in state_dict.items()}
    name = recognise_family(shapes)
    family = FAMILIES[name]
    prefix = backbone_prefix(family, shapes)
    bare = {k.removeprefix(prefix): s for k, s in shapes.items() if k.startswith(prefix)}
    try:
        backbone = describe_backbone(bare)
    except ValueError as error:
        raise ValueError(f"backbone, keys {prefix}*: {error}") from None
    config, assumed = build_config(family, shapes, backbone, wishes)
    model_class = family.model_class(backbone.kind)
    table = full_table(name, backbone.kind, prefix, config)
    own = _on_meta(model_class, config).state_dict()
    weights, table_key = state_dict, f"{prefix}pos_embed"
    if f"{prefix}cls_token" in state_dict:
        weights = {**state_dict, table_key: state_dict[table_key][:, 1:]}
    fates, renamed = _rename(weights, own, table, _reasons(name, backbone))
    report = ConversionReport(_title(name, backbone), model_class.__name__, fates, assumed)
    narrow = _widen(renamed, report)
    if strict and report.unexplained:
        found = report.unexplained
        raise ValueError(
            f"{report.family}: {len(found)} keys have no place: {'; '.join(found[:10])}"
            + ("; ..." if len(found) > 10 else "")
        )
    unused = {key: state_dict[key] for key in report.unused}
    if weights is not state_dict:
        unused[table_key] = state_dict[table_key]  # with the position of the class token
    return Conversion(name, prefix, model_class, config, renamed, narrow, unused, report)


def full_table(family: str, backbone: str, prefix: str, config: PreTrainedConfig) -> RenameTable:
    """Return the rows for all keys of a checkpoint.

    Args:
        family: row of `FAMILIES`.
        backbone: row of `BACKBONE_KINDS`.
        prefix: of the backbone's original keys.
        config: of ours; names the data sets of the multi-task model.
    """
    new_prefix = "" if FAMILIES[family].model_is_backbone else "backbone."
    rows = move_table(BACKBONE_KINDS[backbone].table, prefix, new_prefix)
    if isinstance(config, MTPPreTrainingConfig):
        return [*rows, *pretraining_table(config.datasets)]
    return [*rows, *FAMILIES[family].table]


def _rename(
    state_dict: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    table: RenameTable,
    reasons: tuple[list[tuple[str, str]], list[tuple[str, str]]],
) -> tuple[list[KeyFate], dict[str, Tensor]]:
    """Decide about every key.

    Raises:
        ValueError: a shape or a type does not fit, or two keys become one.
    """
    why_unused, why_missing = reasons
    fates, renamed, mismatched = [], {}, []
    for key, tensor in state_dict.items():
        name = rename_key(key, table)[1]
        if name not in own:
            fates.append(KeyFate(key, None, reason_for(key, why_unused)))
            continue
        if name in renamed:
            raise ValueError(f"two keys become {name}; the second is {key}")
        if tensor.shape != own[name].shape:
            mismatched.append(f"{key} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
        if own[name].is_floating_point() and not tensor.is_floating_point():
            raise ValueError(f"{key} is of type {tensor.dtype}, expected floating-point numbers")
        renamed[name] = tensor
        fates.append(KeyFate(key, name))
    if mismatched:
        raise ValueError(
            f"shapes that do not fit the other keys, or --set: {'; '.join(mismatched[:10])}"
        )
    fates += [
        KeyFate(None, name, reason_for(name, why_missing)) for name in own if name not in renamed
    ]
    return fates, renamed


def _widest_type(weights: Mapping[str, Tensor]) -> torch.dtype:
    """Return the type that holds every weight exactly."""
    types = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    if len(types) == 1:
        return types.pop()
    return torch.float64 if torch.float64 in types else torch.float32


def _widen(weights: dict[str, Tensor], report: ConversionReport) -> dict[str, str]:
    """Bring all weights to one type in place, which loses nothing, and say so.

    A network has one type: loaded as they are, the wider weights may be rounded without a word.

    Returns:
        Original keys -> types that were narrower.
    """
    widest = _widest_type(weights)
    narrow = {}
    for key, name in report.converted.items():
        tensor = weights[name]
        if tensor.is_floating_point() and tensor.dtype != widest:
            narrow[key] = str(tensor.dtype).removeprefix("torch.")
            weights[name] = tensor.to(widest)
    if narrow:
        types = ", ".join(sorted(set(narrow.values())))
        report.notes.append(
            f"{len(narrow)} tensors of the file are of type {types}; all are saved as"
            f" {str(widest).removeprefix('torch.')}, and the way back restores their types"
        )
    return narrow


def _reasons(
    family: str, backbone: BackboneFacts
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return why keys of the file and parameters of ours may be left over."""
    is_bare = FAMILIES[family].model_is_backbone
    unused = [*WHY_UNUSED, *(WHY_UNUSED_OF_BACKBONE if is_bare else ())]
    missing = [*WHY_MISSING, *(WHY_MISSING_OF_PLAIN if is_bare and backbone.is_plain else ())]
    return unused, missing


def _title(family: str, backbone: BackboneFacts) -> str:
    if FAMILIES[family].model_is_backbone:
        return "plain vision transformer (MAE)" if backbone.is_plain else backbone.title
    return f"{FAMILIES[family].title} on {backbone.title}"


def _on_meta(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return model_class(config)
