"""Shared fixtures: seeds, one thread, no network, and the optional folder of recordings."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def _seed_and_threads():
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)  # a run that a test starts may have set another number


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with real data and recordings, for building; the suite passes without it."""
    folder = Path(os.environ.get("MTP_HF_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("the folder of real data and recordings is not here (MTP_HF_SHARED)")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Recorded numbers that travel with the tests (at most 200 kB a file)."""
    return Path(__file__).parent / "fixtures"
