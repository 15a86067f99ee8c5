"""Claims about runs under the real launchers: nodes on one machine, lost and missing processes.

The nodes of a job are launchers that meet over loopback, as on a cluster; the commands of SLURM are
replaced by small scripts. Without random sampling of proposals, a run on two nodes equals that of
two processes on one node in every bit, and that of one process that accumulates the two shards up
to rounding.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import psutil
import pytest

from mtp_hf.training.pretrain import main
from mtp_hf.training.run_log import read_log
from tests.training.process_group import free_port, run_processes
from tests.training.tiny_run import TINY_MODEL

pytestmark = pytest.mark.timeout(900)  # a dozen processes that import torch

ROOT = Path(__file__).parents[2]
STEPS = 20
RECIPE = ["--recipe", "pretrain/samrs", "--result", "vit_l_rvsa"]  # that of the launch examples
VALUES = [
    *TINY_MODEL,
    *("model.backbone=tiny", "model.backbone_overrides.drop_path_rate=0.0"),
    *("model.semantic.dropout=0.0", "model.semantic.pool_scales=[2,3]"),
    # More than there are, so that none is chosen at random.
    *(f"model.{task}.rpn_num_samples=100000" for task in ("instance", "rotated")),
    *(f"model.{task}.box_num_samples=100000" for task in ("instance", "rotated")),
    *("efficiency.mixed_precision=no", "efficiency.num_workers=1"),
    *("evaluation.max_samples=1", "evaluation.batch_size=1"),
    *("saving.log_every=1", "schedule.warmup_steps=1", f"schedule.steps={STEPS}"),
]
# Stand-ins for SLURM: a job of two nodes on this machine.
SLURM = {
    "scontrol": """#!/bin/bash
        case "$1" in
            show) printf '127.0.0.1\\n127.0.0.1\\n' ;;
            requeue) echo "$2" > requeued ;;
        esac""",
    "srun": """#!/bin/bash
        echo $$ > srun.pid
        while [ "${1#--}" != "$1" ]; do shift; done
        for node in 0 1; do
            SLURM_NODEID=$node "$@" > "node_$node.txt" 2>&1 &
            nodes="$nodes $!"
        done
        for node in $nodes; do wait "$node" || status=$?; done
        exit "${status:-0}\"""",
    # Every process of the step gets the signal, also launchers and the workers of loaders.
    "scancel": f"""#!{sys.executable}
import psutil, signal
with open("srun.pid") as file:
    step = psutil.Process(int(file.read()))
for process in step.children(recursive=True):
    process.send_signal(signal.SIGUSR1)""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Working folder of the launches: the repository's files, and what they write."""
    folder = tmp_path_factory.mktemp("launches")
    (folder / "training").symlink_to(ROOT / "training")
    return folder


@pytest.fixture(scope="module")
def environment(folder):
    """What a launch needs on a machine without GPUs."""
    commands = folder / "commands"
    commands.mkdir()
    for name, text in SLURM.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "PATH": path,
        "HF_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PROCESSES_PER_NODE": "1",
        "SLURM_JOB_ID": str(free_port() % 10000 + 20000),  # gives the port: 20000 + id % 10000
        "SLURM_JOB_NODELIST": "node[0-1]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }


def _losses(output):
    return [line["losses"] for line in read_log(output / "log.jsonl") if "losses" in line]


def _pretrain(arguments, cache):
    """The command line in a process of a group."""
    datasets.config.HF_DATASETS_CACHE = cache
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        main([*RECIPE, *arguments])


def _start(command, environment, folder):
    """Start a launch; what it prints goes to `printed.txt`."""
    with (folder / "printed.txt").open("w") as file:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )


def _wait_for(launcher, is_reached):
    deadline = time.monotonic() + 300
    while not is_reached():
        assert launcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


# Two nodes


@pytest.fixture(scope="module")
def job(folder, environment, samrs_root):
    """Folder of a job on two nodes that was asked to leave and ran again.

    Also what it printed and its exit status, first and second time.
    """
    output = folder / "job"
    script = "training/launch/slurm_sixteen_nodes.sbatch"
    command = ["bash", script, "job", *VALUES, f"data.root={samrs_root}"]
    printed, statuses = [], []
    for is_first in (True, False):
        shell = _start(command, environment, folder)
        if is_first:
            _wait_for(shell, lambda: (output / "log.jsonl").is_file() and _losses(output))
            shell.send_signal(signal.SIGUSR1)
        statuses.append(shell.wait(timeout=300))
        names = ("printed.txt", "node_0.txt", "node_1.txt")
        printed.append("\n".join((folder / name).read_text() for name in names))
    return output, printed, statuses


