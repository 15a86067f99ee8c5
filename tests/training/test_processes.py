"""Claims about refusing a launch that would not do what was asked."""

import dataclasses

import pytest

from mtp_hf.training import processes
from mtp_hf.training.processes import (
    check_launch,
    make_accelerator,
    precision_of_launcher,
    use_cpu_threads,
)


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
    use_cpu_threads(accelerator, dataclasses.replace(tiny_recipe, efficiency=efficiency))
    assert calls == expected


def test_unconnected_processes_are_refused_with_a_command_that_works(
    accelerator, tiny_recipe, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="started 4 processes but this one sees 1(.|\n)*torchrun"):
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


def test_a_tracker_that_is_not_installed_is_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_tensorboard_available", lambda: False)
    with pytest.raises(ValueError, match=r"pip install mtp-hf\[tracking\]"):
        make_accelerator(tiny_recipe, "tensorboard", tmp_path)


def test_the_launcher_s_precision_is_read_from_its_environment(monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert precision_of_launcher() == "no"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert precision_of_launcher() == "bf16"
