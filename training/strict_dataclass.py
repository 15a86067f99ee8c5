"""Nested values into frozen dataclasses, refusing what the dataclass does not declare.

YAML has two traps this file closes: `1e-4` is read as a string and a misspelt key as a new key.
Numbers are converted only where the field asks for them, and every refusal names the field by its
full dotted path, shows the value and says what was expected. Values typed on a command line arrive
as `CommandLineText` and are read by the type of their field: `no` stays the word, `null` is None.
"""

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")


class CommandLineText(str):
    """Text of one `key=value` argument, not yet read as a number, list or word."""


def build_dataclass(cls: type[T], values: Any, where: str = "") -> T:
    """Fill a (nested) dataclass from plain mappings.

    Args:
        cls: the dataclass.
        values: mapping from field names to values; missing fields keep their default.
        where: dotted path of this part, for the messages.

    Raises:
        ValueError: an unknown key (the known ones are listed), a missing field or a bad choice.
        TypeError: a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{where or 'the recipe'}: expected a mapping, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ValueError(unknown_name(_join(where, key), "key", key, fields))
    missing = [name for name, f in fields.items() if name not in values and _is_required(f)]
    if missing:
        raise ValueError(f"{where or 'the recipe'}: missing {', '.join(missing)}")
    kinds = get_type_hints(cls)
    given = {key: convert(value, kinds[key], _join(where, key)) for key, value in values.items()}
    return cls(**given)


def convert(value: Any, kind: Any, where: str) -> Any:
    """Return `value` as the type `kind`, or raise an error that names `where`."""
    if isinstance(value, CommandLineText) and kind is not str:
        value = _read_command_line_text(value, kind)
    origin = get_origin(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        return _convert_optional(value, kind, where)
    if origin is Literal:
        return _convert_choice(value, get_args(kind), where)
    if origin is tuple:
        return _convert_tuple(value, get_args(kind), where)
    if origin is Sequence:
        return _convert_tuple(value, (*get_args(kind), ...), where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError(f"{where}: expected a mapping, got {value!r}")
        item = get_args(kind)[1]
        return {str(key): convert(each, item, _join(where, key)) for key, each in value.items()}
    return _convert_scalar(value, kind, where)


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `override` over `base`, mapping by mapping; everything else is replaced whole."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def parse_override(argument: str) -> dict[str, Any]:
    """Turn `a.b.c=value` into nested mappings that end in `CommandLineText`."""
    path, equals, text = argument.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"{argument!r}: expected dotted.key=value, such as optimizer.lr=1.0e-4")
    nested: Any = CommandLineText(text.strip())
    for key in reversed(keys):
        nested = {key: nested}
    return nested


def unknown_name(shown: str, what: str, name: Any, known: Iterable[str]) -> str:
    """Compose the message for a name that is not among the known ones."""
    names = [str(each) for each in known]
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {shown!r}{hint} (known: {', '.join(names) or 'none'})"


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _is_required(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _read_command_line_text(text: CommandLineText, kind: Any) -> Any:
    """Read text as YAML unless the field holds words, where `no` must not become False."""
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    holds_words = str in options or any(get_origin(option) is Literal for option in options)
    if holds_words and str(text) not in ("null", "~", ""):
        return str(text)
    try:
        return yaml.safe_load(str(text))
    except yaml.YAMLError:
        return str(text)


def _convert_optional(value: Any, kind: Any, where: str) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if value is None and len(options) < len(get_args(kind)):
        return None
    return convert(value, options[0], where)


def _convert_choice(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if isinstance(value, bool) or value not in choices:
        hint = " (YAML reads a bare no, off or yes as a boolean: quote it)" * isinstance(
            value, bool
        )
        expected = ", ".join(map(repr, choices))
        raise ValueError(f"{where}: expected one of {expected}, got {value!r}{hint}")
    return value


def _convert_tuple(value: Any, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}: expected a list, got {value!r}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ValueError(f"{where}: expected {len(kinds)} values, got {value!r}")
    items = zip(value, kinds, strict=True)
    return tuple(convert(each, kind, f"{where}[{i}]") for i, (each, kind) in enumerate(items))


def _convert_scalar(value: Any, kind: type, where: str) -> Any:
    refusal = TypeError(f"{where}: expected {kind.__name__}, got {value!r}")
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            raise refusal from None
    if kind is bool or not isinstance(value, bool):
        if type(value) is kind:
            return value
        if kind is str and isinstance(value, str):
            return str(value)
    raise refusal
