"""Claims about checkpoints: whole or not there, and everything comes back."""

import random

import numpy as np
import pytest
import torch

from mtp_hf.training.checkpoints import (
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from mtp_hf.training.loop import train_step
from mtp_hf.training.loss_window import LossWindow
from tests.training.tiny_run import batch_of_step, prepare


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


def test_weights_optimizer_schedule_and_step_come_back(trained, tiny_recipe, tmp_path):
    path = save_checkpoint(trained.accelerator, tmp_path, 2, "recipe: text\n")
    weights = {k: v.clone() for k, v in trained.model.state_dict().items()}
    moments = trained.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    rates = trained.schedule.get_last_lr()
    train_step(trained, iter([batch_of_step(9)]), tiny_recipe, LossWindow(trained.accelerator), 3)
    trained.schedule.step()
    assert load_checkpoint(trained.accelerator, path) == 2
    assert all(torch.equal(v, weights[k]) for k, v in trained.model.state_dict().items())
    assert torch.equal(trained.optimizer.state_dict()["state"][0]["exp_avg"], moments)
    assert trained.schedule.get_last_lr() == rates
    assert [g["lr"] for g in trained.optimizer.param_groups] == rates


def test_random_numbers_of_torch_numpy_and_python_come_back(trained, tmp_path):
    path = save_checkpoint(trained.accelerator, tmp_path, 2, "")
    draw = lambda: (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: E731
    expected = draw()
    load_checkpoint(trained.accelerator, path)
    assert draw() == expected


def test_recipe_step_and_versions_lie_beside_the_weights(trained, tmp_path):
    path = save_checkpoint(trained.accelerator, tmp_path, 2, "seed: 1\n")
    assert path.name == "step_0000002"
    assert (path / "recipe.yaml").read_text() == "seed: 1\n"
    state = read_state(path)
    assert (state["step"], state["num_processes"]) == (2, 1)
    assert state["versions"]["torch"] == torch.__version__


def test_a_failed_save_leaves_no_folder_with_a_checkpoint_name(trained, tmp_path, monkeypatch):
    def fail(folder):
        raise OSError("disk full")

    monkeypatch.setattr(trained.accelerator, "save_state", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(trained.accelerator, tmp_path, 2, "")
    assert list_checkpoints(tmp_path) == []


def test_saving_the_same_step_again_replaces_it(trained, tmp_path):
    save_checkpoint(trained.accelerator, tmp_path, 2, "first")
    path = save_checkpoint(trained.accelerator, tmp_path, 2, "second")
    assert (path / "recipe.yaml").read_text() == "second"
    assert list_checkpoints(tmp_path) == [path]


def test_latest_is_the_highest_step(tmp_path):
    for name in ("step_0000009", "step_0000100", ".step_0000200.partial", "step_x"):
        (tmp_path / name).mkdir()
    assert find_checkpoint(tmp_path, "latest").name == "step_0000100"


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to resume: no checkpoint in"):
        find_checkpoint(tmp_path / "checkpoints", "latest")


def test_a_path_that_is_no_checkpoint_is_refused_with_those_there_are(tmp_path):
    (tmp_path / "step_0000009").mkdir()
    with pytest.raises(ValueError, match=r"else is not a checkpoint \(in .*: step_0000009\)"):
        find_checkpoint(tmp_path, str(tmp_path / "else"))


def test_a_checkpoint_without_this_process_s_random_state_is_refused(trained, tmp_path):
    path = save_checkpoint(trained.accelerator, tmp_path, 2, "")
    (path / "random_states_0.pkl").unlink()
    with pytest.raises(ValueError, match="lacks random_states_0.pkl"):
        load_checkpoint(trained.accelerator, path)
