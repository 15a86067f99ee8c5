"""Fixtures of the training tests."""

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from tiny_run import TINY_MODEL

from mtp_hf.training.recipe import load_recipe


@pytest.fixture
def tiny_recipe():
    """The demo recipe with the smallest network that has every part."""
    return load_recipe("pretrain/demo", overrides=TINY_MODEL)


@pytest.fixture
def accelerator():
    """A fresh accelerator on the CPU; its states are global and are reset."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._shared_state.clear()
    return Accelerator(cpu=True, step_scheduler_with_optimizer=False)
