"""Claims about turning nested values into dataclasses."""

import dataclasses
from typing import Any, Literal

import pytest

from mtp_hf.training.strict_dataclass import (
    CommandLineText,
    build_dataclass,
    convert,
    merge,
    parse_override,
)


@dataclasses.dataclass(frozen=True)
class Leaf:
    size: int
    rate: float = 0.5
    mode: Literal["no", "bf16"] = "no"


@dataclasses.dataclass(frozen=True)
class Root:
    leaf: Leaf
    leaves: dict[str, Leaf] = dataclasses.field(default_factory=dict)
    names: tuple[str, ...] = ()
    pair: tuple[float, float] = (0.9, 0.999)
    path: str | None = None
    count: int | None = None
    flag: bool = False
    free: dict[str, Any] = dataclasses.field(default_factory=dict)


def test_defaults_fill_what_is_not_given():
    root = build_dataclass(Root, {"leaf": {"size": 3}})
    assert root == Root(leaf=Leaf(size=3))


def test_nested_values_become_dataclasses_and_tuples():
    values = {
        "leaf": {"size": 1},
        "leaves": {"a": {"size": 2}},
        "names": ["x", "y"],
        "pair": [1, 2],
    }
    root = build_dataclass(Root, values)
    assert root.leaves == {"a": Leaf(size=2)}
    assert root.names == ("x", "y")
    assert root.pair == (1.0, 2.0)


def test_unknown_key_is_named_with_its_dotted_path_and_a_suggestion():
    values = {"leaf": {"size": 1}, "leaves": {"a": {"size": 2, "raet": 1.0}}}
    with pytest.raises(
        ValueError, match=r"'leaves\.a\.raet'; did you mean 'rate'\? .*size, rate, mode"
    ):
        build_dataclass(Root, values)


def test_missing_required_field_is_named():
    with pytest.raises(ValueError, match="leaf: missing size"):
        build_dataclass(Root, {"leaf": {}})


@pytest.mark.parametrize(("given", "expected"), [("1e-4", 1e-4), (2, 2.0), (0.1, 0.1)])
def test_float_fields_take_numbers_and_number_words(given, expected):
    value = convert(given, float, "lr")
    assert value == expected
    assert type(value) is float


@pytest.mark.parametrize(
    ("kind", "value"),
    [(float, "fast"), (float, True), (int, "3"), (int, 3.0), (int, True), (str, 3), (bool, 1)],
)
def test_wrong_types_are_refused_with_field_value_and_expected_type(kind, value):
    with pytest.raises(TypeError, match=rf"a\.b: expected {kind.__name__}, got {value!r}"):
        convert(value, kind, "a.b")


def test_choice_read_as_boolean_by_yaml_is_refused_with_the_reason():
    with pytest.raises(
        ValueError, match="leaf.mode: expected one of 'no', 'bf16', got False .*quote"
    ):
        build_dataclass(Root, {"leaf": {"size": 1, "mode": False}})


@pytest.mark.parametrize(
    ("value", "message"),
    [("ab", "names: expected a list"), ([1], r"names\[0\]: expected str, got 1")],
)
def test_tuple_of_words_refuses_other_things(value, message):
    with pytest.raises(TypeError, match=message):
        build_dataclass(Root, {"leaf": {"size": 1}, "names": value})


def test_pair_of_wrong_length_is_refused():
    with pytest.raises(ValueError, match="pair: expected 2 values"):
        convert([0.9], tuple[float, float], "pair")


@pytest.mark.parametrize("value", [3, "x", [1]])
def test_mapping_fields_refuse_other_things(value):
    with pytest.raises(TypeError, match="expected a mapping"):
        build_dataclass(Root, {"leaf": value})


def test_free_mapping_keeps_its_values():
    assert build_dataclass(Root, {"leaf": {"size": 1}, "free": {"k": [1, "a"]}}).free == {
        "k": [1, "a"]
    }


def test_merge_goes_down_mappings_and_replaces_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "e": 2}) == {"a": {"b": 1, "c": [3]}, "d": 1, "e": 2}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_override_argument_becomes_nested_text():
    assert parse_override("a.b=x=y") == {"a": {"b": "x=y"}}


@pytest.mark.parametrize("argument", ["lr", "=3", "a..b=3", ".a=1"])
def test_malformed_override_is_refused(argument):
    with pytest.raises(ValueError, match="expected dotted.key=value"):
        parse_override(argument)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("no", Literal["no", "bf16"], "no"),
        ("no", str, "no"),
        ("12", str, "12"),
        ("null", str | None, None),
        ("7", str | None, "7"),
        ("null", int | None, None),
        ("7", int | None, 7),
        ("1e-4", float, 1e-4),
        ("[ss, rd]", tuple[str, ...], ("ss", "rd")),
        ("true", bool, True),
        ("32", Any, 32),
    ],
)
def test_command_line_text_is_read_by_the_type_of_its_field(text, kind, expected):
    assert convert(CommandLineText(text), kind, "key") == expected


def test_unreadable_command_line_text_is_refused_by_type():
    with pytest.raises(TypeError, match="key: expected a list"):
        convert(CommandLineText("[1, "), tuple[str, ...], "key")
