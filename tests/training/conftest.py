"""Fixtures of the training tests."""

import datasets
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from mtp_hf.training.recipe import load_recipe
from tests.fakes import write_samrs
from tests.hub.hub_fixtures import bundle, client, hub, network  # noqa: F401
from tests.training.tiny_run import TINY_MODEL


@pytest.fixture
def tiny_recipe():
    """The demo recipe with the smallest network that has every part."""
    return load_recipe("pretrain/demo", overrides=TINY_MODEL)


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Forget the accelerators of other tests: their states are global."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._shared_state.clear()


@pytest.fixture
def accelerator():
    """A fresh accelerator on the CPU."""
    return Accelerator(cpu=True, step_scheduler_with_optimizer=False)


@pytest.fixture(scope="session")
def samrs_root(tmp_path_factory):
    """Three tiny sets in the SAMRS layouts."""
    return write_samrs(tmp_path_factory.mktemp("samrs"))


@pytest.fixture(scope="session")
def datasets_cache(tmp_path_factory):
    """A cache of prepared sets of its own, shared by the tests."""
    return tmp_path_factory.mktemp("datasets_cache")


@pytest.fixture
def samrs_recipe(samrs_root, datasets_cache, monkeypatch):
    """The tiny recipe on the tiny sets, two images a step of each."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", datasets_cache)
    return load_recipe("pretrain/demo", overrides=[*TINY_MODEL, f"data.root={samrs_root}"])
