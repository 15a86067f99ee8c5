"""Claims about what a step of finetuning asks of the device: no loop over objects, no waiting.

Operators are counted on the CPU, where any machine can tell; that the host never waits for a GPU
is claimed where there is one.
"""

import warnings

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.finetune_step import call_with, make_samples
from mtp_hf.data.collate import Collate
from mtp_hf.training.architectures import build_network
from mtp_hf.training.loop import prepare, train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tasks import TASKS
from tests.training.tiny_finetune import write_recipe

SIDE, NUM_CLASSES = 128, 3
DETECTORS = ("horizontal_detection", "rotated_detection")
MAPS_AND_SCENES = tuple(task for task in TASKS if task not in DETECTORS)
FEW, MANY = 4, 64  # objects of an image
# Dropped layers differ from step to step; a loop over objects would call 60 operators more.
TOLERANCE = 20


@pytest.fixture
def make_step(tmp_path):
    """Task -> function that makes a training step on images with some objects."""

    def make_step(task, *, cpu=True):
        path = write_recipe(tmp_path / "recipe.yaml", task)
        recipe = load_recipe(str(path), overrides=["optimizer.layer_decay=0.9"])
        accelerator = Accelerator(cpu=cpu, step_scheduler_with_optimizer=False)
        network = build_network(recipe, [f"class{i}" for i in range(NUM_CLASSES)])
        prepared = prepare(accelerator, network, recipe, call_with)
        window = LossWindow(accelerator)

        def step(num_objects):
            batch = Collate()(make_samples(task, SIDE, 2, NUM_CLASSES, num_objects))
            train_step(prepared, iter([batch]), recipe, window, 1)

        return step

    return make_step


class Operators(TorchDispatchMode):
    """Count the operators called inside the block."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def _operators(step, num_objects):
    torch.manual_seed(0)
    with Operators() as operators:
        step(num_objects)
    return operators.count


def _waits(step, num_objects):
    """How often the host waits for the device in a step."""
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step(num_objects)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(each.message) for each in caught)


@pytest.mark.parametrize("task", DETECTORS)
def test_a_step_calls_as_many_operators_for_many_objects_as_for_few(make_step, task):
    step = make_step(task)
    step(FEW)  # states of the optimizer
    assert abs(_operators(step, MANY) - _operators(step, FEW)) < TOLERANCE


@pytest.mark.gpu
@pytest.mark.parametrize("task", MAPS_AND_SCENES)
def test_the_host_never_waits_for_the_device_in_a_step_of_scenes_or_maps(make_step, task):
    step = make_step(task, cpu=False)
    for _ in range(2):  # states of the optimizer, workspaces of libraries
        step(FEW)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(FEW)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("task", DETECTORS)
def test_the_host_waits_as_often_for_many_objects_as_for_few(make_step, task):
    step = make_step(task, cpu=False)
    for _ in range(2):
        step(FEW)
    assert abs(_waits(step, MANY) - _waits(step, FEW)) < TOLERANCE
