"""Fixtures of the tests of `mtp-hf data`."""

import datasets
import pytest

from tests.datasets_command.made_sets import made_builder  # noqa: F401
from tests.hub.hub_fixtures import client, hub  # noqa: F401


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf_cache")
