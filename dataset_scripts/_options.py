"""Options of a data set that a user wrote down, compared with the fields of its config.

They come from a command line or a recipe, so a text may stand where numbers or a list are meant.
"""

import dataclasses
import numbers
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import datasets

NUMBERS: dict[Any, type] = {int: numbers.Integral, float: numbers.Real}


def check_options(
    data_set: str, config: datasets.BuilderConfig, options: Mapping[str, Any]
) -> None:
    """Refuse options that the config has not, and values of another type.

    Args:
        data_set: name, for messages.
        config: whose class says what there is.
        options: as written; None leaves an option as it is.

    Raises:
        ValueError: naming option, value and what was expected.
    """
    own = option_names(config)
    hints = get_type_hints(type(config))
    for name, value in options.items():
        if name not in own:
            raise ValueError(
                f"data set {data_set!r} has no option {name!r} in config {config.name!r}; expected"
                f" one of {', '.join(own)}"
            )
        if value is not None and not _fits(value, hints[name]):
            raise ValueError(
                f"data set {data_set!r}: {name}={value!r}; expected {_describe(hints[name])}"
            )


def option_names(config: datasets.BuilderConfig) -> list[str]:
    """Names of the options of a config, sorted."""
    inherited = {field.name for field in dataclasses.fields(datasets.BuilderConfig)}
    return sorted({field.name for field in dataclasses.fields(config)} - inherited)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin in (list, tuple):  # a list of YAML may be meant as a tuple
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, NUMBERS.get(hint, hint))


def _describe(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return f"{text}, as in [a, b]" if "list[" in text or "tuple[" in text else text
