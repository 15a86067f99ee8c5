"""Claims about several processes: the same gradients, rates and logged losses as one process.

Every claim is tested between real processes that are connected by gloo. What "equal" means: the
gradient of a step of two processes is the mean of the gradients that one process computes on each
shard in turn, without random sampling of proposals and with batch norm per batch.
"""

import statistics
import tempfile
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from mtp_hf.data.collate import normalize_images
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training.loop import prepare, train, train_step
from mtp_hf.training.loss_window import LossWindow, NonFiniteLossError
from mtp_hf.training.processes import make_accelerator
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.run_log import RunLog
from tests.tiny_models import make_batch, tiny_pretraining_config
from tests.training.process_group import run_processes
from tests.training.tiny_run import NO_CALLBACKS, TINY_MODEL, TwoLossModel, batch_of_step

SIDE = 112
# Data set and number of objects of each image, by process and accumulated batch.
SHARDS = {
    "equal shards": [[[("sior", 3), ("fast", 2)]], [[("sior", 2), ("fast", 1)]]],
    "shards of different size": [[[("sior", 3), ("sior", 1), ("fast", 2)]], [[("fast", 1)] * 2]],
    "a process without any object": [[[("sior", 3), ("fast", 2)]], [[("sior", 0), ("fast", 0)]]],
    "a process without a data set": [[[("sior", 3), ("fast", 2)]], [[("sior", 1)]]],
    "accumulated batches": [
        [[("sior", 3), ("fast", 2)], [("sior", 1), ("fast", 1)]],
        [[("sior", 2), ("fast", 0)], [("sior", 1), ("fast", 3)]],
    ],
    "a data set in the first accumulated batch of one process only": [
        [[("sior", 3), ("fast", 2)], [("sior", 1)]],
        [[("sior", 2)], [("sior", 1)]],
    ],
    # With TASKS_BY_SET the first process has no image for the two detection tasks.
    "a process without two of the tasks": [[[("sior", 1)]], [[("sior", 2), ("fast", 3)]]],
}
TASKS_BY_SET = {"sior": ["ss"], "fast": ["ss", "is", "rd"]}


def _recipe(*overrides):
    return load_recipe("pretrain/demo", overrides=[*TINY_MODEL, *overrides])


def _network(case):
    tasks = {"dataset_tasks": TASKS_BY_SET} if "tasks" in case else {}
    torch.manual_seed(0)
    # No 1 x 1 pooled map: running averages, which differ by process, would normalise it.
    semantic = {"hidden_size": 16, "dropout": 0.0, "pool_scales": [2, 3]}
    return MTPForPreTraining(tiny_pretraining_config(semantic_config=semantic, **tasks))


def _batches(case, rank):
    """Batches of a process, as the loader gives them."""
    batches = []
    for number, plan in enumerate(SHARDS[case][rank]):
        generator = torch.Generator().manual_seed(10 * rank + number)
        size = (len(plan), 3, SIDE, SIDE)
        pixels = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        batches.append({"pixel_values": pixels, "labels": make_batch(plan)[1]})
    return batches


def _step_of(case, rank, accelerator, recipe):
    """Gradients before clipping, and losses, of one optimizer step of the training loop."""
    torch.randperm = lambda n, **kwargs: torch.arange(n)  # no random choice of proposals
    prepared = prepare(accelerator, _network(case), recipe)
    network = accelerator.unwrap_model(prepared.model)
    window = LossWindow(accelerator)
    gradients = {}

    def keep_gradients():
        if accelerator.sync_gradients:
            named = network.named_parameters()
            gradients.update({name: p.grad for name, p in named if p.grad is not None})

    prepared.optimizer.step = keep_gradients
    train_step(prepared, iter(_batches(case, rank)), recipe, window, 1)
    return gradients, window.summarize()["losses"]


def _steps(cases):
    """Every case on this process of the group."""
    answers = {}
    for case in cases:
        batches = len(SHARDS[case][0])
        recipe = _recipe("optimizer.max_grad_norm=0.0", f"schedule.gradient_accumulation={batches}")
        accelerator = make_accelerator(recipe, None, ".")
        answers[case] = _step_of(case, accelerator.process_index, accelerator, recipe)
        accelerator.free_memory()
    return answers


@pytest.fixture(scope="module")
def steps_of_two():
    """Case -> gradients and losses, by process."""
    return run_processes(_steps, list(SHARDS))


@pytest.fixture
def shards_of_one(monkeypatch):
    """Function case -> gradients and losses of each shard, of one process without Accelerate."""
    monkeypatch.setattr(torch, "randperm", lambda n, **kwargs: torch.arange(n))
    return lambda case: [_shard_of_one(case, rank) for rank in range(2)]


def _shard_of_one(case, rank):
    network = _network(case).train()
    batches = _batches(case, rank)
    losses = []
    for batch in batches:
        sizes = [label["size"] for label in batch["labels"]]
        output = network(normalize_images(batch["pixel_values"], sizes), batch["labels"])
        (output.loss / len(batches)).backward()
        losses.append({name: loss.item() for name, loss in output.losses.items()})
    named = network.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}, losses


