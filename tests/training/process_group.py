"""Run a function in several processes connected by gloo over loopback, as a launcher would.

A fork server that has imported torch and the training code once starts a process in milliseconds.
"""

import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

TIMEOUT_S = 120


def run_processes(function: Callable[..., Any], *args: Any, num_processes: int = 2) -> list[Any]:
    """Call `function(*args)` in every process of a group and return the results by rank.

    Args:
        function: of a module, not nested; `Accelerator()` in it joins the group.
        args: same for all; anything that can be pickled.
        num_processes: size of the group.

    Raises:
        AssertionError: a process failed, ended without a result or takes longer than `TIMEOUT_S`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mtp_hf.training.pretraining_run"])
    port = free_port()
    processes, pipes = [], []
    for rank in range(num_processes):
        receiver, sender = context.Pipe(duplex=False)
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_processes}
        environment = {key: str(value) for key, value in group.items()} | {
            "LOCAL_WORLD_SIZE": str(num_processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true",
        }
        process = context.Process(target=_call, args=(sender, environment, function, args))
        process.start()
        sender.close()
        processes.append(process)
        pipes.append(receiver)
    try:
        return [_result(rank, pipe) for rank, pipe in enumerate(pipes)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def free_port() -> int:
    """Return a port of the loopback device that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _call(
    sender: Connection, environment: dict[str, str], function: Callable[..., Any], args: tuple
) -> None:
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # of loaders' workers, as in a real run
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        answer = ("result", function(*args))
    except BaseException:
        answer = ("error", traceback.format_exc())
    buffer = io.BytesIO()
    torch.save(answer, buffer)
    sender.send_bytes(buffer.getvalue())


def _result(rank: int, pipe: Connection) -> Any:
    if not wait([pipe], timeout=TIMEOUT_S):
        raise AssertionError(f"process {rank} is not done after {TIMEOUT_S} s")
    try:
        kind, value = torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=False)
    except EOFError:
        raise AssertionError(f"process {rank} ended without a result") from None
    if kind == "error":
        raise AssertionError(f"process {rank} failed:\n{value}")
    return value