def test_a_job_asked_to_leave_saves_a_checkpoint_and_queues_itself_again(job, folder, environment):
    _, printed, statuses = job
    assert statuses[0] != 0
    assert "SIGUSR1: saving after this step" in printed[0]
    assert "stopped by SIGUSR1 after step" in printed[0]
    assert (folder / "requeued").read_text().strip() == environment["SLURM_JOB_ID"]


def test_the_same_job_goes_on_and_ends(job):
    output, printed, statuses = job
    assert statuses[1] == 0, printed[1][-3000:]
    assert "going on from job/checkpoints/step_" in printed[1]
    assert (output / "model" / "model.safetensors").is_file()
    assert len(_losses(output)) == STEPS


def test_two_nodes_train_what_two_processes_of_one_node_train(
    job, folder, samrs_root, datasets_cache
):
    arguments = [*VALUES, f"data.root={samrs_root}", "--output", str(folder / "node")]
    run_processes(_pretrain, arguments, datasets_cache)
    assert _losses(job[0]) == _losses(folder / "node")


def test_two_nodes_train_what_one_process_trains_that_accumulates_their_shards(
    job, folder, samrs_root, datasets_cache
):
    arguments = [*VALUES, f"data.root={samrs_root}", "--output", str(folder / "one")]
    accumulated = [*arguments, "schedule.gradient_accumulation=2", "--max_steps", "5"]
    run_processes(_pretrain, accumulated, datasets_cache, num_processes=1)
    for losses, expected in zip(_losses(folder / "one"), _losses(job[0])[:5], strict=True):
        assert losses == pytest.approx(expected, rel=1e-4)


# A process that is lost


@pytest.fixture(scope="module")
def broken_run(folder, environment, samrs_root):
    """What a run printed that lost a process, was restarted and lost one again.

    Also the process lost last, and the seconds that the run went on without it.
    """
    output, port = folder / "broken", str(free_port())
    command = ["training/launch/elastic_torchrun.sh", str(output), *VALUES]
    command += [f"data.root={samrs_root}", "schedule.steps=100000", "saving.checkpoint_every=1"]
    settings = {"NODES": "1", "PROCESSES_PER_NODE": "2", "MAX_RESTARTS": "1"}
    address = {"HOST": "127.0.0.1", "PORT": port}
    launcher = _start(command, environment | settings | address, folder)
    printed = folder / "printed.txt"
    try:
        _wait_for(launcher, (output / "checkpoints" / "latest").is_file)
        _process_of_rank(1, launcher).kill()
        _wait_for(launcher, lambda: "going on from" in printed.read_text())
        victim = _process_of_rank(1, launcher)
        victim.kill()
        killed = time.monotonic()
        assert launcher.wait(timeout=60) == 1
    finally:
        launcher.kill()
    return printed.read_text(), victim, time.monotonic() - killed


def _process_of_rank(rank, launcher):
    workers = psutil.Process(launcher.pid).children()
    return next(worker for worker in workers if worker.environ()["RANK"] == str(rank))


def test_elastic_torchrun_goes_on_from_the_newest_checkpoint(broken_run):
    assert broken_run[0].count("going on from") == 1


def test_a_killed_process_ends_the_run_in_time(broken_run):
    assert broken_run[2] < 45


def test_the_user_reads_which_process_was_killed_and_how_to_go_on(broken_run):
    printed, victim, _ = broken_run
    assert "error: lost another process of this run" in printed
    assert "go on with --resume latest" in printed
    assert re.search(rf"exitcode  : -9 \(pid: {victim.pid}\)", printed)
    assert "[rank0]: Traceback" not in printed  # of the process that was left


def test_no_process_is_left_of_any_launch(job, broken_run, folder):
    deadline = time.monotonic() + 60  # workers look for their parent every 5 s, busy ones later
    while left := _processes_in(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _processes_in(folder):
    """Processes of the launches: their working folder is that of the tests."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        if process.info["cwd"] == str(folder) and process.info["status"] != "zombie":
            found.append(process.info["cmdline"])
    return found
