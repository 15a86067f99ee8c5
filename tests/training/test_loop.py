"""Claims about the training loop, with a model of two losses."""

import dataclasses
import signal
import time

import pytest
import torch
from accelerate import Accelerator

from mtp_hf.training.checkpoints import CheckpointFacts, load_checkpoint, save_checkpoint
from mtp_hf.training.loop import Callbacks, batch_to_device, is_due, progress_words, train
from mtp_hf.training.loss_window import LossWindow, NonFiniteLossError
from mtp_hf.training.optim import learning_rate_factor
from mtp_hf.training.preemption import StoppedBySignal
from mtp_hf.training.recipe_sections import Schedule
from mtp_hf.training.run_log import RunLog, read_log
from tests.training.tiny_run import TwoLossModel, batch_of_step, prepare


@pytest.fixture
def recipe(tiny_recipe):
    return dataclasses.replace(
        tiny_recipe,
        schedule=dataclasses.replace(tiny_recipe.schedule, steps=8, warmup_steps=2),
        saving=dataclasses.replace(tiny_recipe.saving, checkpoint_every=4, log_every=1),
        optimizer=dataclasses.replace(tiny_recipe.optimizer, lr=0.05),
    )


class Run:
    """One call of `train`, with what it called back and wrote.

    Args:
        checkpoint: to go on from.
        signal_at: step after which a process has got SIGTERM.
    """

    def __init__(
        self, prepared, recipe, folder, *, last=None, batches=None, checkpoint=None, signal_at=None
    ):
        accelerator, accumulation = prepared.accelerator, recipe.schedule.gradient_accumulation
        folder.mkdir(exist_ok=True)
        self.path, self.prepared, self.checkpoints = folder / "log.jsonl", prepared, folder / "c"
        self.saved, self.evaluated, self.num_steps = [], [], 0
        self.window = LossWindow(accelerator)
        first = load_checkpoint(accelerator, checkpoint, self.window) if checkpoint else 0
        last = last or recipe.schedule.steps
        self.num_steps, self.signal_at = first, signal_at
        micro_steps = range(first * accumulation, last * accumulation)
        train(
            prepared,
            batches or [batch_of_step(step) for step in micro_steps],
            recipe,
            steps=range(first + 1, last + 1),
            window=self.window,
            log=RunLog(self.path, accelerator, first if checkpoint else None),
            callbacks=Callbacks(self.evaluated.append, self._save, self._stop),
        )

    def _save(self, step):
        self.saved.append(
            save_checkpoint(
                self.prepared.accelerator,
                self.checkpoints,
                step,
                self.window,
                facts=CheckpointFacts("", {}),
            )
        )

    def _stop(self):
        self.num_steps += 1
        return signal.SIGTERM if self.num_steps == self.signal_at else None

    @property
    def lines(self):
        return list(read_log(self.path))


def test_the_loss_falls(accelerator, recipe, tmp_path):
    model = TwoLossModel()
    model.dropout.p = 0.0
    prepared = prepare(accelerator, recipe, model)
    run = Run(prepared, recipe, tmp_path, batches=[batch_of_step(0)] * 8)
    assert run.lines[-1]["loss"] < 0.9 * run.lines[0]["loss"]


def test_the_log_has_the_rate_of_each_step(accelerator, recipe, tmp_path):
    run = Run(prepare(accelerator, recipe), recipe, tmp_path)
    expected = [
        0.05 * learning_rate_factor(step, Schedule(steps=8, warmup_steps=2, kind="cosine"))
        for step in range(8)
    ]
    assert [line["lr"] for line in run.lines] == pytest.approx(expected, rel=1e-6)
    assert [line["step"] for line in run.lines] == list(range(1, 9))
    assert set(run.lines[0]["losses"]) == {"a/ss/loss_x", "a/is/loss_y"}


def test_checkpoints_come_at_intervals_and_at_the_end(accelerator, recipe, tmp_path):
    run = Run(prepare(accelerator, recipe), recipe, tmp_path, last=6)
    assert [path.name for path in run.saved] == ["step_0000004", "step_0000006"]


