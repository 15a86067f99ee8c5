"""Claims about FSDP2 and DeepSpeed.

FSDP2 runs here on processors: Accelerate offers it for GPUs alone, so the tests let it take two
processes connected by gloo for those. DeepSpeed is not installed; only its settings are tested.
"""

import dataclasses
import os
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training import sharding
from mtp_hf.training.loop import prepare, train_step
from mtp_hf.training.loss_window import LossWindow
from mtp_hf.training.processes import make_accelerator
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.sharding import (
    check_sharding,
    set_up_deepspeed,
    sharding_plugins,
    whole_network,
)
from tests.tiny_models import make_batch, tiny_pretraining_config
from tests.training.process_group import run_processes
from tests.training.tiny_run import TINY_MODEL

# What `accelerate launch --config_file training/launch/fsdp2.yaml` sets.
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "ViTRVSABlock",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}
RATE = load_recipe("pretrain/demo").optimizer.lr
# Process -> batches -> data set and number of objects of each image.
PLANS = [
    [[("sior", 3), ("fast", 2)], [("sior", 0), ("fast", 0)]],
    [[("sior", 1), ("fast", 0)], [("sior", 2), ("fast", 1)]],
]


def _train(use_fsdp, *overrides):
    """Losses, weights and the first gradient norm of two steps of two accumulated batches."""
    if use_fsdp:
        os.environ.update(FSDP2, ACCELERATE_USE_CPU="false", ACCELERATE_TORCH_DEVICE="cpu")
        PartialState._prepare_backend = lambda *args: ("gloo", DistributedType.MULTI_GPU)
    torch.randperm = lambda n, **kwargs: torch.arange(n)  # no random choice of proposals
    values = ["schedule.gradient_accumulation=2", "schedule.warmup_steps=0", *overrides]
    recipe = load_recipe("pretrain/demo", overrides=[*TINY_MODEL, *values])
    accelerator = make_accelerator(recipe, None, ".")
    check_sharding(accelerator)
    torch.manual_seed(0)
    prepared = prepare(accelerator, MTPForPreTraining(tiny_pretraining_config()), recipe)
    window = LossWindow(accelerator)
    # The norm of the first step: AdamW makes large steps out of rounding, too.
    norm, _ = (
        train_step(prepared, _batches(accelerator.process_index), recipe, window, step)
        for step in (1, 2)
    )
    random_state = torch.get_rng_state()
    network = whole_network(accelerator, prepared.model)
    assert torch.equal(torch.get_rng_state(), random_state)
    if accelerator.is_main_process:  # processes need not validate equally often
        network.eval().predict(torch.randn(1, 3, 112, 112), "sior")
    accelerator.wait_for_everyone()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    kind = str(accelerator.distributed_type)
    return kind, window.summarize()["losses"], weights, float(norm)


def _batches(rank):
    for number, plan in enumerate(PLANS[rank]):
        generator = torch.Generator().manual_seed(10 * rank + number)
        size = (len(plan), 3, 112, 112)
        pixels = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        yield {"pixel_values": pixels, "labels": make_batch(plan)[1]}


def test_fsdp2_trains_what_ddp_trains():
    (_, losses, weights, norm), other = run_processes(_train, False)
    for kind, *found in run_processes(_train, True):
        assert kind == "DistributedType.FSDP"
        assert found[0] == pytest.approx(losses, rel=1e-5)
        assert found[2] == pytest.approx(norm, rel=1e-5)
        assert found[1].keys() == weights.keys()
    averages = ("running_mean", "running_var")
    for name, value in weights.items():
        if not name.endswith(averages):  # of each process: not synchronised on processors
            # AdamW divides by the gradient's size: where that is rounding, which depends on the
            # processor, a weight takes the step of any other, in either direction.
            error = (found[1][name] - value).abs()
            is_equal = error <= 1e-4 + 1e-3 * value.abs()
            assert is_equal.float().mean() > 0.998 and error.max() < 4 * RATE, name
    assert other[3] == norm


def test_fsdp2_computes_in_bf16_with_float32_weights():
    precision = "efficiency.mixed_precision=bf16"
    (_, expected, _, _), _ = run_processes(_train, False, precision)
    for _, losses, weights, _ in run_processes(_train, True, precision):
        assert losses == pytest.approx(expected, rel=1e-4)
        assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}


def test_without_sharding_the_network_itself_is_the_whole_one(accelerator):
    model = accelerator.prepare(torch.nn.Linear(2, 2))
    assert whole_network(accelerator, model) is model
    assert sharding_plugins() == {}
    check_sharding(accelerator)


def test_the_first_fsdp_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="asks for FSDP 1; .*fsdp_version: 2"):
        sharding_plugins()


def _launched(kind, **values):
    return SimpleNamespace(distributed_type=kind, **{"mixed_precision": "no", **values})


def test_weights_left_empty_by_the_loading_of_fsdp_are_refused(monkeypatch):
    check_sharding(_launched(DistributedType.FSDP))
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    with pytest.raises(ValueError, match="fsdp_cpu_ram_efficient_loading: true"):
        check_sharding(_launched(DistributedType.FSDP))


@pytest.mark.parametrize(
    ("stage", "precision", "message"),
    [(3, "no", "zero_stage: 3 splits the weights"), (2, "bf16", "mixed_precision: bf16 turns")],
)
def test_what_deepspeed_would_do_to_this_network_is_refused(stage, precision, message):
    plugin = SimpleNamespace(zero_stage=stage)
    with pytest.raises(ValueError, match=message):
        check_sharding(
            _launched(DistributedType.DEEPSPEED, deepspeed_plugin=plugin, mixed_precision=precision)
        )


@pytest.mark.parametrize("stage", [1, 2])
def test_deepspeed_clips_gradients_as_the_recipe_says(stage, tiny_recipe):
    plugin = SimpleNamespace(zero_stage=stage, deepspeed_config={"gradient_clipping": 1.0})
    launched = _launched(DistributedType.DEEPSPEED, deepspeed_plugin=plugin)
    optimizer = dataclasses.replace(tiny_recipe.optimizer, max_grad_norm=0.25)
    check_sharding(launched)
    set_up_deepspeed(launched, dataclasses.replace(tiny_recipe, optimizer=optimizer))
    assert plugin.deepspeed_config["gradient_clipping"] == 0.25
    assert isinstance(plugin.deepspeed_config["train_micro_batch_size_per_gpu"], int)


def test_fp16_under_fsdp_is_refused():
    with pytest.raises(ValueError, match="mixed_precision: fp16 has not been tried"):
        check_sharding(_launched(DistributedType.FSDP, mixed_precision="fp16"))


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_sharding_that_accelerate_silently_leaves_out_is_refused(kind, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(ValueError, match=f"asks for {kind}, which needs GPUs"):
        check_sharding(_launched(DistributedType.MULTI_CPU))


def test_megatron_is_refused():
    with pytest.raises(ValueError, match="Megatron-LM"):
        check_sharding(_launched(DistributedType.MEGATRON_LM))


def test_a_plugin_of_fsdp_casts_nothing(monkeypatch):
    for name, value in FSDP2.items():
        monkeypatch.setenv(name, value)
    policy = sharding_plugins()["fsdp_plugin"].mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype, policy.output_dtype) == (None, None, None)
    assert sharding.FullyShardedDataParallelPlugin().transformer_cls_names_to_wrap == [
        "ViTRVSABlock"
    ]
