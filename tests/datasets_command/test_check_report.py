"""A check as text and as JSON."""

import json

import numpy as np
import pytest

from mtp_hf.datasets_command.check import BROKEN, NO_EXAMPLE, Finding, Report, SplitNumbers
from mtp_hf.datasets_command.check_report import box_numbers, report_text, report_values
from mtp_hf.datasets_command.families import Family
from mtp_hf.datasets_command.source import Source

FAMILY = Family("detection", ("plane", "ship"), ("image",), None, ("objects",))


@pytest.fixture
def report():
    numbers = SplitNumbers(3, 2)
    numbers.sizes.update({(800, 600): 2})
    numbers.class_counts["objects"] = np.array([1200, 0])
    numbers.num_objects["objects"] = [2, 0]
    numbers.boxes["objects"] = [np.array([[0, 0, 10, 20], [0, 0, 30, 5.0]]), np.zeros((0, 4))]
    findings = [Finding(BROKEN, "train", [f"file {number}: odd" for number in range(12)])]
    findings.append(Finding(NO_EXAMPLE, "train, objects", ["ship"]))
    return Report(Source("made", "all", "folder"), FAMILY, {"train": numbers}, findings)


def test_the_text_has_numbers_then_errors_then_remarks(report):
    assert report_text(report).split("\n\n") == [
        "made/all in folder: detection, 2 classes",
        "| split | records | pictures | pixels (width x height) |\n"
        "|-------|---------|----------|-------------------------|\n"
        "| train | 3       | 2        | 800 x 600: 2            |",
        "| class | train, objects |\n|-------|----------------|\n"
        "| plane | 1,200          |\n| ship  | 0              |",
        "| boxes          | number | a picture (mean, most)"
        " | shorter side in px (0 / 5 / 50 / 95 / 100 %)"
        " | longer side in px (0 / 5 / 50 / 95 / 100 %) |\n"
        "|----------------|--------|------------------------"
        "|----------------------------------------------"
        "|---------------------------------------------|\n"
        "| train, objects | 2      | 1, 2                  "
        " | 5 / 5.2 / 7.5 / 9.8 / 10                    "
        " | 20 / 20.5 / 25 / 29.5 / 30                  |",
        "wrong:\n  records that cannot be read (train): 12\n"
        + "".join(f"    file {number}: odd\n" for number in range(10))
        + "    and 2 more; --json names all",
        "remarks:\n  classes without an example (train, objects): 1\n    ship",
        "12 things are wrong.",
    ]


def test_a_report_without_errors_says_that_nothing_is_wrong(report):
    report.findings = report.findings[1:]
    assert report_text(report).endswith("\n\nNothing is wrong.")
    report.findings = [Finding(BROKEN, "train", ["one"])]
    assert report_text(report).endswith("\n\n1 thing is wrong.")


def test_long_lines_are_cut_in_the_text_only(report):
    report.findings = [Finding(BROKEN, "train", ["x" * 1000])]
    assert f"    {'x' * 300} ...\n" in report_text(report)
    assert report_values(report)["findings"][0]["items"] == ["x" * 1000]


def test_values_name_everything_and_survive_json(report):
    values = json.loads(json.dumps(report_values(report)))
    assert values["is_clean"] is False
    assert values["splits"]["train"]["sizes"] == {"800x600": 2}
    assert values["splits"]["train"]["class_counts"] == {"objects": {"plane": 1200, "ship": 0}}
    assert [(found["count"], found["is_error"]) for found in values["findings"]] == [
        (12, True),
        (1, False),
    ]
    assert len(values["findings"][0]["items"]) == 12


def test_a_split_without_objects_has_no_percentiles():
    numbers = SplitNumbers(1, 1)
    numbers.num_objects["objects"], numbers.boxes["objects"] = [0], [np.zeros((0, 4))]
    assert box_numbers(numbers, "objects") == {
        "num_objects": 0,
        "num_objects_mean": 0.0,
        "num_objects_max": 0,
    }
