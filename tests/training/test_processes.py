"""Claims about refusing a launch that would not do what was asked."""

import dataclasses
import os
import sys
import time
from datetime import timedelta

import pytest
import torch
from accelerate.utils import gather_object

from mtp_hf.training import processes
from mtp_hf.training.processes import (
    check_launch,
    describe_lost_process,
    describe_sharing,
    main_process_first,
    make_accelerator,
    precision_of_launcher,
    set_up_cpu,
    wait_patiently,
)
from mtp_hf.training.recipe import load_recipe
from tests.training.process_group import run_processes
from tests.training.tiny_run import TINY_MODEL

VARIABLES_OF_LAUNCHERS = ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    """The tests themselves may have been started by one."""
    for name in VARIABLES_OF_LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


def test_the_accelerator_has_the_recipe_s_precision_and_accumulation(tiny_recipe, tmp_path):
    recipe = dataclasses.replace(
        tiny_recipe,
        schedule=dataclasses.replace(tiny_recipe.schedule, gradient_accumulation=2),
        efficiency=dataclasses.replace(tiny_recipe.efficiency, mixed_precision="bf16"),
    )
    accelerator = make_accelerator(recipe, None, tmp_path)
    assert accelerator.mixed_precision == "bf16"
    assert accelerator.gradient_accumulation_steps == 2
    assert accelerator.step_scheduler_with_optimizer is False
    check_launch(accelerator, recipe)


@pytest.mark.parametrize(("asked", "expected"), [(3, [3]), (None, [])])
def test_threads_are_set_where_the_recipe_says_how_many(
    accelerator, tiny_recipe, monkeypatch, asked, expected
):
    efficiency = dataclasses.replace(tiny_recipe.efficiency, cpu_threads=asked)
    calls = []
    monkeypatch.setattr(processes.torch, "set_num_threads", calls.append)
    set_up_cpu(accelerator, dataclasses.replace(tiny_recipe, efficiency=efficiency))
    assert calls == expected


@pytest.mark.parametrize(
    "variable", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
)
def test_unconnected_processes_are_refused_with_a_command_that_works(
    accelerator, tiny_recipe, monkeypatch, variable
):
    monkeypatch.setenv(variable, "4")
    monkeypatch.setattr(sys, "argv", ["training/pretrain.py", "--output", "my run"])
    with pytest.raises(ValueError, match="started 4 processes but this one sees 1") as caught:
        check_launch(accelerator, tiny_recipe)
    assert (
        "ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 4 training/pretrain.py"
        " --output 'my run'" in str(caught.value)
    )


def test_one_launcher_on_each_node_of_a_job_counts_by_its_processes(
    accelerator, tiny_recipe, monkeypatch
):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "16")
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_launch(accelerator, tiny_recipe)


def test_accelerate_that_starts_one_process_though_asked_for_more_is_refused(
    accelerator, tiny_recipe, monkeypatch
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    check_launch(accelerator, tiny_recipe)  # asked for one
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(ValueError, match="accelerate was asked for several processes but started"):
        check_launch(accelerator, tiny_recipe)


def test_more_processes_than_gpus_on_a_machine_are_refused(accelerator, tiny_recipe, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    check_launch(accelerator, tiny_recipe)  # processors are shared by any number
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(accelerator.state, "device", torch.device("cuda", 0))
    with pytest.raises(ValueError, match="8 processes on this machine, which has 4 GPUs"):
        check_launch(accelerator, tiny_recipe)


def test_accumulation_set_by_the_launcher_is_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    accelerator = make_accelerator(tiny_recipe, None, tmp_path)
    with pytest.raises(ValueError, match="schedule.gradient_accumulation=3"):
        check_launch(accelerator, tiny_recipe)


def test_a_batch_that_cannot_be_shared_is_refused(tiny_recipe, tmp_path):
    recipe = dataclasses.replace(
        tiny_recipe, schedule=dataclasses.replace(tiny_recipe.schedule, gradient_accumulation=3)
    )
    with pytest.raises(ValueError, match="cannot share equally"):
        check_launch(make_accelerator(recipe, None, tmp_path), recipe)


def test_the_arithmetic_of_a_step_is_shown(accelerator, tiny_recipe):
    schedule = dataclasses.replace(tiny_recipe.schedule, gradient_accumulation=2)
    text = describe_sharing(accelerator, dataclasses.replace(tiny_recipe, schedule=schedule))
    assert text == (
        "images of a step (CPU processes x accumulated batches x images of one):"
        " sior 2 = 1 x 2 x 1, sota_rbb 2 = 1 x 2 x 1, fast 2 = 1 x 2 x 1"
    )


def test_a_tracker_that_is_not_installed_is_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_tensorboard_available", lambda: False)
    with pytest.raises(ValueError, match=r"pip install mtp-hf\[tracking\]"):
        make_accelerator(tiny_recipe, "tensorboard", tmp_path)


def test_the_launcher_s_precision_is_read_from_its_environment(monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert precision_of_launcher() == "no"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert precision_of_launcher() == "bf16"


# Between processes


def _accelerator(timeout_s):
    processes.TIMEOUT = timedelta(seconds=timeout_s)
    return make_accelerator(load_recipe("pretrain/demo", overrides=TINY_MODEL), None, ".")


def _wait_for_a_slow_main_process(folder):
    """Longer than the communication may take; return what was there before and after."""
    accelerator = _accelerator(timeout_s=1)
    with main_process_first(accelerator):
        if accelerator.is_main_process:
            time.sleep(2)
        found = len(os.listdir(folder))
        (folder / str(accelerator.process_index)).touch()
    if accelerator.is_main_process:
        time.sleep(2)
    wait_patiently(accelerator)
    return found, len(gather_object([0]))


def test_processes_wait_patiently_for_work_of_the_main_process_alone(tmp_path):
    (main, others) = run_processes(_wait_for_a_slow_main_process, tmp_path)
    assert main == (0, 2)
    assert others == (1, 2)


def _wait_for_one_that_hangs():
    accelerator = _accelerator(timeout_s=1)
    if not accelerator.is_main_process:
        time.sleep(3)
        return None
    with pytest.raises(RuntimeError) as caught:
        gather_object([0])
    return describe_lost_process(caught.value)


def test_a_process_that_hangs_stops_the_others_in_time():
    assert "lost another process of this run" in run_processes(_wait_for_one_that_hangs)[0]


def _talk_to_one_that_ends():
    accelerator = _accelerator(timeout_s=30)
    if not accelerator.is_main_process:
        return None
    started = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        gather_object([0])
    return describe_lost_process(caught.value), time.monotonic() - started


def test_a_process_that_ends_stops_the_others_at_once_with_one_sentence():
    text, seconds = run_processes(_talk_to_one_that_ends)[0]
    assert text.startswith("lost another process of this run; its own message, or the launcher's")
    assert "\n" not in text
    assert seconds < 10


def test_a_worker_of_a_loader_that_was_killed_is_spoken_of_as_such():
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    text = describe_lost_process(error)
    assert text.startswith("a process that reads images ended (DataLoader worker (pid 7) is killed")
    assert "efficiency.num_workers" in text


def test_an_error_that_is_not_of_the_communication_is_left_alone():
    assert describe_lost_process(RuntimeError("CUDA out of memory")) is None
    assert describe_lost_process(ValueError("dataset 'sior', row 3")) is None
