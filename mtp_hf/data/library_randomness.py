"""Randomness of libraries as a function of a sample's own generator.

torchvision and timm draw from the global generators of Python, numpy and torch. Here these are
seeded from a numpy generator for as long as a library's transform runs, and put back after it, so
that augmentation stays a pure function of (seed, epoch, position) and training is not disturbed.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_libraries(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of the CPU from `rng`, which is asked once; restore them."""
    seed = int(rng.integers(2**32))
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)
            # Not torch.manual_seed: that reaches out to every GPU.
            torch.default_generator.manual_seed(seed)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
