"""Claims about the log of a run."""

import errno
import json
from pathlib import Path

import pytest
import torch

from mtp_hf.training import durable_files
from mtp_hf.training.run_log import RunLog, flatten_numbers, keep_old_log, read_log


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


def test_a_run_resumed_at_step_zero_keeps_what_was_measured_before_training(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    RunLog(path, accelerator).write_metrics(0, {"a/ss/miou": 0.25})
    log = RunLog(path, accelerator, resume_step=0)
    assert log.measured == {0}
    assert list(read_log(path)) == [{"step": 0, "metrics": {"a/ss/miou": 0.25}}]


def test_a_validation_that_is_repeated_replaces_its_line(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    log = RunLog(path, accelerator)
    log.write(5, losses={"a/ss/x": 1.0})
    log.write_metrics(5, {"a/ss/miou": 0.25})
    log = RunLog(path, accelerator, resume_step=5)
    log.write_metrics(5, {"a/ss/miou": 0.5})
    log.write_metrics(5, {"a/ss/miou": 0.75})
    assert list(read_log(path)) == [
        {"step": 5, "losses": {"a/ss/x": 1.0}},
        {"step": 5, "metrics": {"a/ss/miou": 0.75}},
    ]


def test_numbers_are_written_so_that_every_float32_comes_back(tmp_path, accelerator):
    value = torch.tensor(1.0) + torch.finfo(torch.float32).eps
    RunLog(tmp_path / "log.jsonl", accelerator).write(1, loss=value.item())
    (line,) = read_log(tmp_path / "log.jsonl")
    assert torch.tensor(line["loss"]) == value


def test_the_log_is_kept_before_a_run_goes_back(tmp_path, accelerator):
    path = tmp_path / "log.jsonl"
    log = RunLog(path, accelerator)
    for step in (5, 10):
        log.write(step, lr=1.0)
    copy = keep_old_log(path, tmp_path / "checkpoints")
    assert copy.name == "log_until_step_0000010.jsonl"
    RunLog(path, accelerator, resume_step=5)
    assert [line["step"] for line in read_log(copy)] == [5, 10]
    assert [line["step"] for line in read_log(path)] == [5]


def test_a_full_disk_stops_the_run(tmp_path, accelerator, monkeypatch):
    log = RunLog(tmp_path / "log.jsonl", accelerator)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(log.path))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*log\.jsonl"):
        log.write(1, lr=1.0)


def test_a_kill_while_the_log_is_rewritten_leaves_the_old_one(tmp_path, accelerator, monkeypatch):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n')

    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(durable_files, "flush_file", stop)
    with pytest.raises(KeyboardInterrupt):
        RunLog(path, accelerator, resume_step=1)
    assert len(list(read_log(path))) == 2


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
