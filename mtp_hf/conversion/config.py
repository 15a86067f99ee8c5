"""The config of a converted model: what the keys tell, then what the user sets.

Source: original spec 1.5 (which variant of the backbone belongs to which model).
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from mtp_hf.conversion.backbones import BACKBONE_KINDS, BackboneFacts, Shapes
from mtp_hf.conversion.families import Family
from mtp_hf.conversion.heads import (
    Fields,
    classes_of,
    count_classes,
    label_fields,
    pretraining_fields,
)
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig

_BACKBONE = "backbone_config"


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the user adds to what the keys tell.

    Args:
        dataset: name whose classes the head has; three with commas for the multi-task model.
        settings: field -> value; `backbone_config.hidden_size` names the config where two have
            the field; `out_indices` are the original's blocks, from 0.
        class_names: those in the file's own metadata, used where `dataset` is not given.
    """

    dataset: str | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] | None = None


def build_config(
    family: Family, shapes: Shapes, backbone: BackboneFacts, wishes: Wishes
) -> tuple[PreTrainedConfig, dict[str, str]]:
    """Make the config of a checkpoint.

    Args:
        family: of the checkpoint.
        shapes: of all its keys.
        backbone: what the keys of the backbone tell.
        wishes: of the user.

    Returns:
        The config, and what was assumed: field -> value and why.

    Raises:
        ValueError: a wish contradicts the keys, or names a field that is not there.
    """
    backbone_class = BACKBONE_KINDS[backbone.kind].config_class
    fields, assumed = _head_fields(family, shapes, wishes)
    assumed = backbone.assumed | assumed
    backbone_fields = dict(backbone.fields)
    if backbone.kind == "vit_rvsa":
        backbone_fields["feature_variant"] = family.feature_variant or _variant(shapes, backbone)
    nested: dict[str, Fields] = {_BACKBONE: backbone_fields} if family.config_class else {}
    own = fields if family.config_class else backbone_fields | fields
    classes = {_BACKBONE: backbone_class, "": family.config_class or backbone_class}
    for name, value in wishes.settings.items():
        section, field = _place(name, classes)
        if field == "out_indices":
            value = [block + 1 for block in _block_numbers(value)]  # ours count the stem as 0
        (nested.setdefault(section, {}) if section else own)[field] = value
        assumed.pop(field, None)
    for section, values in nested.items():
        if section != _BACKBONE:
            own[section] = {**own.get(section, {}), **values}
    try:
        if family.config_class:
            own[_BACKBONE] = backbone_class(**nested[_BACKBONE])
        return classes[""](**own), assumed
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ValueError(f"the config does not fit together: {error}") from None


def _block_numbers(value: Any) -> list[int]:
    """Check the value of `out_indices`.

    Raises:
        ValueError: not a list of block numbers.
    """
    # `type`, since false and true are integers, too
    if not isinstance(value, list | tuple) or not all(type(i) is int and i >= 0 for i in value):
        raise ValueError(f"out_indices={value!r}: expected blocks counted from 0, as [3, 5, 7, 11]")
    return list(value)


def _head_fields(family: Family, shapes: Shapes, wishes: Wishes) -> tuple[Fields, dict[str, str]]:
    """Read the fields of the head, with the names of the classes."""
    if family.config_class is MTPPreTrainingConfig:
        return pretraining_fields(shapes, wishes.dataset)
    if not family.table:
        if wishes.dataset:
            raise ValueError(f"--dataset {wishes.dataset}: a {family.title} has no classes")
        return {}, {}
    num_labels, key = count_classes(shapes)
    fields = family.head_fields(shapes)
    if wishes.dataset:
        names, source = classes_of(wishes.dataset), wishes.dataset
        return fields | label_fields(num_labels, key, names, source), {}
    names = wishes.class_names or ()
    if len(names) == len(set(names)) == num_labels:  # else they are no names of these classes
        return fields | label_fields(num_labels, key, names, "the file"), {}
    unnamed = {"id2label": f"{num_labels} classes without names; --dataset NAME gives them"}
    return fields | label_fields(num_labels, key, None, ""), unnamed


def _variant(shapes: Shapes, backbone: BackboneFacts) -> str:
    """Tell the variant by the operators that are there."""
    if not any(re.search(r"(^|\.)fpn[12]\.\d\.", key) for key in shapes):
        return "multi_depth"
    has_norm = any(key.removeprefix("backbone.") == "norm.weight" for key in shapes)
    if has_norm and not backbone.fields["use_full_attention_rel_pos"] and not backbone.is_plain:
        return "last_layer_pyramid"  # the detectors' copy, the only one to apply the norm
    return "multi_depth_pyramid"


def _place(name: str, classes: Mapping[str, type[PreTrainedConfig]]) -> tuple[str, str]:
    """Find the config, "" for the outermost, and the field that a setting means."""
    section, _, field = name.rpartition(".")
    if section:
        known = _fields(classes[section]) if section in classes else None
        if known is None and section not in _fields(classes[""]):
            raise ValueError(f"--set {name}: there is no {section}")
        if known is not None and field not in known:
            raise ValueError(f"--set {name}: no such field; expected one of {sorted(known)}")
        return ("" if classes[""] is classes.get(section) else section), field
    if field.endswith("_config"):
        raise ValueError(f"--set {name}: a whole config; set its fields, as {name}.FIELD=VALUE")
    if field in ("num_labels", "id2label", "label2id"):
        raise ValueError(
            f"--set {name}: the classes are those of the file's head; --dataset NAME names them"
        )
    for section in ("", _BACKBONE):
        if field in _fields(classes[section]):
            is_own = section == "" or classes[section] is classes[""]
            return ("" if is_own else section), field
    raise ValueError(
        f"--set {name}: no such field; expected one of "
        + ", ".join(sorted(_fields(classes[""]) | _fields(classes[_BACKBONE])))
    )


def _fields(config_class: type[PreTrainedConfig]) -> set[str]:
    """Return the fields of a config that may be set, without what transformers adds."""
    inherited = {f.name for f in dataclasses.fields(PreTrainedConfig)}
    own = {f.name for f in dataclasses.fields(config_class)} - inherited
    stages = {"out_indices"} if "_out_indices" in own else set()
    return {name for name in own if not name.startswith("_")} | stages
