"""Claims about the log of a run."""

import json

import pytest

from mtp_hf.training.run_log import RunLog, flatten_numbers, read_log


def test_lines_are_read_as_they_were_written(tmp_path, accelerator):
    log = RunLog(tmp_path / "log.jsonl", accelerator)
    log.write(1, losses={"a/ss/loss": 0.5}, lr=1e-4)
    log.write(2, metrics={"a/ss/miou": 0.25})
    assert list(read_log(tmp_path / "log.jsonl")) == [
        {"step": 1, "losses": {"a/ss/loss": 0.5}, "lr": 1e-4},
        {"step": 2, "metrics": {"a/ss/miou": 0.25}},
    ]


def test_a_new_run_starts_an_empty_file(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n')
    RunLog(path, accelerator)
    assert path.read_text() == ""


def test_a_resumed_run_keeps_the_lines_up_to_its_checkpoint(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (0, 5, 10, 15)))
    RunLog(path, accelerator, resume_step=10).write(11)
    assert [line["step"] for line in read_log(path)] == [0, 5, 10, 11]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    assert list(read_log(path)) == [{"step": 1}]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ValueError, match="log.jsonl, line 2: no JSON object: 'nonsense'"):
        list(read_log(path))


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert list(read_log(tmp_path / "log.jsonl")) == []


def test_every_line_is_strict_json(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    RunLog(path, accelerator).write(1, grad_norm=float("inf"), metrics={"x": float("nan")})
    line = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert line == {"step": 1, "grad_norm": None, "metrics": {"x": None}}


def test_trackers_get_flat_numbers():
    values = {"losses": {"a/ss/x": 1.0}, "lr": 2, "note": "text", "flag": True}
    assert flatten_numbers(values) == {"losses/a/ss/x": 1.0, "lr": 2}
