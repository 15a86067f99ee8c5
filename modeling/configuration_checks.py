"""Checks that configurations share: misspelt fields, and maps where nobody looks for them."""

import dataclasses
from collections.abc import Sequence

from transformers import PreTrainedConfig

# Keywords that transformers itself passes to or writes into configurations.
_LIBRARY_KEYS = {
    "_attn_implementation_internal",
    "_commit_hash",
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "out_features",
    "out_indices",
    "output_attentions",
    "torch_dtype",
    "transformers_version",
}


def reject_unknown_keys(config: PreTrainedConfig, kwargs: dict) -> None:
    """Raise a `TypeError` that names unknown keywords and the known fields.

    Args:
        config: Configuration under construction, a dataclass.
        kwargs: What its constructor got beyond its fields.
    """
    fields = [f.name for f in dataclasses.fields(config) if not f.name.startswith("_")]
    unknown = sorted(k for k in kwargs if k not in _LIBRARY_KEYS and not k.startswith("_"))
    if unknown:
        raise TypeError(
            f"{type(config).__name__} has no field {', '.join(unknown)}; "
            f"its fields are {', '.join(sorted(fields))}"
        )


def check_map_strides(backbone_config: object, strides: Sequence[int], reader: str) -> None:
    """Refuse a backbone whose maps are not where a detector looks for them.

    Args:
        backbone_config: With `map_strides`, or of another library and not checked here.
        strides: What is expected, finest first.
        reader: Who expects it, for the message.

    Raises:
        ValueError: Both strides.
    """
    found = getattr(backbone_config, "map_strides", None)
    if found is not None and list(found) != list(strides):
        raise ValueError(
            f"the backbone makes maps of strides {list(found)}, but {reader} reads maps "
            f"of strides {list(strides)}"
        )


def check_windows(window: int | None, stride: int | None) -> None:
    """Refuse sliding windows that leave pixels out, or half of their description.

    Raises:
        ValueError: one of the two is missing, or not 1 <= stride <= window.
    """
    if (window is None) != (stride is None):
        raise ValueError(f"test_window={window} and test_stride={stride}: give both or none")
    if window is not None and stride is not None and not 1 <= stride <= window:
        raise ValueError(f"test_stride={stride}; expected 1 to test_window={window}")
