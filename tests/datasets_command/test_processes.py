"""Processes of a pool end with the command that started them."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor

import psutil

from mtp_hf.datasets_command.processes import end_with_parent


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
