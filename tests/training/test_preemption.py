"""Claims about leaving on a signal: noted, agreed on, obeyed between steps and batches."""

import os
import signal
import subprocess

import pytest
from accelerate import Accelerator
from torch.utils.data import DataLoader

from mtp_hf.training import preemption
from mtp_hf.training.preemption import (
    PATIENCE_S,
    StoppedBySignal,
    StopSignals,
    WatchedBatches,
    shield_workers,
)
from tests.training.process_group import run_processes


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(preemption.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_is_noted_and_gives_the_exit_status(accelerator, signum, status):
    with StopSignals(accelerator) as signals:
        assert signals.agreed() is None
        os.kill(os.getpid(), signum)
        assert signals.agreed() == signum
    assert StoppedBySignal(signum).exit_status == status


def test_outside_the_context_signals_do_what_they_did(accelerator):
    before = [signal.getsignal(each) for each in preemption.SIGNALS]
    with StopSignals(accelerator):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(each) for each in preemption.SIGNALS] == before


def test_the_first_signal_is_answered_on_the_console_once(accelerator, capfd):
    with StopSignals(accelerator):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().err.count("SIGTERM: saving after this step") == 1


def test_a_signal_that_a_launcher_passes_on_as_well_counts_once(accelerator, clock, monkeypatch):
    with StopSignals(accelerator) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        clock[0] += PATIENCE_S - 1
        os.kill(os.getpid(), signal.SIGTERM)  # would end the tests
        assert signals.agreed() == signal.SIGTERM


def test_a_second_sigterm_ends_the_process_at_once(accelerator, clock, monkeypatch):
    sent = []
    with StopSignals(accelerator):
        os.kill(os.getpid(), signal.SIGUSR1)
        clock[0] += PATIENCE_S + 1
        real_kill = os.kill
        monkeypatch.setattr(preemption.os, "kill", lambda *args: sent.append(args))
        real_kill(os.getpid(), signal.SIGUSR1)
        assert sent == []
        real_kill(os.getpid(), signal.SIGTERM)
        assert sent == [(os.getpid(), signal.SIGTERM)]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_validation_ends_between_two_batches(accelerator):
    with StopSignals(accelerator) as signals:
        batches = WatchedBatches(DataLoader(range(6), batch_size=2), signals)
        assert len(batches) == 3
        seen = []
        with pytest.raises(StoppedBySignal, match="stopped by SIGUSR1"):
            for batch in batches:
                seen.append(batch.tolist())
                os.kill(os.getpid(), signal.SIGUSR1)
    assert seen == [[0, 1]]


def test_all_processes_stop_at_the_same_step_one_after_the_signal_at_the_latest():
    answers = run_processes(_steps_until_stopped)
    assert [answer["stopped"] for answer in answers] == [(4, signal.SIGTERM)] * 2
    assert [answer["received"] for answer in answers] == [None, signal.SIGTERM]


def test_shards_of_different_length_stop_together_or_not_at_all():
    answers = run_processes(_validate_until_stopped)
    assert [answer["lengths"] for answer in answers] == [2, 3]
    assert [answer["undisturbed"] for answer in answers] == [2, 3]
    assert [answer["seen"] for answer in answers] == [1, 1]


def test_workers_outlive_a_signal_to_the_whole_job_but_obey_their_own_process():
    loader = shield_workers(DataLoader(range(200), batch_size=1, num_workers=1))
    iterator = iter(loader)
    next(iterator)  # the worker is shielded once it gives batches
    (worker,) = iterator._workers
    for name in ("-TERM", "-USR1"):
        subprocess.run(["kill", name, str(worker.pid)], check=True)  # by another process
    assert sum(1 for _ in iterator) == 199
    iterator = iter(loader)
    next(iterator)
    (worker,) = iterator._workers
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(timeout=20)
    assert worker.exitcode == 0
    iterator._shutdown_workers()


def test_the_loader_s_own_start_of_a_worker_still_happens():
    loader = DataLoader(_Environment(), num_workers=1, worker_init_fn=_set_mark)
    assert list(shield_workers(loader)) == [["7"]]


class _Environment(list):
    """A data set of one item, which tells of a mark in its process."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return os.environ.get("MARK_OF_A_TEST", "none")


def _set_mark(worker_id):
    os.environ["MARK_OF_A_TEST"] = "7"


def _steps_until_stopped():
    accelerator = Accelerator(cpu=True)
    answer = {}
    with StopSignals(accelerator) as signals:
        for step in range(1, 10):
            if step == 3 and accelerator.process_index == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            signum = signals.agreed()
            if signum:
                answer["stopped"] = (step, signum)
                break
    return answer | {"received": signals.received}


def _validate_until_stopped():
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    loader = DataLoader(range(2 + rank))  # the second process has a batch more
    with StopSignals(accelerator) as signals:
        batches = WatchedBatches(loader, signals)
        answer = {"lengths": len(batches), "undisturbed": sum(1 for _ in batches), "seen": 0}
        signals.agreed()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            for _ in WatchedBatches(loader, signals):
                answer["seen"] += 1
        except StoppedBySignal:
            return answer
    raise AssertionError("nobody stopped")
