"""Recorded weights of the original under our names; every key must have a row in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtp_hf.modeling.convert_mtp_checkpoint import VIT_RVSA_TABLE, RenameTable, rename_key
from mtp_hf.modeling.convert_mtp_decoders import pretraining_table


def rename_keys(state_dict: Mapping[str, Any], table: RenameTable) -> dict[str, Any]:
    """Apply a table to every key; rows that drop keys do."""
    renamed: dict[str, Any] = {}
    for key, value in state_dict.items():
        is_known, name = rename_key(key, table)
        assert is_known, f"no row of the table matches {key}"
        assert name not in renamed, f"two keys become {name}; the second is {key}"
        if name is not None:
            renamed[name] = value
    return renamed


def rename_vit_rvsa_keys(
    state_dict: Mapping[str, Any],
    prefix: str = "encoder.",
    *,
    new_prefix: str = "",
    keep_norm: bool = False,
) -> dict[str, Any]:
    """Take the backbone out of weights; its final norm only where it is applied."""
    backbone = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
    renamed = rename_keys(backbone, VIT_RVSA_TABLE)
    return {
        new_prefix + name: value
        for name, value in renamed.items()
        if keep_norm or not name.startswith("norm.")
    }


def rename_mtp_keys(state_dict: Mapping[str, Any], datasets: Sequence[str]) -> dict[str, Any]:
    """Rename a whole multi-task model, whose data sets 1, 2, 3 have these names."""
    backbone = rename_vit_rvsa_keys(state_dict, "encoder.", new_prefix="backbone.")
    rest = {key: value for key, value in state_dict.items() if not key.startswith("encoder.")}
    return backbone | rename_keys(rest, pretraining_table(datasets))
