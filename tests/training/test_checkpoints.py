"""Claims about checkpoints: everything comes back, and a failure leaves the one before."""

import errno
import json
import logging
import random
import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mtp_hf.training import checkpoints
from mtp_hf.training.checkpoint_files import check_whole, list_checkpoints, read_latest
from mtp_hf.training.checkpoints import (
    CheckpointError,
    CheckpointFacts,
    check_same_images,
    find_checkpoint,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from mtp_hf.training.loop import train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.recipe import load_recipe
from tests.training.process_group import run_processes
from tests.training.tiny_run import TINY_MODEL, batch_of_step, prepare

FACTS = CheckpointFacts("seed: 1\n", {"sior": 5})


@pytest.fixture
def trained(accelerator, tiny_recipe):
    """A prepared tiny model after two steps."""
    prepared = prepare(accelerator, tiny_recipe)
    window = LossWindow(accelerator)
    batches = iter([batch_of_step(step) for step in range(2)])
    for step in (1, 2):
        train_step(prepared, batches, tiny_recipe, window, step)
        prepared.schedule.step()
    return prepared


def _save(prepared, folder, step=2, **options):
    window = LossWindow(prepared.accelerator)
    return save_checkpoint(prepared.accelerator, folder, step, window, facts=FACTS, **options)


def _load(prepared, path):
    return load_checkpoint(prepared.accelerator, path, LossWindow(prepared.accelerator))


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_weights_optimizer_schedule_and_step_come_back(trained, tiny_recipe, tmp_path):
    path = _save(trained, tmp_path)
    weights = {k: v.clone() for k, v in trained.model.state_dict().items()}
    moments = trained.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    rates = trained.schedule.get_last_lr()
    train_step(trained, iter([batch_of_step(9)]), tiny_recipe, LossWindow(trained.accelerator), 3)
    trained.schedule.step()
    assert _load(trained, path) == 2
    assert all(torch.equal(v, weights[k]) for k, v in trained.model.state_dict().items())
    assert torch.equal(trained.optimizer.state_dict()["state"][0]["exp_avg"], moments)
    assert trained.schedule.get_last_lr() == rates
    assert [g["lr"] for g in trained.optimizer.param_groups] == rates


def test_random_numbers_of_torch_numpy_and_python_come_back(trained, tmp_path):
    path = _save(trained, tmp_path)
    draw = lambda: (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: E731
    expected = draw()
    _load(trained, path)
    assert draw() == expected


def test_the_losses_since_the_last_line_of_the_log_come_back(trained, tmp_path):
    window = LossWindow(trained.accelerator)
    window.add(2, {"a/ss/x": torch.tensor(0.1)}, [{"dataset": "a", "image_id": "1"}])
    path = save_checkpoint(trained.accelerator, tmp_path, 2, window, facts=FACTS)
    again = LossWindow(trained.accelerator)
    load_checkpoint(trained.accelerator, path, again)
    assert again.records == window.records


def test_recipe_step_images_and_versions_lie_beside_the_weights(trained, tmp_path):
    path = _save(trained, tmp_path)
    assert path.name == "step_0000002"
    assert (path / "recipe.yaml").read_text() == "seed: 1\n"
    state = read_state(path)
    assert (state["step"], state["num_processes"], state["num_images"]) == (2, 1, {"sior": 5})
    assert state["versions"]["torch"] == torch.__version__


def test_a_checkpoint_is_whole_and_marked(trained, tmp_path):
    path = _save(trained, tmp_path)
    check_whole(path)
    assert read_latest(tmp_path) == path.name
    assert _names(tmp_path) == ["latest", "step_0000002"]


# Accelerate's writers do not all raise OSError: torch and safetensors have their own errors.
@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("accelerator", "save_state"),
        ("checkpoints", "_write_state"),
        ("checkpoints", "write_manifest"),
        ("checkpoints", "_put_in_place"),
        ("checkpoints", "_check_all_processes_wrote"),
    ],
)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("No space")]
)
def test_a_full_disk_anywhere_leaves_the_checkpoint_before_and_says_so(
    trained, tmp_path, monkeypatch, where, name, error
):
    before = _save(trained, tmp_path, 2)

    def fail(*args):
        raise error

    monkeypatch.setattr(trained.accelerator if where == "accelerator" else checkpoints, name, fail)
    with pytest.raises(CheckpointError) as caught:
        _save(trained, tmp_path, 4)
    assert "step_0000004: " in str(caught.value)
    assert "No space" in str(caught.value)
    assert str(caught.value).endswith(f"the last good checkpoint is {before}")
    assert _names(tmp_path) == ["latest", "step_0000002"]
    assert find_checkpoint(tmp_path, "latest") == before
    check_whole(before)


