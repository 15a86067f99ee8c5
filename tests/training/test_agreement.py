"""Claims about errors that all processes learn of."""

import pytest
from accelerate import Accelerator

from mtp_hf.training.agreement import OtherProcessError, errors_of_all, on_main_process
from tests.training.process_group import run_processes


def test_alone_the_result_and_the_error_are_the_action_s(accelerator):
    assert on_main_process(accelerator, lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        on_main_process(accelerator, lambda: {}["x"])


def test_alone_errors_have_no_process_number(accelerator):
    assert errors_of_all(accelerator, lambda: None) == []
    assert errors_of_all(accelerator, lambda: int("x")) == [
        "ValueError: invalid literal for int() with base 10: 'x'"
    ]


def test_every_process_gets_the_main_one_s_result_and_learns_of_any_error():
    answers = run_processes(_act_together)
    assert [answer["result"] for answer in answers] == [(0, "here"), (0, "here")]
    assert [answer["caught"] for answer in answers] == [
        "ValueError: bad",
        "OtherProcessError: the main process stopped: ValueError: bad",
    ]
    assert [answer["errors"] for answer in answers] == [["process 1: OSError: full"]] * 2


def _act_together():
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index

    def bad():
        raise ValueError("bad")

    def full():
        if rank == 1:
            raise OSError("full")

    answer = {"result": on_main_process(accelerator, lambda: (rank, "here"))}
    try:
        on_main_process(accelerator, bad)
    except (ValueError, OtherProcessError) as error:
        answer["caught"] = f"{type(error).__name__}: {error}"
    answer["errors"] = errors_of_all(accelerator, full)
    return answer
