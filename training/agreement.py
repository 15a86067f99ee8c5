"""Errors of one process, made known to all, so that none waits for one that has stopped."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


class OtherProcessError(RuntimeError):
    """The main process met an error, which it reports itself."""


def on_main_process(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """Let the main process act, and give every process the result; all processes call it.

    Args:
        accelerator: of this process.
        action: its result can be pickled.

    Raises:
        Exception: on the main process, what `action` raised.
        OtherProcessError: on the others, if it raised.
    """
    failure: Exception | None = None
    answer: list[object] = [None, None]
    if accelerator.is_main_process:
        try:
            answer[0] = action()
        except Exception as error:
            failure = error
            answer[1] = _describe(error)
    broadcast_object_list(answer)
    if failure is not None:
        raise failure
    if answer[1] is not None:
        raise OtherProcessError(f"the main process stopped: {answer[1]}")
    return answer[0]  # type: ignore[return-value]


def errors_of_all(accelerator: Accelerator, action: Callable[[], None]) -> list[str]:
    """Act on every process, wait for all, and list what went wrong anywhere.

    Returns:
        One sentence for each process that failed, the same list on all; empty if none did.
    """
    text = None
    try:
        action()
    except Exception as error:
        text = _describe(error)
        if accelerator.num_processes > 1:
            text = f"process {accelerator.process_index}: {text}"
    return [each for each in gather_object([text]) if each is not None]


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
