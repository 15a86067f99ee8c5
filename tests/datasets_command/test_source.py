"""Data sets as commands name them."""

import logging

import pytest

from mtp_hf.datasets_command.source import Source, list_records, parse_source
from tests.datasets_command.made_sets import clean_rows, write_rows
from tests.fakes import write_samrs_by_hand


def test_a_name_without_a_config_means_the_first_one():
    assert parse_source("samrs", "data") == Source("samrs", "sota", "data")
    assert str(parse_source("samrs/fast", "data")) == "samrs/fast"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samr", "unknown data set 'samr'; expected one of .*samrs"),
        ("samrs/dior", r"'samrs' has no config 'dior'; expected one of \['sota', "),
        ("samrs/sior/x", "'samrs' has no config 'sior/x'"),
        ("", "unknown data set ''"),
    ],
)
def test_an_unknown_name_is_an_error_that_says_what_is_known(text, message):
    with pytest.raises(ValueError, match=message):
        parse_source(text, "data")


def test_options_reach_the_builder(tmp_path):
    write_samrs_by_hand(tmp_path, "sior")
    builder = parse_source("samrs/sior", tmp_path, tasks=["ss"]).open()
    assert builder.config.resolved_tasks() == ("ss",)


def test_records_are_listed_by_split(made_builder, tmp_path):
    root = write_rows(tmp_path, clean_rows("detection", tmp_path))
    splits, warnings = list_records(parse_source("made/detection", root).open())
    assert {split: len(records) for split, records in splits.items()} == {
        "train": 2,
        "validation": 1,
    }
    assert warnings == []


def test_a_folder_without_records_is_an_error(made_builder, tmp_path):
    root = write_rows(tmp_path, {"train": []})
    with pytest.raises(
        ValueError, match="no image for any split of made_sets/detection; is this the"
    ):
        list_records(parse_source("made/detection", root).open())


def test_warnings_of_the_listing_are_returned_and_not_printed(tmp_path, capfd):
    folder = write_samrs_by_hand(tmp_path, "sior")
    (folder / "train.txt").unlink()
    (folder / "valid.txt").unlink()
    logger = logging.getLogger("mtp_hf.dataset_scripts")
    before = logger.propagate, list(logger.handlers)
    _, warnings = list_records(parse_source("samrs/sior", tmp_path).open())
    assert len(warnings) == 1
    assert "no train.txt and valid.txt" in warnings[0]
    assert "train.txt" not in capfd.readouterr().err
    assert (logger.propagate, list(logger.handlers)) == before
