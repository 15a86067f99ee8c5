"""Reading a whole set: what the report holds; the command itself is tried in test_check_action."""

import numpy as np
import pytest

from mtp_hf.datasets_command.check import CHUNK, REMARKS, Finding, check_source
from mtp_hf.datasets_command.row_summary import BROKEN, NO_OBJECT
from mtp_hf.datasets_command.source import parse_source
from tests.datasets_command.made_sets import clean_rows, objects_of, picture_row, write_rows
from tests.fakes import image_path, write_samrs_by_hand


@pytest.fixture
def report(made_builder, tmp_path):
    def run(config, rows, num_proc=1):
        root = write_rows(tmp_path / "set", rows)
        source = parse_source(f"made/{config}", root)
        return check_source(source, num_proc=num_proc, show_progress=False)

    return run


def many_rows(count):
    rows = [picture_row(f"i{number:03}") for number in range(count)]
    for number, row in enumerate(rows):
        row["objects"] = objects_of([[1, 1, 4 + number % 7, 5]] * (number % 3), [0] * (number % 3))
    return {"train": rows}


@pytest.mark.parametrize("num_proc", [1, 2])
def test_the_order_of_findings_is_that_of_the_records(report, num_proc):
    rows = many_rows(3 * CHUNK + 1)
    for number in (3, CHUNK, 3 * CHUNK):
        rows["train"][number] = {"broken": f"record {number}"}
    found = {finding.kind: finding for finding in report("detection", rows, num_proc).findings}
    numbers = [int(item.rpartition(" ")[2]) for item in found[BROKEN].items]
    assert numbers == [3, CHUNK, 3 * CHUNK]
    empty = [item.rpartition("/")[2] for item in found[NO_OBJECT].items]
    assert empty == sorted(empty)


def test_objects_are_counted_by_picture(report):
    numbers = report("detection", many_rows(7)).splits["train"]
    assert numbers.num_objects["objects"] == [0, 1, 2, 0, 1, 2, 0]
    assert np.concatenate(numbers.boxes["objects"]).shape == (6, 4)
    assert numbers.class_counts["objects"].tolist() == [6, 0, 0]


def test_an_empty_split_beside_a_full_one_is_counted_as_empty(report, tmp_path):
    rows = clean_rows("classification", tmp_path / "set") | {"test": []}
    found = report("classification", rows)
    assert found.splits["test"].num_images == 0
    assert found.is_clean


def test_other_counts_than_published_are_a_remark(report, tmp_path, monkeypatch):
    from mtp_hf.dataset_scripts.facts import FACTS, SetFacts

    facts = SetFacts("", "change detection", "mit", "", "", (), {"change": {"train": 3}})
    monkeypatch.setitem(FACTS, "made", facts)
    found = report("change", clean_rows("change", tmp_path / "set"))
    assert found.findings == [Finding("not as many pictures as published", "train", ["2 of 3"])]
    assert found.is_clean


def test_warnings_of_the_builder_are_remarks(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    for name in ("train.txt", "valid.txt"):
        (folder / name).unlink()
    for number, stem in enumerate("abc"):  # three pictures of different content
        path = image_path(folder, "fast", stem)
        path.write_bytes(path.read_bytes() + b"x" * number)
    found = check_source(parse_source("samrs/fast", tmp_path), show_progress=False)
    warned = [finding for finding in found.findings if finding.kind.startswith("warnings")]
    assert "drawn with seed 0" in warned[0].items[0]
    assert found.is_clean


def test_remarks_are_no_errors():
    assert not any(Finding(kind, "train", ["x"]).is_error for kind in REMARKS)
    assert Finding(BROKEN, "train", ["x"]).is_error


def test_published_splits_that_are_not_there_are_a_remark(report, tmp_path, monkeypatch):
    from mtp_hf.dataset_scripts.facts import FACTS, SetFacts

    counts = {"change": {"train": 2, "validation": 1, "test": 5}}
    facts = SetFacts("", "change detection", "mit", "", "", (), counts)
    monkeypatch.setitem(FACTS, "made", facts)
    found = report("change", clean_rows("change", tmp_path / "set"))
    assert found.findings == [Finding("published splits that are not there", "all", ["test"])]
    assert found.is_clean
