"""Freed memory stays with the process that asked for it."""

import platform
import resource
import subprocess
import sys

import pytest

from mtp_hf.training import host_memory

COUNT_PAGE_FAULTS = """
import resource, sys, torch
from mtp_hf.training.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.set_num_threads(1)
def step():
    return float((torch.ones(2**24) * 2 + 1).sum())  # tensors of 64 MiB
for _ in range(5):  # the pool grows until its holes fit
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    assert step() == 3 * 2**24
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(how):
    run = [sys.executable, "-c", COUNT_PAGE_FAULTS, how]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_pages_of_freed_tensors_are_used_again():
    a_tensor = 2**26 // resource.getpagesize()
    given_back = _page_faults("give back")
    assert given_back >= 10 * 2 * a_tensor
    assert _page_faults("keep") <= given_back / 5  # holes may still join and the pool grow


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert not host_memory.keep_freed_memory()
