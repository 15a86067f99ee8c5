"""Pushing a run to the Hub while it trains and when it ends; the main process acts.

A snapshot of the network is written to `hub_snapshot/` and uploaded from there by a thread, so that
training goes on meanwhile; two pushes never overlap. A push that fails is a warning with its reason
and the command to push by hand; the next one and that at the end try again. The thread is a
daemon, unlike those of the client's `run_as_future`: a run that has to leave does not wait for it.
"""

import dataclasses
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
from accelerate import Accelerator
from accelerate.logging import get_logger
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from mtp_hf.hub.push import (
    PRETRAINING,
    check_access,
    failure_reason,
    push_command,
    push_run,
    repo_names,
)
from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.run_folder import RunFolder

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class HubOptions:
    """Where a run goes, as the command line says it.

    Args:
        repo: `name` or `namespace/name`.
        namespace: see `repo_names`.
        private: make the repositories private.
        every: checkpoints from one push along the way to the next; None: only the end is pushed.
        suffixes: folders that are pushed; see `repo_names`.
    """

    repo: str
    namespace: str | None = None
    private: bool = False
    every: int | None = None
    suffixes: Mapping[str, str] = dataclasses.field(default_factory=lambda: PRETRAINING)


class Publisher:
    """Push snapshots along a run and its results at the end; idle where it is not to act.

    Args:
        options: where to, and how.
        folder: of the run.
        acts: whether this is the main process.

    Attributes:
        steps: after which a snapshot is due; none before `plan`.
    """

    def __init__(self, options: HubOptions, folder: RunFolder, *, acts: bool = True) -> None:
        self.names = repo_names(options.repo, options.namespace, options.suffixes)
        self.folder, self.private, self.acts = folder, options.private, acts
        self.every, self.steps = options.every, range(0)
        self.api = HfApi(library_name="mtp-hf")
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Ask the Hub whether it would let the pushes in; where it cannot be asked, warn.

        Raises:
            ValueError: it would not.
        """
        try:
            check_access(self.api, self.names, private=self.private)
        except ValueError as error:
            raise ValueError(f"--push_to_hub: {error}") from None
        except httpx2.HTTPError as error:
            logger.warning(f"the Hub could not be asked: {failure_reason(error)}; trying later")
        else:
            logger.info(f"results go to {' and '.join(self.names.values())} on the Hub")

    def plan(self, checkpoint_every: int, last_step: int) -> None:
        """Fix the steps of snapshots, when it is known how many the run has.

        Args:
            checkpoint_every: optimizer steps between checkpoints.
            last_step: of the run; what it leaves is pushed by `push_results`.
        """
        if self.every:
            every = self.every * checkpoint_every
            self.steps = range(every, last_step, every)

    def push_snapshot(self, step: int, write: Callable[[Path], None]) -> None:
        """Push the network as it is now, in the background, unless a push is still under way.

        Args:
            step: optimizer steps done.
            write: writes the folders that are pushed into one.
        """
        if not self.acts:
            return
        snapshot, message = self.folder.hub_snapshot, f"Step {step:,}"
        if self._thread and self._thread.is_alive():
            logger.warning(f"not pushed ({message}): an earlier push is still under way")
            return
        try:
            if snapshot.exists():  # of a push that failed
                shutil.rmtree(snapshot)
            snapshot.mkdir()
            write(snapshot)
        except Exception as error:  # such as a full disk; the run matters more
            shutil.rmtree(snapshot, ignore_errors=True)
            logger.warning(f"not pushed ({message}): no snapshot: {failure_reason(error)}")
            return
        self._thread = threading.Thread(target=self._push, args=(snapshot, message), daemon=True)
        self._thread.start()

    def push_results(self, step: int) -> None:
        """Wait for the push under way, then push what the run has left in its folder."""
        if not self.acts:
            return
        try:
            if self._thread and self._thread.is_alive():
                logger.info("waiting for the push under way")
                self._thread.join()
            self._push(self.folder.path, f"Results after {step:,} steps")
        except KeyboardInterrupt:
            command = push_command(self.folder.path, self.names, private=self.private)
            logger.warning(f"the last push was interrupted; by hand: {command}")

    def _push(self, folder: Path, message: str) -> None:
        """Push a folder; whatever goes wrong is a warning, because the run matters more."""
        try:
            commits = push_run(self.api, folder, self.names, private=self.private, message=message)
        except Exception as error:
            command = push_command(folder, self.names, private=self.private)
            logger.warning(f"not pushed ({message}): {failure_reason(error)}; by hand: {command}")
            return
        for name, address in commits.items():
            logger.info(f"pushed ({message}) to {name}: {address}")
        shutil.rmtree(self.folder.hub_snapshot, ignore_errors=True)  # pushed now, or older


def start_publisher(accelerator: Accelerator, options: HubOptions, folder: RunFolder) -> Publisher:
    """Make the publisher and check that it will be able to push; called by every process.

    Args:
        accelerator: of this process.
        options: where to, and how.
        folder: of the run.

    Raises:
        ValueError: a wrong name, no token, or no right to write.
    """
    publisher = Publisher(options, folder, acts=accelerator.is_main_process)
    on_main_process(accelerator, publisher.check)
    disable_progress_bars()  # the run has its own
    return publisher
