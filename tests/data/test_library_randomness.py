import random

import numpy as np
import pytest
import torch

from mtp_hf.data.library_randomness import seeded_libraries


def _draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_draws_are_a_function_of_the_generator():
    draws = []
    for seed in (3, 3, 4):
        _draw()  # whatever the global generators did before
        with seeded_libraries(np.random.default_rng(seed)):
            draws.append(_draw())
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))


def test_the_global_generators_go_on_as_if_nothing_was_drawn():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = [_draw(), _draw()]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = _draw()
    with seeded_libraries(np.random.default_rng(0)):
        _draw()
    assert [first, _draw()] == expected


def test_the_global_generators_are_restored_after_an_error():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = _draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with pytest.raises(KeyError), seeded_libraries(np.random.default_rng(0)):
        _draw()
        raise KeyError
    assert _draw() == expected


def test_the_generator_is_asked_once_however_much_is_drawn():
    quiet, busy = np.random.default_rng(5), np.random.default_rng(5)
    with seeded_libraries(quiet):
        pass
    with seeded_libraries(busy):
        for _ in range(9):
            _draw()
    assert quiet.random() == busy.random()
