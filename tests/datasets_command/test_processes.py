"""Processes of a pool end with the command that started them."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor

import psutil
import pytest

from mtp_hf.datasets_command.processes import end_with_parent, map_in_order
from mtp_hf.datasets_command.source import parse_source
from tests.datasets_command.made_sets import write_rows


def _wait_with_two_processes():
    with ProcessPoolExecutor(2, initializer=end_with_parent) as pool:
        list(pool.map(time.sleep, [600, 600]))


def test_processes_of_a_killed_command_end():
    command = multiprocessing.get_context("fork").Process(target=_wait_with_two_processes)
    command.start()
    while len(children := psutil.Process(command.pid).children()) < 2:
        time.sleep(0.01)
    time.sleep(0.5)  # until both wait
    os.kill(command.pid, signal.SIGKILL)
    command.join()
    _, alive = psutil.wait_procs(children, timeout=30)
    for process in alive:
        process.kill()
    assert alive == []


def test_a_process_without_parent_goes_on():
    end_with_parent()
    time.sleep(0.1)


def _square(builder, item):
    return os.getpid(), item * item


@pytest.mark.parametrize("num_proc", [1, 2])
def test_results_are_in_the_order_of_the_items(made_builder, tmp_path, num_proc):
    source = parse_source("made/detection", write_rows(tmp_path / "set", {"train": []}))
    found = list(map_in_order(_square, range(50), source, source.open(), num_proc=num_proc))
    assert [square for _, square in found] == [item * item for item in range(50)]
    assert (os.getpid() in {process for process, _ in found}) == (num_proc == 1)