def test_validation_comes_at_intervals_but_not_at_the_end(accelerator, recipe, tmp_path):
    evaluation = dataclasses.replace(recipe.evaluation, every=2)
    recipe = dataclasses.replace(recipe, evaluation=evaluation)
    assert Run(prepare(accelerator, recipe), recipe, tmp_path).evaluated == [2, 4, 6]


def test_a_resumed_run_has_bit_equal_losses_and_weights(accelerator, recipe, tmp_path):
    torch.set_num_threads(1)
    straight = Run(prepare(accelerator, recipe), recipe, tmp_path / "straight")
    weights = accelerator._models[0].state_dict()
    again = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    torch.manual_seed(99)
    prepared = prepare(again, recipe)
    resumed = Run(prepared, recipe, tmp_path / "resumed", checkpoint=straight.saved[0])
    assert [line["step"] for line in resumed.lines] == [5, 6, 7, 8]
    assert _numbers(resumed.lines) == _numbers(straight.lines[4:])
    for name, value in prepared.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_accumulated_batches_give_the_step_of_one_large_batch(accelerator, recipe, tmp_path):
    recipe = dataclasses.replace(
        recipe, schedule=dataclasses.replace(recipe.schedule, gradient_accumulation=2)
    )
    accelerator.gradient_accumulation_steps = 2
    model = TwoLossModel()
    model.dropout.p = 0.0
    reference = TwoLossModel()
    reference.load_state_dict(model.state_dict())
    reference.dropout.p = 0.0
    Run(prepare(accelerator, recipe, model), recipe, tmp_path, last=1)
    halves = [batch_to_device(accelerator, batch_of_step(step)) for step in range(2)]
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.025, weight_decay=0.05)
    pixels = torch.cat([half["pixel_values"] for half in halves])
    reference(pixels, halves[0]["labels"] + halves[1]["labels"]).loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), recipe.optimizer.max_grad_norm)
    optimizer.param_groups[0]["params"] = [p for p in reference.parameters() if p.ndim > 1]
    optimizer.add_param_group(
        {"params": [p for p in reference.parameters() if p.ndim == 1], "weight_decay": 0.0}
    )
    optimizer.step()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped_and_the_norm_before_is_logged(accelerator, recipe, tmp_path):
    optimizer = dataclasses.replace(recipe.optimizer, max_grad_norm=1e-3)
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    prepared = prepare(accelerator, recipe)
    seen = []
    step = prepared.optimizer.step
    prepared.optimizer.step = lambda: (seen.append(_norm(prepared.model)), step())
    run = Run(prepared, recipe, tmp_path, last=1)
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)
    assert run.lines[0]["grad_norm"] > 1e-3


def test_without_a_limit_gradients_are_left_alone(accelerator, recipe, tmp_path):
    optimizer = dataclasses.replace(recipe.optimizer, max_grad_norm=0.0)
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    prepared = prepare(accelerator, recipe)
    before = [p.clone() for p in prepared.model.parameters()]
    Run(prepared, recipe, tmp_path, last=1)
    assert any(
        not torch.equal(a, b) for a, b in zip(before, prepared.model.parameters(), strict=True)
    )


def test_a_non_finite_loss_stops_before_it_reaches_the_weights(accelerator, recipe, tmp_path):
    batches = [batch_of_step(0), batch_of_step(1)]
    batches[1]["labels"][1]["target"] = torch.tensor([float("nan"), 0.0])
    prepared = prepare(accelerator, recipe)
    with pytest.raises(NonFiniteLossError, match=r"step 2(.|\n)*a/ss/loss_x = nan(.|\n)*a/1-1"):
        Run(prepared, recipe, tmp_path, batches=batches)
    assert all(torch.isfinite(p).all() for p in prepared.model.parameters())
    assert not (tmp_path / "c").exists()


