"""Claims about finetuning in two processes under torchrun: measured as by one, no process hangs.

Images go through the network one by one, so that batches are the same on any number of processes.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mtp_hf.training.run_log import read_log
from tests.training.tiny_finetune import WRITERS, write_recipe

# Launchers that import torch six times: minutes on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TASK = "semantic_segmentation"  # its head has batch norms, whose statistics differ by process


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Run the script on a number of processes; returns exit status and what was printed."""
    folder = tmp_path_factory.mktemp("launch")
    WRITERS[TASK](folder / "data")
    sections = {"evaluation": {"every": 2, "batch_size": 1}, "efficiency": {"cpu_threads": 1}}
    recipe = write_recipe(folder / "tiny.yaml", TASK, **sections)
    environment = os.environ | {
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder / "home"),
    }

    def launch(num_processes, name, *arguments, is_new=True):
        command = [sys.executable]
        if num_processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc_per_node", str(num_processes)]
        command += ["training/finetune.py", "--output", str(folder / name), *arguments]
        if is_new:
            command += ["--recipe", str(recipe)]
            command += [f"data.root={folder / 'data'}"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stdout + done.stderr, folder / name

    return launch


def _measured(folder):
    lines = read_log(folder / "log.jsonl")
    return [(line["step"], line["metrics"]) for line in lines if "metrics" in line]


def test_two_processes_measure_what_one_process_measures(launch):
    status, printed, folder = launch(2, "run")
    assert status == 0, printed[-3000:]
    together = json.loads((folder / "metrics.json").read_text())
    steps = [step for step, _ in _measured(folder)]
    assert steps == [2, 4]
    assert together["best"]["step"] in steps
    assert (folder / "best" / "model.safetensors").is_file()
    status, printed, _ = launch(1, "run", "--resume", "latest", is_new=False)
    assert status == 0, printed[-3000:]
    alone = json.loads((folder / "metrics.json").read_text())
    assert alone["after"] == together["after"]
    assert alone["per_class"] == together["per_class"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("data.train=test", "split 'test': 3 of 3 images have no labels"),  # while data is opened
        ("optimizer.lr=1.0e30", "non-finite (loss|gradient) at step"),  # in the middle of training
    ],
)
def test_an_error_ends_both_processes_with_its_message(launch, argument, message):
    status, printed, folder = launch(2, argument.partition("=")[0], argument)
    assert status == 1
    assert any(line.startswith("error:") for line in printed.splitlines())
    assert re.search(message, printed), printed[-3000:]
    assert not (folder / "model").exists()
