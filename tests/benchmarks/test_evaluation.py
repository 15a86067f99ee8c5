"""The benchmark of evaluation: processes that share the images, and a bound on what they gain."""

import pytest

from benchmarks import evaluation
from benchmarks.evaluation import noise_source, run
from benchmarks.report import NotHereError


def test_the_row_is_the_median_of_the_rounds_with_its_bound(monkeypatch):
    speeds = iter([10.0, 18.0, 10.0, 17.0, 5.0, 10.0])  # one and two processes in turn
    monkeypatch.setattr(evaluation, "launch", lambda num_processes, quick: next(speeds))
    monkeypatch.setattr(evaluation.os, "cpu_count", lambda: 2)
    (row,) = run(quick=False)
    assert row.value == pytest.approx(1.8)
    assert row.at_least == 1.6
    assert row.note == "1: 10 images/s, 2: 17 images/s"


def test_one_core_cannot_tell(monkeypatch):
    monkeypatch.setattr(evaluation.os, "cpu_count", lambda: 1)
    with pytest.raises(NotHereError, match="2 processes need a core each"):
        run(quick=True)


def test_two_processes_measure_all_images_once():
    assert evaluation.launch(2, quick=True) > 0  # the process checks how many were measured


def test_references_lie_apart_as_evaluation_expects_them():
    source = noise_source(64, 3, 2)
    sample = source.row_to_sample(source.rows[0])
    assert "label" not in sample
    assert sample["reference"].keys() == {"image_id", "label"}
