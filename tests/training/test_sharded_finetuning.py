"""Claims about finetuning under FSDP2: what DDP learns, measures and writes.

As in `test_sharding.py` FSDP2 runs on two processors.
"""

import json
import os

import pytest
import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from mtp_hf.training.finetune import main
from mtp_hf.training.run_log import read_log
from tests.training.process_group import run_processes
from tests.training.test_sharding import FSDP2
from tests.training.tiny_finetune import WRITERS, write_recipe


def _finetune(use_fsdp, arguments, cache):
    import datasets  # of this process

    datasets.config.HF_DATASETS_CACHE = cache
    if use_fsdp:
        os.environ.update(FSDP2, ACCELERATE_USE_CPU="false", ACCELERATE_TORCH_DEVICE="cpu")
        PartialState._prepare_backend = lambda *args: ("gloo", DistributedType.MULTI_GPU)
    main(arguments)


@pytest.mark.slow  # four launches of two processes
@pytest.mark.parametrize("task", ["scene_classification", "rotated_detection"])
def test_fsdp2_finetunes_what_ddp_finetunes(task, tmp_path):
    WRITERS[task](tmp_path / "data")
    recipe = write_recipe(tmp_path / "tiny.yaml", task, efficiency={"cpu_threads": 1})
    arguments = ["--recipe", str(recipe), f"data.root={tmp_path / 'data'}", "--max_steps", "1"]
    for name in ("ddp", "fsdp"):
        output = [*arguments, "--output", str(tmp_path / name)]
        run_processes(_finetune, name == "fsdp", output, tmp_path / "cache")
    logs = {name: list(read_log(tmp_path / name / "log.jsonl")) for name in ("ddp", "fsdp")}
    assert logs["fsdp"][0]["loss"] == pytest.approx(logs["ddp"][0]["loss"], rel=1e-5)
    weights = {
        name: load_file(tmp_path / name / "model" / "model.safetensors") for name in ("ddp", "fsdp")
    }
    assert weights["fsdp"].keys() == weights["ddp"].keys()
    for name, value in weights["ddp"].items():
        # A step of AdamW is as large as the rate whatever the gradient, rounding included.
        torch.testing.assert_close(weights["fsdp"][name], value, rtol=1e-3, atol=2.1e-3, msg=name)
    metrics = json.loads((tmp_path / "fsdp" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["step"] == 1 and metrics["after"]["num_images"] > 0
