"""Claims about what a finetuning run leaves."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

from mtp_hf.training.finetuning_results import (
    draw_results,
    results_text,
    write_best,
    write_model,
    write_results,
)
from mtp_hf.training.run_folder import CONTENTS, RunFolder
from mtp_hf.training.validation import PredictedImages
from tests.training.finetuned_folders import CLASS_NAMES, make_finetuned

FOUND = {
    "scene_classification": "confusion.png",
    "horizontal_detection": "curves.png",
    "rotated_detection": "curves.png",
    "semantic_segmentation": "curves.png",
    "change_detection": "curves.png",
}


def _kept():
    """One scene, measured."""
    return PredictedImages(
        images=[torch.full((3, 32, 32), 90, dtype=torch.uint8)],
        labels=[
            {
                "image_id": "a",
                "size": (32, 32),
                "orig_size": (64, 64),
                "reference": {"label": torch.tensor(1)},
            }
        ],
        predictions=[{"scores": torch.full((6,), 1 / 6)}],
    )


@pytest.fixture
def folder(tmp_path):
    """A run's folder with an empty log."""
    made = RunFolder(tmp_path / "run")
    made.create()
    made.log.touch()
    return made


@pytest.mark.parametrize("task", CLASS_NAMES)
def test_every_task_has_its_picture_of_the_classes(tmp_path, task):
    facts = make_finetuned(tmp_path, task)[2]
    (file,) = draw_results(facts, tmp_path, PredictedImages())
    assert file.name == FOUND[task]
    assert file.name in CONTENTS
    assert min(Image.open(file).size) > 200


def test_a_run_leaves_pictures_metrics_and_a_model_with_a_card(tmp_path, folder):
    recipe, network, facts = make_finetuned(tmp_path, "scene_classification")
    write_results(recipe, folder, network, facts=facts, kept=_kept())
    assert (folder.path / "predictions.png").is_file()
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["after"]["accuracy"] == 0.5
    assert metrics["per_class"]["f1"][-1] is None
    card = (folder.path / "model" / "README.md").read_text()
    assert "![Confusion](confusion.png)" in card
    assert (folder.path / "model" / "confusion.png").is_file()
    assert not (folder.path / "model" / "predictions.png").exists()  # it shows the data set
    assert 'mtp_hf.predict("model", image)' in card


def test_a_run_without_measured_images_draws_nothing(tmp_path, folder):
    recipe, network, facts = make_finetuned(tmp_path, "scene_classification")
    facts = dataclasses.replace(facts, metrics={})
    write_results(recipe, folder, network, facts=facts, kept=PredictedImages())
    assert not list(folder.path.glob("*.png"))
    assert "Not measured." in (folder.path / "model" / "README.md").read_text()


def test_the_best_model_and_what_it_reached_are_written(tmp_path, folder):
    recipe, network, facts = make_finetuned(tmp_path, "rotated_detection")
    write_best(recipe, folder, network, facts)
    assert folder.read_metrics()["best"] == {"step": 4, "ap50": 0.7}
    assert 'mtp_hf.predict("best", image)' in (folder.path / "best" / "README.md").read_text()


def test_a_metric_that_is_not_defined_is_written_as_null(tmp_path, folder):
    recipe, network, facts = make_finetuned(tmp_path, "rotated_detection")
    undefined = {**facts.metrics, "ap50": float("nan")}
    write_best(recipe, folder, network, dataclasses.replace(facts, metrics=undefined))
    assert folder.read_metrics()["best"] == {"step": 4, "ap50": None}
    assert (folder.path / "best" / "model.safetensors").is_file()


def test_a_model_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    recipe, network, facts = make_finetuned(tmp_path, "scene_classification")
    before = (tmp_path / "model" / "README.md").read_text()

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    changed = dataclasses.replace(facts, about="another")
    with pytest.raises(ValueError, match="No space left on device"):
        write_model(recipe, network, tmp_path / "model", changed)
    assert (tmp_path / "model" / "README.md").read_text() == before


def test_the_text_of_the_end_has_published_values_and_files(tmp_path, folder):
    _, _, facts = make_finetuned(tmp_path, "rotated_detection")
    text = results_text(dataclasses.replace(facts, published={"ap50": 74.54}), folder)
    assert "| mAP    | 70.00   | 74.54     |" in text
    assert f"wrote {folder.log}" in text
