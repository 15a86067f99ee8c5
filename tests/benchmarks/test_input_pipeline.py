"""The benchmark of the input pipeline: every step is timed, on what a worker really does."""

import pytest

from benchmarks import input_pipeline
from benchmarks.input_pipeline import run
from mtp_hf.data.transforms import RejectedSampleError

STEPS = [
    "row",
    "read",
    "DropDegenerate",
    "RandomFlip",
    "RandomResize",
    "RandomCrop",
    "FilterInstances",
    "PhotometricDistortion",
    "finalize",
    "collate",
]


@pytest.fixture(scope="module")
def rows():
    return run(quick=True)


def test_each_kind_of_file_has_a_rate_with_target_and_data(rows):
    jpeg, png = (row for row in rows if row.unit == "samples/s")
    assert (jpeg.case, jpeg.at_least) == ("128-pixel JPEG to 64 px", 60.0)
    assert (png.case, png.at_least) == ("128-pixel PNG to 64 px", 15.0)
    assert jpeg.value > 0 and "objects" in jpeg.note and "kB an image" in jpeg.note


@pytest.mark.parametrize("name", ["128-pixel JPEG", "128-pixel PNG"])
def test_every_step_of_a_sample_has_its_time(rows, name):
    listed = [row for row in rows if row.case.startswith(f"{name}: ")]
    assert [row.case.removeprefix(f"{name}: ") for row in listed] == STEPS
    assert all(row.unit == "ms" and row.value > 0 for row in listed)


def test_a_sample_that_loses_its_objects_is_left_out_of_the_later_steps(monkeypatch):
    calls = []

    class Reject:
        def __call__(self, sample, rng):
            calls.append(sample)
            raise RejectedSampleError

    class Source:
        rows = [{}]
        name = "a"
        row_to_sample = staticmethod(dict)
        transforms = input_pipeline.Compose([Reject()])

        def __len__(self):
            return 1

    monkeypatch.setattr(input_pipeline, "Collate", lambda size: pytest.fail)
    with pytest.warns(RuntimeWarning):  # the mean of no number
        seconds = input_pipeline._seconds_of_steps(Source(), 64, 3)
    assert len(calls) == 3 and list(seconds) == ["row", "read", "Reject", "collate"]
