"""The benchmark of rotated mAP: the loop it is compared with finds the same number."""

import pytest

from benchmarks import rotated_map
from benchmarks.rotated_map import accumulate, loop_over_classes, make_images, run


def test_quick_rows_are_seconds_and_the_loop():
    whole, loop = run(quick=True)
    assert whole.case == "1,000 detections, 10 images, 15 classes"
    assert (whole.unit, whole.at_most) == ("s", 20.0)
    assert loop.case.endswith(", 1 images") and loop.value > 0
    assert loop.at_least == 10.0


def test_every_image_has_the_stated_numbers_and_classes():
    predictions, references = make_images(3)
    assert [len(p["scores"]) for p in predictions] == [100] * 3
    assert [len(r["rotated_boxes"]) for r in references] == [20] * 3
    assert all((p["rotated_boxes"][:, 2:4] > 0).all() for p in predictions)
    assert all(0 <= p["labels"].min() <= p["labels"].max() < 15 for p in predictions)


def test_the_loop_and_the_accumulator_agree():
    predictions, references = make_images(8)
    ours = accumulate(predictions, references)
    assert 0.05 < ours < 0.95  # neither trivial nor perfect
    assert loop_over_classes(predictions, references) == pytest.approx(ours, abs=1e-12)


def test_another_number_than_the_loops_is_an_error(monkeypatch):
    monkeypatch.setattr(rotated_map, "loop_over_classes", lambda *_: 0.0)
    with pytest.raises(AssertionError, match="the loop finds AP50 0.0"):
        run(quick=True)
