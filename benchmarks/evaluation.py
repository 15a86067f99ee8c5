"""Evaluation in one and in two processes: images a second of the whole, from reading to scores.

Scenes of noise, ViT-B + RVSA as published for EuroSAT, one thread a process; every process is
started by torchrun as an evaluation of the user is, predicts its share, and the main one scores.
A target of 1.6 leaves a fifth for what two processes share: memory, caches, and the last score.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.finetune_step import RECIPES, make_samples, quick_or_published
from benchmarks.report import NotHereError, Row
from mtp_hf.data.multi_dataset import SourceDataset, build_eval_loader
from mtp_hf.metrics.finetuning import TaskEvaluator
from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.tasks import find_task
from mtp_hf.training.validation import validate

THREADS = 1  # of a process
NUM_PROCESSES = 2
SPEEDUP_TARGET = 1.6
RECIPE = "scene_classification/eurosat"
NUM_IMAGES, QUICK_IMAGES, BATCH_SIZE = 64, 4, 8
ROUNDS = 3


def run(quick: bool) -> list[Row]:
    """Launch one and two processes in turn."""
    if (os.cpu_count() or 1) < NUM_PROCESSES:
        raise NotHereError(f"{NUM_PROCESSES} processes need a core each")
    speeds: dict[int, list[float]] = {1: [], NUM_PROCESSES: []}
    for _ in range(1 if quick else ROUNDS):
        for num_processes, found in speeds.items():
            found.append(launch(num_processes, quick))
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    medians = {count: statistics.median(found) for count, found in speeds.items()}
    return [
        Row(
            case=f"evaluation of scenes, {NUM_PROCESSES} processes against one",
            value=statistics.median(ratios),
            unit="x faster",
            at_least=SPEEDUP_TARGET,
            note=", ".join(f"{count}: {speed:.3g} images/s" for count, speed in medians.items()),
        )
    ]


def launch(num_processes: int, quick: bool) -> float:
    """Evaluate in some processes; return images a second."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(num_processes), "--module", "benchmarks.evaluation"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])["images_per_s"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Be one of the processes: evaluate once to warm up and once more for the time."""
    parser = argparse.ArgumentParser("python -m benchmarks.evaluation", description="one process")
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args(arguments).quick
    torch.set_num_threads(THREADS)
    recipe = quick_or_published(RECIPE, quick)
    accelerator = Accelerator(cpu=True)
    names = [f"class{i}" for i in range(RECIPES[RECIPE].num_classes)]
    network = build_network(recipe, names)
    num_images = QUICK_IMAGES if quick else NUM_IMAGES
    source = noise_source(recipe.data.image_size, num_images, len(names))
    for _ in range(2):
        accelerator.wait_for_everyone()
        started = time.perf_counter()
        metrics = evaluate(recipe, accelerator, network, source, names)
        seconds = time.perf_counter() - started
    if accelerator.is_main_process:
        assert metrics["num_images"] == num_images, metrics
        print(json.dumps({"images_per_s": num_images / seconds}), flush=True)
    accelerator.end_training()


def evaluate(
    recipe: FinetuneRecipe,
    accelerator: Accelerator,
    network: nn.Module,
    source: SourceDataset,
    names: list[str],
) -> dict[str, Any]:
    """Measure all images as finetuning does; metrics on the main process alone."""
    task = find_task(recipe)
    loader = build_eval_loader(
        {source.name: source},
        batch_size=BATCH_SIZE,
        image_size=recipe.data.image_size,
        num_workers=0,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    metrics, _ = validate(
        accelerator,
        network,
        loader,
        TaskEvaluator(recipe.task, names),
        predict=lambda model, inputs: task.predict(model, inputs, recipe),
    )
    return metrics


def noise_source(size: int, count: int, num_classes: int) -> SourceDataset:
    """Make scenes in memory; the time is that of predicting them."""
    samples: Any = make_samples("scene_classification", size, count, num_classes)

    def read(sample: Any) -> Any:
        reference = {"image_id": sample["image_id"], "label": sample["label"]}
        pictures = {key: value for key, value in sample.items() if key != "label"}
        return {**pictures, "reference": reference, "orig_size": (size, size)}

    return SourceDataset("noise", samples, read, lambda sample, rng: sample)


if __name__ == "__main__":
    main()
