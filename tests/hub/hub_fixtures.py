"""Fixtures of the tests that meet a Hub: the Hub, the real client turned to it, a run to push."""

import pytest
import torch

from mtp_hf.hub.bundle import save_bundle
from mtp_hf.training.build_model import build_model
from mtp_hf.training.recipe import load_recipe
from tests.hub.loopback_client import client_of
from tests.hub.loopback_hub import LoopbackHub
from tests.hub.run_facts import FACTS
from tests.training.tiny_run import TINY_MODEL

CLASS_NAMES = {"sior": ["ship", "plane"], "sota_rbb": ["ship"], "fast": ["car"]}


@pytest.fixture(scope="session")
def network():
    """A tiny pretraining network."""
    torch.manual_seed(0)
    recipe = load_recipe("pretrain/demo", overrides=TINY_MODEL)
    return build_model(recipe, CLASS_NAMES).eval()


@pytest.fixture(scope="session")
def bundle(network, tmp_path_factory):
    """What a run leaves for the Hub; to be read only."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "losses.png").write_bytes(b"a picture")
    save_bundle(network, folder, FACTS)
    return folder


@pytest.fixture(scope="session")
def images():
    """Two images whose sides are no multiples of the window."""
    return torch.randn(2, 3, 112, 128, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def hub():
    """A fresh Hub without repositories; nothing turns to it by itself."""
    with LoopbackHub().running() as server:
        yield server


@pytest.fixture
def client(hub, tmp_path):
    """The client of this process logged in to `hub`; the value is its environment elsewhere."""
    with client_of(hub, tmp_path / "hf_home") as environment:
        yield environment
