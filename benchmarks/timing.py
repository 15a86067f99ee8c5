"""Timing of several things in turn, in one process, and the unit V of the targets.

Other work on a machine comes and goes in seconds. So the sides of a comparison take turns, and a
ratio is the median of the ratios of the rounds.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import timm
import torch

Side = Callable[[], object]


class Seconds(dict[str, list[float]]):
    """Seconds of each side, round by round."""

    def ratio(self, side: str, other: str) -> float:
        """Median over the rounds of `side` divided by `other`."""
        return statistics.median(a / b for a, b in zip(self[side], self[other], strict=True))

    def median(self, side: str) -> float:
        """Median seconds of a side."""
        return statistics.median(self[side])

    def note(self, *sides: str) -> str:
        """Median seconds of the sides, in words."""
        return ", ".join(f"{side} {format_seconds(self.median(side))}" for side in sides)


def take_turns(
    sides: Mapping[str, Side], rounds: int, *, synchronize: Side | None = None
) -> Seconds:
    """Time every side in every round, after one round that does not count.

    Args:
        sides: what to time, by name.
        rounds: how often.
        synchronize: waits until a device has finished.
    """
    wait = synchronize or (lambda: None)
    seconds = Seconds({name: [] for name in sides})
    for number in range(rounds + 1):
        for name, run in sides.items():
            wait()
            started = time.perf_counter()
            run()
            wait()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def plain_vit(
    image_size: int, *, quick: bool = False, name: str = "vit_base_patch16_224"
) -> torch.nn.Module:
    """Make timm's ViT, B/16 by default (a tiny one if quick), with random weights."""
    tiny = {"embed_dim": 32, "depth": 2, "num_heads": 2} if quick else {}
    return timm.create_model(name, img_size=image_size, **tiny)


def forward_of_plain_vit(*, quick: bool = False) -> Side:
    """Return what takes the time V: ViT-B/16, one image of 224 pixels, float32, no gradient."""
    size = 32 if quick else 224
    model, image = plain_vit(size, quick=quick).eval(), torch.randn(1, 3, size, size)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return model(image)

    return forward


def format_seconds(seconds: float) -> str:
    """Write a duration with three digits in s, ms or µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
