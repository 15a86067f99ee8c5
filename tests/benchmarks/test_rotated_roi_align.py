"""The benchmark of pooling rotated regions."""

from benchmarks import rotated_roi_align
from benchmarks.rotated_roi_align import run


def test_quick_rows_are_forward_and_forward_with_backward():
    forward, both = run(quick=True)
    shape = "8 RoIs, 4 x 16 x 16 map, 7 x 7"
    assert (forward.case, both.case) == (f"forward, {shape}", f"forward + backward, {shape}")
    assert (forward.at_most, both.at_most) == (0.4, 1.0)
    assert forward.value > 0 and both.value > 0 and forward.unit == both.unit == "V"


def test_the_backward_side_really_makes_a_gradient(monkeypatch):
    features = []
    original = rotated_roi_align.rotated_roi_align

    def watched(maps, *args):
        features.append(maps)
        return original(maps, *args)

    monkeypatch.setattr(rotated_roi_align, "rotated_roi_align", watched)
    run(quick=True)
    assert features[-1].grad is not None and features[-1].grad.abs().sum() > 0
    assert all(each is features[0] for each in features)
