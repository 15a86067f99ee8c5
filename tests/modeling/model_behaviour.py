"""What every task model must do as a model of transformers: a suite to inherit from.

A subclass named `Test...` says which model, and how a tiny configuration and batch of it look.
"""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig, PreTrainedModel


class ModelBehaviour:
    """Claims that do not depend on the task."""

    model_class: type[PreTrainedModel]
    auto_class: type
    # Parameters that a batch without special care does not reach.
    without_gradient: frozenset[str] = frozenset()
    # Of the input and the four blocks of a tiny backbone.
    num_hidden_states = 5

    def config(self, **overrides) -> PreTrainedConfig:
        """A tiny configuration."""
        raise NotImplementedError

    def inputs(self, batch: int = 2) -> dict:
        """Arguments of `forward`, without labels."""
        raise NotImplementedError

    def labels(self, batch: int = 2):
        """Labels of as many images."""
        raise NotImplementedError

    def outputs(self, output) -> list[torch.Tensor]:
        """Tensors of an output whose first axis is the batch."""
        return [output.logits]

    def model(self, **overrides) -> PreTrainedModel:
        torch.manual_seed(1)
        model = self.model_class(self.config(**overrides)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        return model

    @torch.no_grad()
    def run(self, model, inputs, **options):
        return self.outputs(model(**inputs, **options))

    def assert_close(self, found, expected, **tolerance):
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, **tolerance)

    def test_configuration_survives_saving(self, tmp_path):
        config = self.config()
        config.save_pretrained(tmp_path)
        again = type(config).from_pretrained(tmp_path)
        assert again.to_dict() == config.to_dict()

    def test_misspelt_field_is_refused_by_name(self):
        with pytest.raises(TypeError, match="hiden_size"):
            self.config(hiden_size=3)

    def test_saved_model_computes_the_same(self, tmp_path):
        model, inputs = self.model(), self.inputs()
        model.save_pretrained(tmp_path)
        expected = self.run(model, inputs)
        for cls in (self.model_class, self.auto_class):
            again, report = cls.from_pretrained(tmp_path, output_loading_info=True)
            assert type(again) is self.model_class
            assert not report["missing_keys"] and not report["unexpected_keys"]
            for name, tensor in model.state_dict().items():
                assert torch.equal(again.state_dict()[name], tensor), name
            self.assert_close(self.run(again.eval(), inputs), expected, atol=1e-5, rtol=1e-4)

    def test_missing_weights_start_like_new_ones(self, tmp_path):
        model = self.model_class(self.config())
        model.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        weights = load_file(file)
        kept = next(iter(sorted(weights)))
        save_file({kept: weights[kept]}, file, metadata={"format": "pt"})
        again, report = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert len(report["missing_keys"]) == len(weights) - 1
        for name, tensor in again.state_dict().items():
            expected = weights[name]
            assert torch.isfinite(tensor).all(), name
            if expected.numel() >= 64 and expected.is_floating_point():
                spread = float(expected.std())
                assert float(tensor.std()) == pytest.approx(spread, rel=0.5, abs=1e-6), name
            assert tensor.abs().max() <= max(2 * expected.abs().max(), 1), name

    def test_gradients_reach_every_parameter(self):
        model = self.model().train()
        loss = model(**self.inputs(), labels=self.labels()).loss
        loss.backward()
        without = {n for n, p in model.named_parameters() if p.grad is None}
        assert without == self.without_gradient and torch.isfinite(loss)

    def test_activation_checkpointing_keeps_the_gradients(self):
        model, inputs, labels = self.model().train(), self.inputs(), self.labels()
        gradients = []
        for enabled in (False, True):
            if enabled:
                model.activation_checkpointing_enable()
            model.zero_grad()
            torch.manual_seed(0)
            model(**inputs, labels=labels).loss.backward()
            gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        self.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_stays_near_float32(self, dtype):
        model, inputs = self.model(), self.inputs()
        expected = self.run(model, inputs)
        half = {k: v.to(dtype) for k, v in inputs.items()}
        for one, other in zip(self.run(model.to(dtype), half), expected, strict=True):
            assert (one.float() - other).abs().mean() < 0.05 * other.abs().mean() + 1e-3

    def test_eager_and_sdpa_are_equal(self):
        model, inputs = self.model(), self.inputs()
        found = []
        for implementation in ("eager", "sdpa"):
            model.set_attn_implementation(implementation)
            found.append(self.run(model, inputs))
        self.assert_close(*found, atol=1e-4, rtol=1e-4)

    def test_image_does_not_see_its_batch(self):
        model, inputs = self.model(), self.inputs()
        alone = self.run(model, {k: v[:1] for k, v in inputs.items()})
        both = [x[:1] for x in self.run(model, inputs)]
        self.assert_close(alone, both, atol=1e-4, rtol=1e-4)

    def test_evaluation_is_deterministic(self):
        model, inputs = self.model(), self.inputs()
        self.assert_close(self.run(model, inputs), self.run(model, inputs), atol=0, rtol=0)

    def test_loads_with_a_device_map(self, tmp_path):
        model, inputs = self.model(), self.inputs()
        model.save_pretrained(tmp_path)
        again = self.model_class.from_pretrained(tmp_path, device_map="auto").eval()
        assert {p.device.type for p in again.parameters()} == {"cpu"} or torch.cuda.is_available()
        found = [x.cpu() for x in self.run(again, inputs)]
        self.assert_close(found, self.run(model, inputs), atol=1e-4, rtol=1e-3)

    def test_hidden_states_come_on_request(self):
        model, inputs = self.model(), self.inputs()
        assert model(**inputs).hidden_states is None
        states = model(**inputs, output_hidden_states=True).hidden_states
        assert len(states) == self.num_hidden_states and all(len(x) == 2 for x in states)

    def test_another_number_of_labels_starts_only_the_classifier_anew(self, tmp_path):
        model = self.model()
        model.save_pretrained(tmp_path)
        names = {i: f"class{i}" for i in range(5)}
        again, report = self.model_class.from_pretrained(
            tmp_path,
            id2label=names,
            label2id={v: k for k, v in names.items()},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        changed = {key for key, *_ in report["mismatched_keys"]}
        assert changed and all("classifier." in name for name in changed)
        assert again.config.num_labels == 5
        for name, tensor in model.state_dict().items():
            assert name in changed or torch.equal(again.state_dict()[name], tensor), name

    def test_tuple_on_request(self):
        found = self.model()(**self.inputs(), labels=self.labels(), return_dict=False)
        assert isinstance(found, tuple) and found[0].ndim == 0
