"""The losses since the last line of the log: kept as tensors, checked, then averaged.

On a CPU every batch is checked before its gradient is computed. On other devices that would make
the host wait for each step, so the check comes with the next line of the log or the next
checkpoint; it names the step and the images all the same, and no checkpoint is written after a
non-finite loss.
"""

import dataclasses
import time
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """A loss or gradient is NaN or infinite; the message names step, losses and images."""


@dataclasses.dataclass
class BatchRecord:
    """Losses of one batch, scalars without gradient, and `dataset/image_id` of its images."""

    step: int
    losses: dict[str, Tensor]
    images: list[str]


class LossWindow:
    """Gather the losses of a logging interval.

    Args:
        accelerator: says which device this is and averages over processes.

    Attributes:
        seconds: time spent in training steps; time for validation and saving is not in it.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.checks_each_batch = accelerator.device.type == "cpu"
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
            _check_losses(self.records[-1:])

    def add_gradient_norm(self, step: int, gradient_norm: Tensor) -> None:
        """Add the gradient norm of a step, before the optimizer uses the gradient.

        Raises:
            NonFiniteLossError: on a CPU, if it is not finite.
        """
        # A loss scaler meets infinite gradients on purpose and skips the step.
        if self.accelerator.scaler is None:
            self.gradient_norms.append((step, gradient_norm))
            if self.checks_each_batch:
                _check_norms(self.gradient_norms[-1:], self.records)

    def check(self) -> None:
        """Look at everything since the last line of the log.

        Raises:
            NonFiniteLossError: a loss or gradient norm is not finite.
        """
        _check_losses(self.records)
        _check_norms(self.gradient_norms, self.records)

    def summarize(self) -> dict[str, Any]:
        """Check, average over batches and processes, and start a new window; all processes call it.

        Returns:
            `losses` by name, `loss` their sum, `tasks` the sum of each task, `images_per_s` over
            all processes, `data_wait` the share of the time spent waiting for batches.
        """
        started = time.perf_counter()
        self.check()
        names = sorted({name for record in self.records for name in record.losses})
        means = torch.stack([self._mean(name) for name in names])
        seconds = self.seconds + time.perf_counter() - started
        waited = torch.tensor([self.seconds_waited / seconds], device=self.accelerator.device)
        values = self.accelerator.reduce(torch.cat([means, waited]), reduction="mean").tolist()
        losses = dict(zip(names, values[:-1], strict=True))
        num_images = sum(len(record.images) for record in self.records)
        self._clear()
        return {
            "loss": sum(losses.values()),
            "losses": losses,
            "tasks": sum_by_task(losses),
            "images_per_s": num_images * self.accelerator.num_processes / seconds,
            "data_wait": values[-1],
        }

    def _mean(self, name: str) -> Tensor:
        found = [record.losses[name] for record in self.records if name in record.losses]
        return torch.stack(found).float().mean()

    def _clear(self) -> None:
        self.records: list[BatchRecord] = []
        self.gradient_norms: list[tuple[int, Tensor]] = []
        self.seconds = 0.0
        self.seconds_waited = 0.0


def sum_by_task(losses: dict[str, float]) -> dict[str, float]:
    """Add losses named `{dataset}/{task}/{loss}` up by task."""
    tasks: dict[str, float] = {}
    for name, value in losses.items():
        task = name.split("/")[1]
        tasks[task] = tasks.get(task, 0.0) + value
    return tasks


def _check_losses(records: list[BatchRecord]) -> None:
    losses = [loss for record in records for loss in record.losses.values()]
    if not losses or torch.isfinite(torch.stack(losses)).all():
        return
    for record in records:
        if not torch.isfinite(torch.stack(list(record.losses.values()))).all():
            raise NonFiniteLossError(_report("loss", record))


def _check_norms(norms: list[tuple[int, Tensor]], records: list[BatchRecord]) -> None:
    if not norms or torch.isfinite(torch.stack([norm for _, norm in norms])).all():
        return
    step = next(step for step, norm in norms if not torch.isfinite(norm))
    record = next(record for record in reversed(records) if record.step == step)
    raise NonFiniteLossError(_report("gradient", record))


def _report(what: str, record: BatchRecord) -> str:
    """List bad losses first, then the others and the images of the batch."""
    values = {name: float(loss) for name, loss in record.losses.items()}
    bad = [name for name, value in values.items() if not torch.isfinite(torch.tensor(value))]
    parts = [f"  {name} = {values[name]:.6g}" for name in bad + sorted(set(values) - set(bad))]
    head = f"non-finite {what} at step {record.step}; losses of the batch:"
    return "\n".join([head, *parts, f"images: {', '.join(record.images)}"])
