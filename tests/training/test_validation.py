"""Claims about validation."""

import dataclasses
import functools

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mtp_hf.metrics.pretraining import PretrainingEvaluator
from mtp_hf.training.loaders import class_names, evaluation_loader, load_sources
from mtp_hf.training.pretraining_run import predict_images
from mtp_hf.training.validation import predict_batch, share_statistics, validate
from tests.training.process_group import run_processes

_validate = functools.partial(validate, predict=predict_images)


class PerfectNetwork(nn.Module):
    """Predicts the labels it was given beforehand, by image."""

    def __init__(self, loader):
        super().__init__()
        self.answers = {}
        for batch in loader:
            for label in batch["labels"]:
                self.answers[label["dataset"]] = self.answers.get(label["dataset"], []) + [label]
        self.calls = []

    def predict(self, pixel_values, datasets, sizes):
        self.calls.append((pixel_values.dtype, self.training, torch.is_grad_enabled()))
        start = sum(len(call) for call in getattr(self, "seen", {}).get(datasets[0], []))
        self.seen = getattr(self, "seen", {})
        self.seen.setdefault(datasets[0], []).append(datasets)
        labels = self.answers[datasets[0]][start : start + len(datasets)]
        return [_answer(label) for label in labels]


def _answer(label):
    height, width = label["size"]
    return {
        "ss": {"semantic_map": label["semantic_labels"][:height, :width]},
        "is": {
            "scores": torch.ones(len(label["boxes"])),
            "labels": label["class_labels"],
            "boxes": label["boxes"],
            "masks": label["instance_masks"][:, :height, :width],
        },
        "rd": {
            "scores": torch.ones(len(label["rotated_boxes"])),
            "labels": label["rotated_class_labels"],
            "rotated_boxes": label["rotated_boxes"],
        },
    }


@pytest.fixture
def loader(samrs_recipe):
    sources = load_sources(samrs_recipe, "validation")
    return evaluation_loader(samrs_recipe, sources, canvas=112, rank=0, world_size=1)


@pytest.fixture
def evaluator(samrs_recipe):
    tasks = {name: source.tasks for name, source in samrs_recipe.data.sources.items()}
    return PretrainingEvaluator(class_names(samrs_recipe), tasks)


def test_perfect_predictions_score_one(accelerator, loader, evaluator):
    metrics, _ = _validate(accelerator, PerfectNetwork(loader), loader, evaluator)
    pooled = metrics["pooled"]
    assert pooled["ss"]["miou"] == 1.0
    for name in ("box_ap50", "mask_ap50", "box_ap", "mask_ap"):
        assert pooled["is"][name] == pytest.approx(1.0)
    assert pooled["rd"]["ap50"] == pytest.approx(1.0)


def test_the_network_predicts_in_evaluation_mode_without_gradients(accelerator, loader, evaluator):
    network = PerfectNetwork(loader).train()
    _validate(accelerator, network, loader, evaluator)
    assert set(network.calls) == {(torch.float32, False, False)}


def test_the_asked_number_of_images_of_each_set_is_kept_for_drawing(accelerator, loader, evaluator):
    _, kept = _validate(accelerator, PerfectNetwork(loader), loader, evaluator, num_kept=1)
    assert [label["dataset"] for label in kept.labels] == ["sior", "sota_rbb", "fast"]
    assert [image.dtype for image in kept.images] == [torch.uint8] * 3
    assert all(set(prediction) == {"ss", "is", "rd"} for prediction in kept.predictions)


def test_nothing_is_kept_unasked(accelerator, loader, evaluator):
    _, kept = _validate(accelerator, PerfectNetwork(loader), loader, evaluator)
    assert kept.images == []


def test_predictions_are_made_under_the_recipe_s_precision(accelerator, loader, monkeypatch):
    seen = []
    monkeypatch.setattr(accelerator, "autocast", lambda: torch.autocast("cpu", torch.bfloat16))
    network = PerfectNetwork(loader)
    predict = network.predict
    network.predict = lambda *a, **k: (
        seen.append(torch.is_autocast_enabled("cpu")),
        predict(*a, **k),
    )[1]
    predict_batch(accelerator, network, next(iter(loader)), predict_images)
    assert seen == [True]


def test_a_source_without_a_task_is_scored_on_the_others(accelerator, samrs_recipe, loader):
    sources = dict(samrs_recipe.data.sources)
    tasks = {name: source.tasks for name, source in sources.items()} | {"fast": ("ss",)}
    evaluator = PretrainingEvaluator(class_names(samrs_recipe), tasks)
    metrics, _ = _validate(accelerator, PerfectNetwork(loader), loader, evaluator)
    assert set(metrics["fast"]) == {"ss"}
    assert dataclasses.is_dataclass(sources["fast"])


def test_of_scenes_one_of_each_class_is_kept_with_both_pictures_of_pairs(accelerator):
    def batch(number, scene):
        label = {"dataset": "x", "image_id": str(number), "size": (2, 2), "orig_size": (2, 2)}
        pixels = torch.full((1, 3, 2, 2), number, dtype=torch.uint8)
        reference = {"image_id": str(number), "label": torch.tensor(scene)}
        labels = [{**label, "reference": reference}]
        return {"pixel_values": pixels, "pixel_values_post": pixels + 100, "labels": labels}

    scenes = [0, 0, 1, 1, 2, 3]
    _, kept = validate(
        accelerator,
        nn.Identity(),
        [batch(number, scene) for number, scene in enumerate(scenes)],
        NoScores(),
        predict=lambda network, inputs: [{"scores": torch.zeros(4)}],
        num_kept=3,
    )
    assert [int(image.max()) for image in kept.images] == [0, 2, 4]
    assert [int(image.max()) for image in kept.images_post] == [100, 102, 104]
    assert len(kept.labels) == len(kept.predictions) == 3


class NoScores:
    """An evaluator that scores nothing."""

    def update(self, dataset, predictions, references):
        return None

    def state(self):
        return None

    def merge(self, states):
        return None

    def compute(self):
        return {}


def _shared_statistics():
    """Statistics of this process after two norms were filled with its number."""
    accelerator = Accelerator()
    network = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(3, track_running_stats=False))
    for value in network[0].buffers():
        value.fill_(accelerator.process_index + 5)
    share_statistics(accelerator, network)
    return {name: value.tolist() for name, value in network.named_buffers()}


def test_every_process_measures_with_the_statistics_that_are_saved():
    first, second = run_processes(_shared_statistics)
    assert first["0.running_mean"] == [5.0, 5.0]
    assert first["0.num_batches_tracked"] == 5
    assert first == second
