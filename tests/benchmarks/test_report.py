"""Rows, their Markdown, and the description of the machine."""

import pytest
import torch

from benchmarks import report
from benchmarks.report import Row, describe_machine, has_bf16_instructions, markdown_table


@pytest.mark.parametrize(
    ("value", "bounds", "met"),
    [
        (1.0, {"at_most": 1.0}, True),
        (1.01, {"at_most": 1.0}, False),
        (2.0, {"at_least": 2.0}, True),
        (1.9, {"at_least": 2.0}, False),
        (3.0, {"at_least": 2.0, "at_most": 2.5}, False),
        (3.0, {}, None),
        (None, {"at_most": 1.0}, None),
    ],
)
def test_a_target_is_met_on_its_bound_and_unknown_without_number(value, bounds, met):
    assert Row(case="", value=value, unit="x", **bounds).is_met is met


def test_a_row_shows_number_target_and_verdict():
    rows = [
        Row(case="forward", value=1.2345, unit="x", at_most=1.22, note="2 s"),
        Row(case="data", value=61234.5, unit="samples/s", at_least=60),
        Row(case="bf16", value=None, unit="x", note="no instructions"),
    ]
    assert markdown_table(rows).splitlines() == [
        "| case | measured | target |  | how |",
        "| --- | --- | --- | --- | --- |",
        "| forward | 1.23 x | at most 1.22 | missed | 2 s |",
        "| data | 61,234 samples/s | at least 60 | met |  |",
        "| bf16 | - |  |  | no instructions |",
    ]


def test_a_number_just_beyond_its_bound_does_not_look_like_the_bound():
    cells = Row(case="", value=1.2249, unit="x", at_most=1.22).cells()
    assert cells[1:4] == ["1.225 x", "at most 1.22", "missed"]


def test_the_machine_is_named_with_versions():
    words = describe_machine()
    assert f"torch {torch.__version__.split('+')[0]}" in words and "cores" in words
    assert ("no GPU" in words) == (not torch.cuda.is_available())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: Chip\nflags\t\t: fpu avx2 avx512_bf16\n", True),
        ("model name\t: Chip\nflags\t\t: fpu avx2\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("", False),
    ],
)
def test_bf16_instructions_are_read_from_the_flags(monkeypatch, tmp_path, text, expected):
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    monkeypatch.setattr(report, "CPU_INFO", file)
    assert has_bf16_instructions() is expected


def test_a_system_without_cpu_info_is_described_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "CPU_INFO", tmp_path / "absent")
    assert not has_bf16_instructions()
    assert "cores" in describe_machine()
