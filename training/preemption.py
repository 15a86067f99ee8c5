"""Leaving on SIGTERM and SIGUSR1, which schedulers send before they take a machine away.

The signal only sets a flag. At the next step boundary, or between two batches of a validation, all
processes agree on it, a checkpoint is written and the run leaves with status 128 + signal. A
launcher passes on a signal that the scheduler sends to every process as well, so one that arrives
twice within `PATIENCE_S` counts once; later, a second SIGTERM ends the process at once.

One process looks at its flag, which costs nothing. Several reduce their flags on the CPU, through a
gloo group of their own, while the next step is computed: the result is there when it is needed, no
device waits, and all processes stop at the same step, the one after the signal at the latest.
"""

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import distributed
from torch.utils.data import DataLoader

from mtp_hf.training.processes import TIMEOUT

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
PATIENCE_S = 5.0


class StoppedBySignal(Exception):  # noqa: N818 - no error, the run can go on later
    """All processes have agreed to leave.

    Args:
        signum: the signal, the highest where processes got different ones.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """What a shell shows for a process that such a signal ended."""
        return 128 + self.signum


class StopSignals:
    """Catch the signals while the context is entered; made and asked by every process alike.

    Args:
        accelerator: of this process.

    Attributes:
        received: the signal that this process got, or None.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.received: int | None = None
        self.is_main_process = accelerator.is_main_process
        self._received_at = 0.0
        self._group = None
        self._reduction: tuple[distributed.Work, torch.Tensor] | None = None
        if accelerator.num_processes > 1:
            self._group = distributed.new_group(backend="gloo", timeout=TIMEOUT)

    def __enter__(self) -> "StopSignals":
        self._handlers_before = {each: signal.signal(each, self._note) for each in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, handler in self._handlers_before.items():
            signal.signal(each, handler)
        if kind is None or kind is StoppedBySignal:
            self._reduced()  # no process leaves while another still waits for its flag

    def agreed(self) -> int | None:
        """Return the signal that any process got; every process calls it equally often.

        Among several processes the answer is the state at the call before.
        """
        if self._group is None:
            return self.received
        answer = self._reduced()
        flag = torch.tensor([self.received or 0])
        work = distributed.all_reduce(
            flag, op=distributed.ReduceOp.MAX, group=self._group, async_op=True
        )
        self._reduction = (work, flag)
        return answer

    def _reduced(self) -> int | None:
        if self._reduction is None:
            return None
        work, flag = self._reduction
        self._reduction = None
        work.wait()
        return int(flag.item()) or None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = signum, now
            if self.is_main_process:
                name = signal.Signals(signum).name
                text = f"\n{name}: saving after this step; SIGTERM again ends the run at once\n"
                os.write(2, text.encode())  # print is not safe in a handler
        elif signum == signal.SIGTERM and now - self._received_at > PATIENCE_S:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)


class WatchedBatches:
    """Batches of a validation, which ends with `StoppedBySignal` if a process got a signal.

    Args:
        loader: this process's; the others' may be a batch longer or shorter.
        signals: asked before each batch that every process has.
    """

    def __init__(self, loader: DataLoader, signals: StopSignals) -> None:
        self.loader, self.signals = loader, signals
        self.num_shared = min(gather_object([len(loader)]))

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self.loader):
            signum = self.signals.agreed() if number < self.num_shared else None
            if signum:
                raise StoppedBySignal(signum)
            yield batch


def shield_workers(loader: DataLoader) -> DataLoader:
    """Let only the training process end a loader's workers.

    A scheduler signals every process of a job; without its workers the run could not finish the
    step that it saves after.
    """
    loader.worker_init_fn = functools.partial(_shielded, loader.worker_init_fn)
    return loader


def _shielded(start_worker: Callable[[int], None] | None, worker_id: int) -> None:
    if start_worker is not None:
        start_worker(worker_id)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where workers die as they always did
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    while True:
        found = signal.sigwaitinfo(SIGNALS)
        if found.si_signo == signal.SIGTERM and found.si_pid == os.getppid():
            os._exit(0)
