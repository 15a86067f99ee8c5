"""Claims about `training/finetune.py`, on tiny runs of every task."""

import json
import re
import shlex

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoImageProcessor

from mtp_hf.hub.bundle import AUTO_CLASSES
from mtp_hf.metrics.finetuning import HEADLINES
from mtp_hf.training.architectures import build_network
from mtp_hf.training.build_model import build_model
from mtp_hf.training.finetune import EXAMPLES, check_start, main, parse_arguments
from mtp_hf.training.loaders import class_names
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.run_command import resolve_recipe
from mtp_hf.training.run_log import read_log
from mtp_hf.training.starting_weights import start_network
from tests.training.tiny_finetune import TASK_VALUES, WRITERS, write_recipe

NO_WARMUP = {"warmup_steps": 0}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Folder of each task's fake data set."""
    made = {}
    for task, write in WRITERS.items():
        made[task] = tmp_path_factory.mktemp(task)
        write(made[task])
    return made


@pytest.fixture
def run(roots, tmp_path, monkeypatch):
    """Run the command line on a task; returns the output folder."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(task, *arguments, name="run", **sections):
        recipe = write_recipe(tmp_path / f"{task}.yaml", task, **sections)
        folder = tmp_path / name
        given = ["--recipe", str(recipe), f"data.root={roots[task]}", "--output", str(folder)]
        main([*given, *map(str, arguments)])
        return folder

    return run


def _message(capsys, call):
    with pytest.raises(SystemExit) as stopped:
        call()
    return f"{stopped.value}{capsys.readouterr().err}"


@pytest.mark.parametrize("task", TASK_VALUES)
def test_every_task_trains_measures_and_leaves_a_model_that_loads(run, task):
    if task.endswith("_detection") and task != "change_detection":
        sections = {"schedule": {"batch_size": 1}}
    else:
        sections = {}
    folder = run(task, **sections)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["step"] == 4
    assert set(HEADLINES[task]) <= set(metrics["after"])
    assert [line["step"] for line in read_log(folder / "log.jsonl") if "loss" in line] == [
        *(1, 2, 3, 4)
    ]
    config = AutoConfig.from_pretrained(folder / "model")
    model_class = next(each for each in AUTO_CLASSES if each.__name__ == config.architectures[0])
    model, report = model_class.from_pretrained(folder / "model", output_loading_info=True)
    assert not any(report.values())
    assert model.config.id2label[0] != "LABEL_0"
    AutoImageProcessor.from_pretrained(folder / "model")
    weights = load_file(folder / "model" / "model.safetensors")
    checkpoint = load_file(folder / "checkpoints" / "step_0000004" / "model.safetensors")
    assert all(torch.equal(weights[name], checkpoint[name]) for name in weights)


@pytest.mark.parametrize("task", ["scene_classification", "change_detection"])
def test_a_resumed_run_is_the_unbroken_one(run, task):
    straight = run(task, name="straight")
    folder = run(task, "--max_steps", 2, name="stopped")
    main(["--resume", "latest", "--output", str(folder)])
    numbers = [
        [
            (line["step"], line["losses"])
            for line in read_log(each / "log.jsonl")
            if "losses" in line
        ]
        for each in (straight, folder)
    ]
    assert numbers[0] == numbers[1]
    old, new = (load_file(each / "model" / "model.safetensors") for each in (straight, folder))
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_the_best_network_is_kept_beside_the_last(run):
    folder = run("scene_classification")
    best = json.loads((folder / "metrics.json").read_text())["best"]
    measured = {
        line["step"]: line["metrics"]["accuracy"]
        for line in read_log(folder / "log.jsonl")
        if "metrics" in line
    }
    assert best["accuracy"] == max(measured.values()) == measured[best["step"]]
    assert best["step"] == min(step for step in measured if measured[step] == best["accuracy"])
    saved = load_file(folder / "best" / "model.safetensors")
    checkpoint = folder / "checkpoints" / f"step_{best['step']:07d}" / "model.safetensors"
    assert all(torch.equal(saved[name], x) for name, x in load_file(checkpoint).items())


def test_epochs_are_counted_in_steps(run):
    folder = run(
        "scene_classification",
        schedule={
            "steps": None,
            "epochs": 2,
            "warmup_steps": 0,
            "warmup_epochs": 1,
            "batch_size": 10,
        },
        evaluation={"every": 1},
        saving={"checkpoint_every": 1},
    )  # 30 images
    lines = list(read_log(folder / "log.jsonl"))
    assert [line["step"] for line in lines if "metrics" in line] == [3, 6]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates[2:] == pytest.approx([1.0e-3] * 4)  # a cosine of one epoch stays at its start
    assert (folder / "checkpoints" / "step_0000003").is_dir()


def test_a_frozen_backbone_stays_as_it_was(run):
    folder = run("scene_classification", model={"freeze_backbone": True})
    first, last = (
        load_file(folder / "checkpoints" / f"step_000000{step}" / "model.safetensors")
        for step in (2, 4)
    )
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_an_encoder_of_another_size_gives_its_tables_interpolated(run, capsys, caplog):
    start = run("scene_classification", name="start")
    folder = run(
        "semantic_segmentation", "--init", start / "model", data={"image_size": 128}, name="next"
    )
    assert folder.is_dir()
    assert "start from the backbone of" in caplog.text


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("scene_classification", ["data.root=/nowhere"], "data.root=/nowhere is not a folder"),
        ("scene_classification", ["data.root=null"], "say where with data.root=FOLDER"),
        ("scene_classification", ["model.architecture=upernet"], "does not do task=scene_class"),
        ("scene_classification", ["model.backbone=vit_x"], "vit_x.*vit_b_rvsa"),
        ("scene_classification", ["augment.flip=1"], "augment.flip.*flip_probability"),
        ("scene_classification", ["evaluation.transforms.size=1"], "evaluation.transforms.size"),
        ("scene_classification", ["data.builder=eurosta"], "data.builder=eurosta.*eurosat"),
        ("scene_classification", ["data.builder=loveda"], "loveda"),
        ("scene_classification", ["task=classify"], "task=classify"),
        ("scene_classification", ["data.train=trian"], "trian"),
        ("scene_classification", ["--init", "/nowhere/x.pth"], "no such file or folder"),
        ("scene_classification", ["--init", ""], "--init: expected a name or path, got an empty"),
        ("scene_classification", ["model.head.width=3"], "model.head.*width"),
        ("scene_classification", ["schedule.epochs=2"], "epochs or steps, one of the two"),
        ("scene_classification", ["data.train=train[:2]"], "are of one class"),
        ("scene_classification", ["model.head.num_labels=3"], "num_labels: the classes are those"),
        ("semantic_segmentation", ["data.train=test"], "'test': 3 of 3 images have no labels"),
        ("horizontal_detection", ["data.train=validation"], "none of 1 images has an object"),
        ("horizontal_detection", ["data.evaluate=validation"], "none of 1 images has an object"),
        ("rotated_detection", ["data.evaluate=validation"], "none of 1 images has an object"),
        ("scene_classification", ["data.train=train[:0]"], "train\\[:0\\].*corresponds to no data"),
        ("scene_classification", ["data.evaluate=train[:0]"], "corresponds to no data"),
        ("scene_classification", ["optimizer.lr=1.0e30"], "non-finite (loss|gradient) at step"),
    ],
)
def test_what_cannot_work_stops_with_a_message(run, capsys, tmp_path, task, arguments, message):
    text = _message(capsys, lambda: run(task, *arguments))
    assert "Traceback" not in text
    assert re.search(message, text.replace("\n", " ")), text
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("task", "other"),
    [
        ("scene_classification", "semantic_segmentation"),
        ("semantic_segmentation", "change_detection"),
        ("horizontal_detection", "scene_classification"),
    ],
)
def test_a_folder_of_another_data_set_is_refused_naming_both(run, capsys, roots, task, other):
    text = _message(capsys, lambda: run(task, f"data.root={roots[other]}"))
    builder = TASK_VALUES[task][0]["builder"]
    assert "Traceback" not in text
    assert f"data.root={roots[other]} holds no {builder}" in text.replace("\n", " ")


def test_a_run_goes_on_with_its_own_recipe_only(run, capsys):
    folder = run("scene_classification", "--max_steps", 2)
    given = ["--resume", "latest", "--output", str(folder), "optimizer.lr=0.5"]
    text = _message(capsys, lambda: main(given))
    assert "made by another recipe; changed: optimizer.lr: 0.001 -> 0.5" in text


def test_a_head_of_other_classes_is_refused_naming_both(run, capsys):
    start = run("scene_classification", name="start")
    config = json.loads((start / "model" / "config.json").read_text())
    config["id2label"] = {str(i): f"class{i}" for i in range(10)}
    config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}
    (start / "model" / "config.json").write_text(json.dumps(config))
    text = _message(capsys, lambda: run("scene_classification", "--init", start / "model"))
    assert "class 0 of the model" in text and "'class0'" in text and "'AnnualCrop'" in text
    run("scene_classification", "--init", start / "model", "model.take_head=false", name="again")


def test_a_whole_run_is_no_start(run, capsys):
    start = run("scene_classification", name="start")
    text = _message(capsys, lambda: run("scene_classification", "--init", start))
    assert f"model.init={start} is a whole run: name {start}/model or {start}/best" in text


def test_a_decoder_to_start_from_brings_its_backbone_in_place_of_the_one_of_the_row():
    row = ["--recipe", "semantic_segmentation/loveda", "--result", "vit_b_rvsa_mtp"]
    given = [*row, "--init_decoder", "outputs/demo/model"]
    model = resolve_recipe(parse_arguments(given)).model
    assert (model.init, model.init_decoder) == (None, "outputs/demo/model")
    for chosen in (["--init", "encoder"], ["model.init=encoder"]):
        assert resolve_recipe(parse_arguments([*given, *chosen])).model.init == "encoder"


def test_examples_of_the_help_take_the_demo_s_weights_as_they_stand(tmp_path, monkeypatch):
    demo = load_recipe("pretrain/demo")
    model = build_model(demo, class_names(demo))
    model.save_pretrained(tmp_path / "outputs" / "demo" / "model")
    model.backbone.save_pretrained(tmp_path / "outputs" / "demo" / "encoder")
    monkeypatch.chdir(tmp_path)
    lines = EXAMPLES.replace("\\\n", " ").splitlines()
    commands = [line.split("finetune.py")[1] for line in lines if "outputs/demo/" in line]
    assert len(commands) == 2
    for command in commands:
        recipe = resolve_recipe(parse_arguments(shlex.split(command)))
        network = build_network(recipe, ["a", "b"])
        assert start_network(network, recipe.model), command


def test_a_decoder_is_a_start_for_a_row_that_needs_one():
    given = ["--recipe", "semantic_segmentation/loveda", "--result", "vit_b_rvsa_mae"]
    check_start(resolve_recipe(parse_arguments([*given, "--init_decoder", "somewhere/model"])))


def test_a_recipe_of_pretraining_is_sent_away(capsys, tmp_path):
    text = _message(
        capsys, lambda: main(["--recipe", "pretrain/demo", "--output", str(tmp_path / "x")])
    )
    assert "recipe pretrain/demo is not one of finetune.py" in text


def test_a_folder_of_another_run_is_refused(run, capsys):
    run("scene_classification")
    text = _message(capsys, lambda: run("scene_classification"))
    assert "holds a run already" in text


EPOCHS = ["schedule.steps=null", "schedule.epochs=12", "schedule.warmup_steps=500"]
COUNTS = ["evaluation.every=1", "saving.checkpoint_every=1", "schedule.update_every=1"]


@pytest.mark.parametrize(
    ("task", "arguments"),
    [("scene_classification", []), ("horizontal_detection", [*EPOCHS, *COUNTS])],
)
def test_a_dry_run_leaves_nothing(run, capsys, task, arguments):
    folder = run(task, "--dry_run", *arguments)
    assert not folder.exists()
    assert "dry run: one step, validation and saving passed" in capsys.readouterr().out
