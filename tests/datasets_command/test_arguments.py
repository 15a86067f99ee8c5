"""Arguments that several actions share."""

import argparse

import pytest

from mtp_hf.datasets_command.arguments import add_num_proc, add_source, positive, source_of
from mtp_hf.datasets_command.source import Source


def parse(*arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_source(parser)
    add_num_proc(parser)
    return parser.parse_args(arguments)


def test_a_source_has_name_config_folder_and_options():
    args = parse(
        "samrs/sior", "data", "--option", "split_seed=3", "--option", "tasks=[ss, rd]",
        "--option", "on_error=skip",
    )  # fmt: skip
    options = {"split_seed": 3, "tasks": ["ss", "rd"], "on_error": "skip"}
    assert source_of(args) == Source("samrs", "sior", "data", options)


def test_a_value_may_hold_an_equals_sign():
    assert source_of(parse("samrs", "d", "--option", "a=b=c")).options == {"a": "b=c"}


@pytest.mark.parametrize("pair", ["tasks", "=ss", ""])
def test_an_option_without_key_or_value_is_refused(pair):
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        source_of(parse("samrs", "d", "--option", pair))


def test_a_value_that_is_no_yaml_is_refused():
    with pytest.raises(ValueError, match=r"--option 'a=\[b'; the value is no YAML \(while parsing"):
        source_of(parse("samrs", "d", "--option", "a=[b"))


@pytest.mark.parametrize("key", ["name", "config", "data_dir", "cache_dir"])
def test_an_argument_is_no_option(key):
    with pytest.raises(ValueError, match=f"{key} is no option of a data set"):
        source_of(parse("samrs", "d", "--option", f"{key}=x"))


@pytest.mark.parametrize("key", ["text", "folder", "version"])
def test_a_name_of_the_program_is_no_option(key, tmp_path):
    source = source_of(parse("samrs", str(tmp_path), "--option", f"{key}=x"))
    with pytest.raises(ValueError, match=f"has no option '{key}'"):
        source.open()


def test_numbers_below_one_are_refused():
    assert positive("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match="0 is less than 1"):
        positive("0")
    assert parse("samrs", "d").num_proc >= 1
