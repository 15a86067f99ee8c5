"""Claims about `training/launch` and docs/cluster.md, as far as a machine without GPUs can tell.

What runs is in `test_distributed_launch.py`; here everything that the files name is looked up.
"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch.distributed.run
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training.finetune import parse_arguments as parse_finetuning
from mtp_hf.training.pretrain import parse_arguments
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.recipe_sections import micro_batch_sizes
from tests.training.test_sharding import FSDP2

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "training" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
CONFIGS = sorted(LAUNCH.glob("*.yaml"))
# Processes that the comments of an example promise.
PROCESSES = {"one_gpu": 1, "eight_gpus": 8, "elastic_torchrun": 32, "slurm_sixteen_nodes": 32}


def _commands(path):
    """Commands of a script that go over several lines, as lists of words."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [shlex.split(line) for line in lines if re.match(r"(exec|srun) ", line)]


def _words_after(words, name):
    return [value for word, value in zip(words, words[1:], strict=False) if word == name]


def test_there_is_an_example_for_each_kind_of_machine():
    assert {path.stem for path in SCRIPTS} >= {*PROCESSES, "two_cpu_processes"}
    assert {path.stem for path in CONFIGS} == {"eight_gpus", "fsdp2", "deepspeed_zero2"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_can_read_every_script(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert path.suffix == ".sbatch" or path.stat().st_mode & 0o111
    assert re.search(r"^#  ", path.read_text(), re.MULTILINE) or path.stem == "slurm_node"


@pytest.mark.parametrize("path", SCRIPTS + CONFIGS, ids=lambda path: path.name)
def test_every_file_that_an_example_names_is_there(path):
    found = re.findall(r"(?:training|docs)/[\w/]+\.(?:py|sh|yaml|md|sbatch)", path.read_text())
    assert [name for name in found if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_launchers_have_the_options_that_they_are_given(path):
    parsers = {
        "accelerate": launch_command_parser(),
        "torchrun": torch.distributed.run.get_args_parser(),
    }
    for _, launcher, *words in _commands(path):
        if launcher not in parsers:
            continue
        known = {option for a in parsers[launcher]._actions for option in a.option_strings}
        end = next(i for i, w in enumerate(words) if w.startswith(("training/", "${SCRIPT:-")))
        options = [word for word in words[:end] if word.startswith("--")]
        assert options
        assert set(options) <= known


@pytest.mark.parametrize("stem", PROCESSES)
def test_the_recipe_of_an_example_is_there_and_shares_its_batches(stem):
    path = next(path for path in SCRIPTS if path.stem == stem)
    (words,) = [words for words in _commands(path) if "--recipe" in words]
    (name,), (row,) = _words_after(words, "--recipe"), _words_after(words, "--result")
    overrides = [word for word in words if re.fullmatch(r"[a-z]+\.[a-z_.]+=.+", word)]
    recipe = load_recipe(name, result=row, overrides=overrides)
    sizes = set(micro_batch_sizes(recipe, PROCESSES[stem]).values())
    assert sizes == {32 // PROCESSES[stem] // recipe.schedule.gradient_accumulation}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("change_detection/levir", []),
        ("scene_classification/resisc45", []),
        ("horizontal_detection/dior", ["schedule.gradient_accumulation=1"]),
    ],
)
@pytest.mark.parametrize("stem", PROCESSES)
def test_examples_finetune_what_follows_the_output_folder(stem, name, values):
    path = next(path for path in SCRIPTS if path.stem == stem)
    (words,) = [words for words in _commands(path) if "--recipe" in words]
    own = words[words.index("--recipe") : words.index("$@")]
    given = ["--recipe", name, "--result", "vit_l_rvsa_mtp", "data.root=/data/x", *values]
    args = parse_finetuning([*own, *given])
    recipe = load_recipe(args.recipe, result=args.result, overrides=args.overrides)
    assert (recipe.name, recipe.result) == (name, "vit_l_rvsa_mtp")
    # Detectors take 4 images a step, which the comments of the examples for up to 8 GPUs say.
    processes = min(PROCESSES[stem], recipe.schedule.batch_size)
    (size,) = micro_batch_sizes(recipe, processes).values()
    shares = processes * recipe.schedule.gradient_accumulation
    assert size * shares == recipe.schedule.batch_size


def test_the_job_asks_for_as_many_nodes_and_gpus_as_it_starts_processes():
    text = (LAUNCH / "slurm_sixteen_nodes.sbatch").read_text()
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", text, re.MULTILINE))
    processes = re.search(r"PROCESSES_PER_NODE:-(\d+)", text)[1]
    assert (asked["nodes"], asked["ntasks-per-node"]) == ("16", "1")
    assert asked["gpus-per-node"] == processes == "2"
    assert asked["signal"] == "B:USR1@300"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(None, ["--overwrite"]), ("latest", ["--resume", "latest"])],
)
@pytest.mark.parametrize(
    ("variables", "script"),
    [
        ({}, "training/pretrain.py"),
        ({"SCRIPT": "training/finetune.py"}, "training/finetune.py"),
    ],
)
def test_a_run_is_started_or_resumed_as_its_folder_says(
    name, arguments, variables, script, tmp_path
):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    if name:
        (folder / name).touch()
    (tmp_path / "python").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run(
        [LAUNCH / "start_or_resume.sh", tmp_path / "run", "seed=1", "--dry_run"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words == [
        *(script, "--output", str(tmp_path / "run"), *arguments),
        *("seed=1", "--dry_run"),
    ]
    assert parse_arguments(words[1:]).overrides == ["seed=1"]


# The files of Accelerate


@pytest.mark.parametrize(
    ("stem", "kind", "precision"),
    [
        ("eight_gpus", DistributedType.MULTI_GPU, "bf16"),
        ("fsdp2", DistributedType.FSDP, "bf16"),
        ("deepspeed_zero2", DistributedType.DEEPSPEED, "no"),
    ],
)
def test_accelerate_reads_every_configuration(stem, kind, precision):
    config = load_config_from_file(str(LAUNCH / f"{stem}.yaml"))
    assert config.distributed_type == kind
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (1, 8, precision)
    assert "GPU only" in (LAUNCH / f"{stem}.yaml").read_text()


def test_fsdp2_reaches_the_processes_as_the_tests_of_sharding_set_it():
    path = str(LAUNCH / "fsdp2.yaml")
    arguments = launch_command_parser().parse_args(["--config_file", path, "script.py"])
    environment = prepare_multi_gpu_env(_validate_launch_command(arguments)[0])
    assert {name: environment[name] for name in FSDP2} == FSDP2
    assert environment["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert FSDP2["FSDP_TRANSFORMER_CLS_TO_WRAP"] in MTPForPreTraining._no_split_modules


def test_deepspeed_is_told_what_the_script_accepts():
    config = load_config_from_file(str(LAUNCH / "deepspeed_zero2.yaml")).deepspeed_config
    assert config["zero_stage"] == 2
    accumulation = load_recipe("pretrain/samrs", result="vit_l_rvsa").schedule.gradient_accumulation
    assert config["gradient_accumulation_steps"] == accumulation


# docs/cluster.md


@pytest.mark.parametrize(
    "message",
    [
        "accelerate was asked for several processes but started one",
        "cannot share equally",
        "the launcher sets gradient accumulation to",
        "lost another process of this run",
        "a process that reads images ended",
        "of the time goes by waiting for images",
        "the output folder has to be on a file system that all nodes share",
        "fsdp_cpu_ram_efficient_loading",
    ],
)
def test_messages_that_the_page_explains_are_those_of_the_code(message):
    code = "".join(path.read_text() for path in sorted((ROOT / "training").glob("*.py")))
    spoken = re.sub(r'"\s*\n\s*f?"', "", code)  # strings that go on in the next line
    assert message in spoken
    assert message in (ROOT / "docs" / "cluster.md").read_text()


@pytest.mark.parametrize("page", ["docs/cluster.md", "README.md"])
def test_every_example_that_a_page_names_is_there(page):
    names = re.findall(r"training/launch/[\w.]+\w", (ROOT / page).read_text())
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []
