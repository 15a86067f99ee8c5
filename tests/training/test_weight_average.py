"""Claims about the running average of the weights."""

import pytest
import torch
from accelerate.utils import DistributedType

from mtp_hf.training.loop import train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.processes import make_accelerator
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.weight_average import average_weights
from tests.training.process_group import run_processes
from tests.training.tiny_run import TINY_MODEL, TwoLossModel, batch_of_step, prepare

DECAY = 0.9


def _steps(prepared, recipe, steps, observe=lambda: None):
    """Make optimizer steps; each accumulated batch is another one."""
    window = LossWindow(prepared.accelerator)
    accumulation = recipe.schedule.gradient_accumulation
    for step in steps:
        first = (step - 1) * accumulation
        batches = (batch_of_step(first + part) for part in range(accumulation))
        train_step(prepared, batches, recipe, window, step)
        observe()


def _recipe(*overrides):
    return load_recipe("pretrain/demo", overrides=[*TINY_MODEL, *overrides])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_average_follows_its_formula_once_per_optimizer_step(accelerator, accumulation):
    recipe = _recipe(f"schedule.gradient_accumulation={accumulation}", "optimizer.lr=0.1")
    accelerator.gradient_accumulation_steps = accumulation
    prepared = prepare(accelerator, recipe)
    average = average_weights(prepared, DECAY)
    seen = []

    def observe():
        seen.append({name: p.detach().clone() for name, p in prepared.model.named_parameters()})

    _steps(prepared, recipe, range(1, 4), observe)
    assert int(average.n_averaged) == 3
    for name, value in average.module.named_parameters():
        expected = seen[0][name]
        for weights in seen[1:]:
            expected = DECAY * expected + (1 - DECAY) * weights[name]
        torch.testing.assert_close(value.detach(), expected, rtol=1e-6, atol=1e-7)
        assert not torch.equal(value, seen[-1][name])
        assert not value.requires_grad


def test_statistics_of_norms_are_copied(accelerator, tiny_recipe):
    model = TwoLossModel()
    model.backbone.add_module("norm", torch.nn.BatchNorm1d(8))
    prepared = prepare(accelerator, tiny_recipe, model)
    average = average_weights(prepared, DECAY)
    _steps(prepared, tiny_recipe, range(1, 4))
    for name, value in average.module.named_buffers():
        assert torch.equal(value, dict(model.named_buffers())[name])
    assert int(average.module.backbone.norm.num_batches_tracked) == 3


def test_a_step_that_the_loss_scaler_leaves_out_does_not_count(accelerator, tiny_recipe):
    prepared = prepare(accelerator, tiny_recipe)
    average = average_weights(prepared, DECAY)
    _steps(prepared, tiny_recipe, range(1, 2))
    optimizer = prepared.optimizer.optimizer
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    before = [p.clone() for p in average.module.parameters()]
    for bad in (True, False):
        loss = sum(p.sum() for p in prepared.model.parameters())
        scaler.scale(loss * (float("inf") if bad else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        is_same = all(map(torch.equal, before, average.module.parameters()))
        assert is_same == bad


def test_a_checkpoint_holds_the_average(accelerator, tiny_recipe, tmp_path):
    prepared = prepare(accelerator, tiny_recipe)
    average = average_weights(prepared, DECAY)
    _steps(prepared, tiny_recipe, range(1, 3))
    accelerator.save_state(str(tmp_path / "state"))
    old = {name: value.clone() for name, value in average.state_dict().items()}
    _steps(prepared, tiny_recipe, range(3, 5))
    assert int(average.n_averaged) == 4
    accelerator.load_state(str(tmp_path / "state"))
    assert all(torch.equal(old[name], value) for name, value in average.state_dict().items())


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_weights_that_are_shared_out_are_refused(accelerator, tiny_recipe, monkeypatch, kind):
    prepared = prepare(accelerator, tiny_recipe)
    monkeypatch.setattr(accelerator.state, "distributed_type", kind)
    with pytest.raises(ValueError, match=f"optimizer.ema_decay does not go with {kind.value}"):
        average_weights(prepared, DECAY)


def _average_on_this_process():
    recipe = _recipe("optimizer.lr=0.1")
    accelerator = make_accelerator(recipe, None, ".")
    torch.manual_seed(0)
    prepared = prepare(accelerator, recipe)
    average = average_weights(prepared, DECAY)
    window = LossWindow(accelerator)
    for step in range(1, 4):
        batch = batch_of_step(10 * step + accelerator.process_index)
        train_step(prepared, iter([batch]), recipe, window, step)
    return dict(average.state_dict())


def test_processes_have_the_same_average():
    first, second = run_processes(_average_on_this_process)
    assert all(not name.startswith("module.module.") for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert int(first["n_averaged"]) == 3
