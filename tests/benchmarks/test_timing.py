"""Taking turns, ratios, threads and the unit V."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import timing
from benchmarks.timing import (
    Seconds,
    format_seconds,
    forward_of_plain_vit,
    plain_vit,
    take_turns,
    use_threads,
)


def test_sides_take_turns_and_the_first_round_does_not_count():
    calls = []
    sides = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = take_turns(sides, 3)
    assert calls == ["a", "b"] * 4
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 3, "b": 3}


def test_a_side_is_timed_from_a_finished_device_to_a_finished_device(monkeypatch):
    events = []
    clock = SimpleNamespace(perf_counter=lambda: events.append("clock") or 0.0)
    monkeypatch.setattr(timing, "time", clock)
    take_turns({"a": lambda: events.append("run")}, 1, synchronize=lambda: events.append("wait"))
    assert events[4:] == ["wait", "clock", "run", "wait", "clock"]


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # The ratio of the medians, 5 / 4, would mix rounds.
    seconds = Seconds(a=[2.0, 5.0, 90.0], b=[1.0, 4.0, 30.0])
    assert seconds.ratio("a", "b") == 2.0
    assert seconds.ratio("b", "a") == 0.5
    assert seconds.median("a") == 5.0
    assert seconds.note("a", "b") == "a 5 s, b 4 s"


def test_threads_are_given_back_even_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), use_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_v_is_a_forward_pass_of_one_image_without_gradient():
    logits = forward_of_plain_vit(quick=True)()
    assert logits.shape == (1, 1000) and not logits.requires_grad


def test_the_plain_vit_is_vit_base_of_the_size_asked_for():
    with torch.device("meta"):
        model = plain_vit(448)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(87.1e6, rel=0.01)
    assert len(model.blocks) == 12 and model.pos_embed.shape == (1, 1 + 28**2, 768)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.34, "12.3 s"), (0.0123, "12.3 ms"), (2e-5, "20 µs"), (123.4, "123 s")],
)
def test_seconds_are_written_with_three_digits(seconds, words):
    assert format_seconds(seconds) == words
