"""The losses since the last line of the log: kept as tensors, checked, then averaged.

One process on a CPU checks every batch before its gradient is computed. On other devices that would
make the host wait for each step, and of several processes the others would wait for the one that
stopped; so the check comes with the next line of the log or the next checkpoint, on all processes
together. It names the step and the images all the same, and no checkpoint is written after a
non-finite loss.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """A loss or gradient is NaN or infinite; the message names step, losses and images."""


@dataclasses.dataclass
class BatchRecord:
    """Losses of one batch, scalars without gradient, and `dataset/image_id` of its images."""

    step: int
    losses: dict[str, Tensor]
    images: list[str]


@dataclasses.dataclass
class BadValue:
    """A loss or gradient norm that is not finite, and what the user is told of it."""

    step: int
    what: Literal["loss", "gradient"]
    text: str


class LossWindow:
    """Gather the losses of a logging interval.

    Args:
        accelerator: says which device this is and averages over processes.

    Attributes:
        seconds: time spent in training steps; time for validation and saving is not in it.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.checks_each_batch = accelerator.device.type == "cpu" and accelerator.num_processes == 1
        self._clear()

    def add(
        self,
        step: int,
        losses: dict[str, Tensor],
        labels: list[dict[str, Any]],
        *,
        seconds_waited: float = 0.0,
    ) -> None:
        """Add a batch, before its backward pass.

        Args:
            step: optimizer step it belongs to.
            losses: named scalars.
            labels: of its images, with `dataset` and `image_id`.
            seconds_waited: for the batch to arrive.

        Raises:
            NonFiniteLossError: on a CPU, if a loss is not finite.
        """
        images = [f"{label['dataset']}/{label['image_id']}" for label in labels]
        losses = {name: loss.detach() for name, loss in losses.items()}
        self.records.append(BatchRecord(step, losses, images))
        self.seconds_waited += seconds_waited
        if self.checks_each_batch:
            self.check()

    def add_gradient_norm(self, step: int, gradient_norm: Tensor | float) -> None:
        """Add the gradient norm of a step, before the optimizer uses the gradient.

        DeepSpeed has used it already, and gives a float.

        Raises:
            NonFiniteLossError: on a CPU, if it is not finite.
        """
        # A loss scaler meets infinite gradients on purpose and skips the step.
        if self.accelerator.scaler is None:
            self.gradient_norms.append((step, torch.as_tensor(gradient_norm)))
            if self.checks_each_batch:
                self.check()

    def check(self) -> None:
        """Look at everything since the last line of the log; all processes call it.

        Raises:
            NonFiniteLossError: a loss or gradient norm is not finite, on this process or another;
                all processes raise it, so that none waits for one that has stopped.
        """
        own = _find_bad_loss(self.records) or _find_bad_norm(self.gradient_norms, self.records)
        found = [bad for bad in gather_object([own]) if bad is not None]
        if found:
            # One bad loss makes the gradients of all processes bad: tell of the cause alone.
            first = min((bad.step, bad.what == "gradient") for bad in found)
            causes = [bad.text for bad in found if (bad.step, bad.what == "gradient") == first]
            raise NonFiniteLossError("\n".join(causes))

    def summarize(self) -> dict[str, Any]:
        """Check, average over batches and processes, and start a new window; all processes call it.

        A process may lack a data set, so the names travel with the sums: a loss is averaged over
        the batches of all processes that have it.

        Returns:
            `losses` by name, `loss` their sum, `tasks` the sum of each task, `images_per_s` over
            all processes, `data_wait` the share of the time spent waiting for batches, of the
            process that waits longest: the others wait for it when gradients are averaged.
        """
        started = time.perf_counter()
        self.check()
        sums, counts = self._sums()
        seconds = self.seconds + time.perf_counter() - started
        num_images = sum(len(record.images) for record in self.records)
        own = (sums, counts, num_images / seconds, self.seconds_waited / seconds)
        every_sums, every_counts, rates, waits = zip(*gather_object([own]), strict=True)
        total, count = _add_up(every_sums), _add_up(every_counts)
        losses = {name: total[name] / count[name] for name in sorted(total)}
        self._clear()
        return {
            "loss": sum(losses.values()),
            "losses": losses,
            "tasks": sum_by_task(losses),
            "images_per_s": sum(rates),
            "data_wait": max(waits),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a run needs that goes on in the middle of a window, as JSON has it."""
        records = [
            {
                "step": record.step,
                "losses": {name: float(loss) for name, loss in record.losses.items()},
                "images": record.images,
            }
            for record in self.records
        ]
        return {
            "records": records,
            "seconds": self.seconds,
            "seconds_waited": self.seconds_waited,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the window that `state_dict` described."""
        self._clear()
        self.seconds, self.seconds_waited = state["seconds"], state["seconds_waited"]
        device = self.accelerator.device
        for record in state["records"]:
            losses = {
                name: torch.tensor(value, device=device) for name, value in record["losses"].items()
            }
            self.records.append(BatchRecord(record["step"], losses, record["images"]))

    def _sums(self) -> tuple[dict[str, float], dict[str, float]]:
        """Add up each loss of this process's batches; return sums and numbers of batches."""
        found: dict[str, list[Tensor]] = {}
        for record in self.records:
            for name, loss in record.losses.items():
                found.setdefault(name, []).append(loss)
        sums = torch.stack([torch.stack(losses).float().sum() for losses in found.values()])
        counts = {name: len(losses) for name, losses in found.items()}
        return dict(zip(found, sums.tolist(), strict=True)), counts  # one wait for the device

    def _clear(self) -> None:
        self.records: list[BatchRecord] = []
        self.gradient_norms: list[tuple[int, Tensor]] = []
        self.seconds = 0.0
        self.seconds_waited = 0.0


def sum_by_task(losses: dict[str, float]) -> dict[str, float]:
    """Add losses named `{dataset}/{task}/{loss}` up by task; those of one task stay apart."""
    tasks: dict[str, float] = {}
    for name, value in losses.items():
        task = name.split("/")[1] if "/" in name else name.removeprefix("loss_")
        tasks[task] = tasks.get(task, 0.0) + value
    return tasks


def _add_up(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add numbers of the same name."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _find_bad_loss(records: list[BatchRecord]) -> BadValue | None:
    losses = [loss for record in records for loss in record.losses.values()]
    if not losses or torch.isfinite(torch.stack(losses)).all():
        return None
    bad = (r for r in records if not torch.isfinite(torch.stack(list(r.losses.values()))).all())
    return _report("loss", [next(bad)])


def _find_bad_norm(norms: list[tuple[int, Tensor]], records: list[BatchRecord]) -> BadValue | None:
    if not norms or torch.isfinite(torch.stack([norm for _, norm in norms])).all():
        return None
    step = next(step for step, norm in norms if not torch.isfinite(norm))
    # Every accumulated batch has a part in the gradient.
    return _report("gradient", [record for record in records if record.step == step])


def _report(what: Literal["loss", "gradient"], records: list[BatchRecord]) -> BadValue:
    """List bad losses first, then the others and the images, batch by batch of a step."""
    lines = [f"non-finite {what} at step {records[0].step}; losses of the batch:"]
    for number, record in enumerate(records):
        values = {name: float(loss) for name, loss in record.losses.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if number:
            lines.append("losses of the next batch of the step:")
        lines += [f"  {name} = {values[name]:.6g}" for name in bad + sorted(set(values) - set(bad))]
        lines.append(f"images: {', '.join(record.images)}")
    return BadValue(records[0].step, what, "\n".join(lines))