def test_a_full_disk_at_the_first_checkpoint_says_that_there_is_none(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(trained.accelerator, "save_state", _no_space)
    with pytest.raises(
        CheckpointError, match="No space left .*GB are free.*; there is none before"
    ):
        _save(trained, tmp_path / "checkpoints")
    assert list_checkpoints(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("name", ["_write_state", "write_manifest", "mark_latest", "set_aside"])
def test_a_kill_anywhere_while_saving_leaves_the_checkpoint_before(
    trained, tmp_path, monkeypatch, name
):
    before = _save(trained, tmp_path, 2)
    if name == "set_aside":
        shutil.copytree(before, tmp_path / "step_0000009")

    def kill(*args):
        raise KeyboardInterrupt  # nothing of the program handles it, as with a real kill

    monkeypatch.setattr(checkpoints, name, kill)
    with pytest.raises(KeyboardInterrupt):
        _save(trained, tmp_path, 4)
    found = find_checkpoint(tmp_path, "latest")
    # The marker is the last to move, but before checkpoints of another line are set aside.
    assert found.name == ("step_0000004" if name == "set_aside" else "step_0000002")
    monkeypatch.undo()
    assert find_checkpoint(tmp_path, "latest") == found
    assert _save(trained, tmp_path, 4).name == read_latest(tmp_path) == "step_0000004"


def test_the_oldest_goes_only_after_the_new_one_is_marked(trained, tmp_path, monkeypatch):
    for step in (2, 4):
        _save(trained, tmp_path, step, total_limit=2)
    seen = []

    def note(folder, limit):
        seen.append((read_latest(folder), len(list_checkpoints(folder)), limit))

    monkeypatch.setattr(checkpoints, "remove_oldest", note)
    _save(trained, tmp_path, 6, total_limit=2)
    assert seen == [("step_0000006", 3, 2)]
    monkeypatch.undo()
    _save(trained, tmp_path, 8, total_limit=2)
    assert _names(tmp_path) == ["latest", "step_0000006", "step_0000008"]


def test_a_run_that_went_back_sets_later_checkpoints_aside_with_its_first(trained, tmp_path):
    for step in (2, 4, 6):
        path = _save(trained, tmp_path, step)
        (path / "line.txt").write_text("first")
    _save(trained, tmp_path, 4)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_0000002", "step_0000004"]
    assert find_checkpoint(tmp_path, "latest").name == "step_0000004"
    aside = [f"step_000000{step}.set_aside" for step in (4, 6)]
    assert all((tmp_path / name / "line.txt").is_file() for name in aside)
    assert not (tmp_path / "step_0000004" / "line.txt").exists()
    assert find_checkpoint(tmp_path, str(tmp_path / aside[1])).name == aside[1]


def test_a_damaged_one_is_refused_where_it_is_asked_for(trained, tmp_path):
    path = _save(trained, tmp_path)
    (path / "optimizer.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"optimizer\.bin: expected \d+ bytes, found 0"):
        find_checkpoint(tmp_path, str(path))


def test_a_path_that_is_no_checkpoint_is_refused_with_those_there_are(tmp_path):
    (tmp_path / "step_0000009").mkdir()
    with pytest.raises(ValueError, match=r"else: no such checkpoint \(in .*: step_0000009\)"):
        find_checkpoint(tmp_path, str(tmp_path / "else"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a checkpoint: it has no state.json"),
        ("{", "state.json: not JSON"),
        ('{"step": 1}', "state.json lacks device, num_images, num_processes, versions"),
    ],
)
def test_a_state_that_is_none_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_state(tmp_path)


def test_a_checkpoint_without_this_process_s_random_state_is_refused(trained, tmp_path):
    path = _save(trained, tmp_path)
    (path / "random_states_0.pkl").unlink()
    with pytest.raises(ValueError, match="lacks random_states_0.pkl"):
        _load(trained, path)


def test_fp16_cannot_go_on_from_a_checkpoint_without_its_loss_scaler(trained, tmp_path):
    path = _save(trained, tmp_path)
    trained.accelerator.scaler = object()
    with pytest.raises(ValueError, match="was written without fp16 and has no loss scaler"):
        _load(trained, path)


def test_another_device_or_version_is_a_warning(trained, tmp_path, caplog):
    path = _save(trained, tmp_path)
    state = read_state(path) | {"device": "cuda"}
    (path / "state.json").write_text(json.dumps(state))
    with caplog.at_level(logging.WARNING):
        _load(trained, path)
    assert "comes from elsewhere, not bit-equal: device: cuda -> cpu" in caplog.text


def test_data_sets_of_another_length_are_refused_with_the_difference(trained, tmp_path):
    path = _save(trained, tmp_path)
    check_same_images(path, {"sior": 5})
    expected = "changed: fast: None -> 3; sior: 5 -> 4"
    with pytest.raises(ValueError, match=expected):
        check_same_images(path, {"sior": 4, "fast": 3})


def test_two_processes_write_one_checkpoint_and_stop_together(tmp_path):
    first, second = run_processes(_save_and_fail, tmp_path)
    assert first["written"] == second["written"] == "step_0000002"
    check_whole(tmp_path / "step_0000002")
    found = _names(tmp_path / "step_0000002")
    assert {f"{kind}_{i}" for kind in ("random_states", "loss_window") for i in (0, 1)} <= {
        name.split(".")[0] for name in found
    }
    for answer in (first, second):
        assert answer["caught"].startswith(
            f"cannot write checkpoint {tmp_path / 'step_0000004'}: process 1: OSError: [Errno 28]"
            " No space left on device ("
        )
        last = tmp_path / "step_0000002"
        assert answer["caught"].endswith(f"the last good checkpoint is {last}")
        assert answer["drawn_again"] == answer["drawn"]
        assert answer["records"] == [answer["rank"]]
    assert first["drawn"] != second["drawn"]
    assert _names(tmp_path) == ["latest", "step_0000002"]


def test_another_number_of_processes_goes_on_with_a_warning(tmp_path, trained, caplog):
    run_processes(_save_and_fail, tmp_path)
    window = LossWindow(trained.accelerator)
    with caplog.at_level(logging.WARNING):
        step = load_checkpoint(trained.accelerator, tmp_path / "step_0000002", window)
    assert step == 2
    assert "was written by 2 processes and goes on with 1" in caplog.text
    assert window.records == []


def _save_and_fail(folder):
    """Save, fail to save on one process, go back; random numbers and losses differ by process."""
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    rank = accelerator.process_index
    prepared = prepare(accelerator, load_recipe("pretrain/demo", overrides=TINY_MODEL))
    torch.manual_seed(rank)
    window = LossWindow(accelerator)
    window.add(2, {"a/ss/x": torch.tensor(float(rank))}, [{"dataset": "a", "image_id": "1"}])
    path = save_checkpoint(accelerator, folder, 2, window, facts=FACTS)
    answer = {"written": path.name, "rank": rank, "drawn": torch.rand(2).tolist()}
    if rank == 1:
        accelerator.save_state = _no_space
    try:
        save_checkpoint(accelerator, folder, 4, window, facts=FACTS)
    except CheckpointError as error:
        answer["caught"] = str(error)
    again = LossWindow(accelerator)
    load_checkpoint(accelerator, path, again)
    assert prepared.model is not None
    answer["drawn_again"] = torch.rand(2).tolist()
    answer["records"] = [float(record.losses["a/ss/x"]) for record in again.records]
    return answer
