"""Processes that read and write records beside the one of the command."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.datasets_command.source import Source

LARGEST_QUEUE = 4  # items a process that are read ahead, so that results do not pile up

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[FilesBuilder, Item], Result],
    items: Sequence[Item],
    source: Source,
    builder: FilesBuilder,
    *,
    num_proc: int,
) -> Iterator[Result]:
    """Results in the order of the items, made by several processes.

    Args:
        function: of the module level, or a partial one.
        items: picklable.
        source: the data set, which each process opens.
        builder: of this process, which works alone if there is but one.
        num_proc: number of processes.
    """
    if num_proc <= 1 or len(items) <= 1:
        yield from (function(builder, item) for item in items)
        return
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(num_proc, initializer=_open, initargs=(source,)) as pool:
        for item in items:
            waiting.append(pool.submit(_call, function, item))
            if len(waiting) > num_proc * LARGEST_QUEUE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def end_with_parent() -> None:
    """Let this process of a pool end when the command is killed; else it would wait for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_builders: list[FilesBuilder] = []  # of a reading process


def _open(source: Source) -> None:
    end_with_parent()
    _builders[:] = [source.open()]


def _call(function: Callable[[FilesBuilder, Item], Result], item: Item) -> Result:
    return function(_builders[0], item)