def test_a_signal_ends_the_loop_after_the_step_and_its_checkpoint(accelerator, recipe, tmp_path):
    run = Run.__new__(Run)
    with pytest.raises(StoppedBySignal, match="stopped by SIGTERM"):
        run.__init__(prepare(accelerator, recipe), recipe, tmp_path, signal_at=3)
    assert [path.name for path in run.saved] == ["step_0000003"]
    assert [line["step"] for line in run.lines] == [1, 2, 3]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_stop_within_a_logging_interval_leaves_no_trace_in_the_log(
    recipe, tmp_path, accumulation
):
    torch.set_num_threads(1)
    schedule = dataclasses.replace(recipe.schedule, gradient_accumulation=accumulation)
    saving = dataclasses.replace(recipe.saving, log_every=4)
    recipe = dataclasses.replace(recipe, schedule=schedule, saving=saving)
    straight = Run(_prepare_anew(recipe), recipe, tmp_path / "straight")
    stopped = Run.__new__(Run)
    with pytest.raises(StoppedBySignal):
        stopped.__init__(_prepare_anew(recipe), recipe, tmp_path / "run", signal_at=3)
    resumed = Run(_prepare_anew(recipe), recipe, tmp_path / "run", checkpoint=stopped.saved[0])
    assert [line["step"] for line in resumed.lines] == [4, 8]
    assert _numbers(resumed.lines) == _numbers(straight.lines)


def test_pixels_are_normalised_on_the_device(accelerator):
    inputs = batch_to_device(accelerator, batch_of_step(0))
    expected = (batch_of_step(0)["pixel_values"][0, 0] - 123.675) / 58.395
    torch.testing.assert_close(inputs["pixel_values"][0, 0], expected)
    assert inputs["labels"][0]["image_id"] == "0-0"


def test_both_pictures_of_a_pair_are_normalised(accelerator):
    batch = batch_of_step(0) | {"pixel_values_post": batch_of_step(1)["pixel_values"]}
    inputs = batch_to_device(accelerator, batch)
    expected = batch_to_device(accelerator, batch_of_step(1))["pixel_values"]
    torch.testing.assert_close(inputs["pixel_values_post"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(("step", "every", "due"), [(4, 2, True), (5, 2, False), (4, 0, False)])
def test_an_interval_of_zero_is_never_due(step, every, due):
    assert is_due(step, every) is due


def test_the_progress_bar_shows_total_task_sums_and_rate():
    words = progress_words({"loss": 3.0, "tasks": {"ss": 1.0, "rd": 2.0}, "lr": 6e-5})
    assert words == {"loss": "3.000", "ss": "1.000", "rd": "2.000", "lr": "6.0e-05"}


def _norm(model):
    return torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()


def _numbers(lines):
    """What a log says of learning; the rest is time."""
    return [[line[key] for key in ("losses", "loss", "grad_norm", "lr")] for line in lines]


def _prepare_anew(recipe):
    """What a new process would prepare: the model and the random numbers after it, of one seed."""
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    accelerator.gradient_accumulation_steps = recipe.schedule.gradient_accumulation
    torch.manual_seed(1)
    return prepare(accelerator, recipe, TwoLossModel())


class _SlowBatches(list):
    """Batches that take longer to arrive than to learn from."""

    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(0.05)
            yield batch


def test_waiting_for_images_is_warned_of_once_after_the_workers_have_started(
    accelerator, recipe, tmp_path, caplog
):
    saving = dataclasses.replace(recipe.saving, log_every=2)
    recipe = dataclasses.replace(recipe, saving=saving)
    batches = _SlowBatches(batch_of_step(step) for step in range(8))
    Run(prepare(accelerator, recipe), recipe, tmp_path, batches=batches, last=2)
    assert "waiting for images" not in caplog.text
    run = Run(prepare(accelerator, recipe), recipe, tmp_path / "again", batches=batches)
    assert min(line["data_wait"] for line in run.lines) > 0.2
    assert caplog.text.count("of the time goes by waiting for images (data_wait") == 1
    assert "efficiency.num_workers, which is 0" in caplog.text


def test_images_that_come_in_time_are_not_warned_of(accelerator, recipe, tmp_path, caplog):
    Run(prepare(accelerator, recipe), recipe, tmp_path)
    assert "waiting for images" not in caplog.text