@pytest.mark.parametrize("case", SHARDS)
def test_the_gradient_of_two_processes_is_the_mean_over_their_shards(
    case, steps_of_two, shards_of_one
):
    shards = [gradients for gradients, _ in shards_of_one(case)]
    for gradients, _ in (answers[case] for answers in steps_of_two):
        assert set(gradients) == set(shards[0] | shards[1])
        for name, gradient in gradients.items():
            mean = sum(shard.get(name, torch.zeros(())) for shard in shards) / 2
            # Two float32 sums in another order.
            torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("case", SHARDS)
def test_logged_losses_are_averaged_over_the_batches_of_both_processes(
    case, steps_of_two, shards_of_one
):
    batches = [losses for _, batches in shards_of_one(case) for losses in batches]
    expected = {
        name: statistics.fmean(losses[name] for losses in batches if name in losses)
        for name in set().union(*batches)
    }
    for _, losses in (answers[case] for answers in steps_of_two):
        assert losses == pytest.approx(expected, rel=1e-5)


# The log


def _losses_of_two_sets():
    """The second process has no image of `b`; the first has one batch more."""
    accelerator = Accelerator()
    window = LossWindow(accelerator)
    window.seconds = 2.0
    labels = [{"dataset": "a", "image_id": "1"}]
    if accelerator.is_main_process:
        losses = {"b/is/y": torch.tensor(10.0), "a/ss/x": torch.tensor(1.0)}
        window.add(1, losses, labels, seconds_waited=1.0)
        window.add(2, losses, labels * 3)
    else:
        window.add(1, {"a/ss/x": torch.tensor(4.0)}, labels)
    return window.summarize()


def test_losses_that_one_process_lacks_are_averaged_over_the_batches_that_have_them():
    lines = run_processes(_losses_of_two_sets)
    assert lines[0] == lines[1]
    assert lines[0]["losses"] == {"a/ss/x": 2.0, "b/is/y": 10.0}
    assert lines[0]["loss"] == 12.0
    assert lines[0]["images_per_s"] == pytest.approx((4 + 1) / 2, rel=0.2)
    assert lines[0]["data_wait"] == pytest.approx(0.5, rel=0.2)  # the longer wait, of 0.5 and 0


def _bad_loss_on_the_second():
    accelerator = Accelerator()
    window = LossWindow(accelerator)
    rank = accelerator.process_index
    value = torch.tensor(float("nan") if rank else 1.0)
    window.add(3, {"a/ss/x": value}, [{"dataset": "a", "image_id": f"of_{rank}"}])
    window.add_gradient_norm(3, torch.tensor(float("nan")))  # averaged, so bad on both
    with pytest.raises(NonFiniteLossError) as caught:
        window.summarize()
    return str(caught.value)


def test_a_bad_loss_of_one_process_stops_all_of_them_naming_its_images_alone():
    expected = "non-finite loss at step 3; losses of the batch:\n  a/ss/x = nan\nimages: a/of_1"
    assert run_processes(_bad_loss_on_the_second) == [expected, expected]


# The learning rate

STEPS, WARMUP = 6, 2


def _rates(accumulation):
    """Learning rate of each group at each optimizer step of a whole run."""
    recipe = _recipe(
        f"schedule.steps={STEPS}",
        f"schedule.warmup_steps={WARMUP}",
        f"schedule.gradient_accumulation={accumulation}",
        "optimizer.lr=1.0",
        "optimizer.layer_decay=0.5",
        "saving.log_every=1",
        "saving.checkpoint_every=0",
    )
    accelerator = make_accelerator(recipe, None, ".")
    prepared = prepare(accelerator, TwoLossModel(), recipe)
    rates = []

    def keep_rates():
        if accelerator.sync_gradients:
            rates.append([group["lr"] for group in prepared.optimizer.param_groups])

    prepared.optimizer.step = keep_rates
    batches = [batch_of_step(step) for step in range(STEPS * accumulation)]
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog(Path(folder) / "log.jsonl", accelerator)
        train(
            prepared,
            batches,
            recipe,
            steps=range(1, STEPS + 1),
            window=LossWindow(accelerator),
            log=log,
            callbacks=NO_CALLBACKS,
        )
    return rates


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_group_has_its_rate_at_every_step_on_any_number_of_processes(
    num_processes, accumulation
):
    factors = [0.5, 1.0, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]  # warm-up, then half a cosine
    scales = [0.5, 0.5, 1.0, 1.0]  # backbone, head; each without and with weight decay
    expected = [[factor * scale for scale in scales] for factor in factors]
    for rates in run_processes(_rates, accumulation, num_processes=num_processes):
        assert [sorted(row) for row in rates] == [pytest.approx(row) for row in expected]
