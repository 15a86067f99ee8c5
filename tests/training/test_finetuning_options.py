"""Claims about options of finetuning, on tiny runs of the command line."""

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoConfig

from mtp_hf.training.finetune import main
from mtp_hf.training.run_log import read_log
from tests.fakes_classification import write_eurosat
from tests.training.tiny_finetune import BACKBONE, write_recipe

CALM = {**BACKBONE, "drop_path_rate": 0.0}
TASK = "scene_classification"
LORA = {"model": {"lora_rank": 2}}
AVERAGE = {"optimizer": {"lr": 1.0e-2, "ema_decay": 0.5}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eurosat")
    write_eurosat(folder)
    return folder


@pytest.fixture
def run(root, tmp_path, monkeypatch):
    """Run the command line on fake scenes; returns the output folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", root / "cache")

    def run(*arguments, name="run", **sections):
        recipe = write_recipe(tmp_path / f"{name}.yaml", TASK, **sections)
        folder = tmp_path / name
        given = ["--recipe", str(recipe), f"data.root={root}", "--output", str(folder)]
        main([*given, *map(str, arguments)])
        return folder

    return run


@pytest.fixture
def two_losses(run):
    """Function arguments, sections -> losses of two steps, with drop path off; measures nothing."""

    def two_losses(*arguments, name="run", **sections):
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps its precision else
        backbone = {"model": {"backbone_overrides": CALM}}
        folder = run(
            *("--max_steps", 2, "data.evaluate=null"), *arguments, name=name, **backbone, **sections
        )
        return _losses(folder)

    return two_losses


def _losses(folder):
    return [line["losses"]["loss"] for line in read_log(folder / "log.jsonl") if "losses" in line]


def _weights(folder, *path):
    return load_file(folder.joinpath(*path) / "model.safetensors")


def _equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(
    "sections",
    [AVERAGE, LORA, {"mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}}],
    ids=["average", "low rank", "mix"],
)
def test_a_resumed_run_is_the_unbroken_one(run, sections):
    straight = run(name="straight", **sections)
    folder = run("--max_steps", 2, name="stopped", **sections)
    main(["--resume", "latest", "--output", str(folder)])
    assert _losses(straight) == _losses(folder)
    assert len(_losses(folder)) == 4
    assert _equal(_weights(straight, "model"), _weights(folder, "model"))
    assert _equal(_weights(straight, "best"), _weights(folder, "best"))


def test_the_average_is_written_and_measured_in_place_of_the_weights(run):
    folder = run(**AVERAGE)
    steps = [_weights(folder, "checkpoints", f"step_000000{step}") for step in (2, 4)]
    written = _weights(folder, "model")
    assert written.keys() == steps[1].keys() and not _equal(written, steps[1])
    state = torch.load(folder / "checkpoints" / "step_0000004" / "custom_checkpoint_0.pkl")
    assert _equal(written, {name: state[f"module.{name}"] for name in written})
    assert int(state["n_averaged"]) == 4


def test_low_rank_updates_are_written_as_plain_weights(run):
    start = run("--max_steps", 1, name="start")
    folder = run("--init", start / "model", **LORA)
    old, new = (_weights(each, "model") for each in (start, folder))
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    linear = ("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight")
    backbone = {name for name in changed if name.startswith("backbone.")}
    assert backbone and all(name.endswith(linear) for name in backbone)
    assert changed - backbone == {"classifier.weight", "classifier.bias"}
    kept = _weights(folder, "checkpoints", "step_0000004")
    name = "backbone.layers.0.attention.qkv"
    update = kept[f"{name}.lora_B.default.weight"] @ kept[f"{name}.lora_A.default.weight"]
    expected = old[f"{name}.weight"] + update
    torch.testing.assert_close(new[f"{name}.weight"], expected, rtol=1e-5, atol=1e-7)
    assert AutoConfig.from_pretrained(folder / "model").num_labels == 10


def test_what_makes_a_step_cheaper_leaves_its_losses(two_losses):
    plain = two_losses(name="plain")
    cheaper = {
        "schedule.gradient_accumulation=2": 1e-5,  # sums in another order
        "efficiency.activation_checkpointing=true": 1e-6,
        "efficiency.mixed_precision=bf16": 0.02,  # eight bits
    }
    for number, (override, tolerance) in enumerate(cheaper.items()):
        found = two_losses(override, name=f"cheaper_{number}")
        assert found == pytest.approx(plain, rel=tolerance), override
    assert found != plain  # the last one rounds


def test_a_compiled_backbone_learns_the_same(two_losses, monkeypatch):
    called = []
    inner = torch.nn.Module.compile

    def compile_traced(module, **options):
        called.append(type(module).__name__)
        inner(module, backend="aot_eager")  # without the minutes of generating C++

    monkeypatch.setattr(torch.nn.Module, "compile", compile_traced)
    plain = two_losses(name="plain")
    compiled = two_losses("efficiency.compile=true", name="compiled")
    assert called == ["ViTRVSAModel"]
    assert compiled == pytest.approx(plain, rel=1e-4)


def test_mixing_changes_the_losses_and_is_off_by_default(two_losses):
    assert two_losses(name="plain") != two_losses("mix.mixup_alpha=0.8", name="mixed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.freeze_backbone=true", "model.lora_rank=2"], "exclude each other"),
        (["model.lora_rank=0"], "model.lora_rank: expected at least 1, got 0"),
        (["optimizer.ema_decay=1.5"], "optimizer.ema_decay: expected 0 < x < 1, got 1.5"),
    ],
)
def test_options_that_cannot_work_stop_with_a_message(run, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run(*arguments)


def test_a_milestone_after_the_end_of_a_shorter_run_is_told(run, caplog):
    stairs = {"kind": "multistep", "milestones": [2, 9], "warmup_steps": 1}
    run("--max_steps", 1, "data.evaluate=null", schedule=stairs)
    assert "schedule.milestones: no step [9], the run ends at 4" in caplog.text
