"""Processes that read and write records beside the one of the command."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Let this process of a pool end when the command is killed; else it would wait for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
