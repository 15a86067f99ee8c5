"""Claims about `training/run_eval.py`."""

import json

import pytest
from safetensors.torch import load_file, save_file

from mtp_hf.training.run_eval import main, parse_arguments
from tests.fakes_detection import (
    annotation_xml,
    oriented_object,
    write_dior,
    write_dota,
    write_text,
)
from tests.training.process_group import run_processes
from tests.training.tiny_finetune import WRITERS
from tests.training.tiny_finished import write_finished


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models of three tasks."""
    made = {}
    for task in ("scene_classification", "rotated_detection", "change_detection"):
        folder = tmp_path_factory.mktemp(task)
        WRITERS[task](folder / "data")
        made[task] = write_finished(folder / "run", task, folder / "data")
    return made


def message(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    return str(stopped.value)


@pytest.mark.parametrize(
    ("task", "picture", "heading"),
    [
        ("scene_classification", "confusion.png", "top-5"),
        ("rotated_detection", "curves.png", "AP50"),
        ("change_detection", "curves.png", "precision"),
    ],
)
def test_metrics_classes_and_pictures_are_written(models, tmp_path, capsys, task, picture, heading):
    main(["--model", str(models[task]), "--output", str(tmp_path / "eval")])
    text = (tmp_path / "eval" / "metrics.json").read_text()
    content = json.loads(text, parse_constant=pytest.fail)
    assert content["num_images"] > 0
    assert all(
        len(values) == len(content["class_names"]) for values in content["per_class"].values()
    )
    assert (tmp_path / "eval" / picture).is_file()
    assert (tmp_path / "eval" / "predictions.png").is_file()
    out = capsys.readouterr().out
    assert content["class_names"][0] in out
    assert heading in out


def test_another_split_has_other_images(models, tmp_path):
    counts = []
    for split in ("train", "validation"):
        folder = tmp_path / split
        main(
            [
                "--model",
                str(models["scene_classification"]),
                "--split",
                split,
                "--output",
                str(folder),
            ]
        )
        counts.append(json.loads((folder / "metrics.json").read_text())["num_images"])
    assert counts[0] != counts[1]


def test_difficult_objects_are_ignored_where_the_recipe_says_so(models, tmp_path):
    root = write_dior(tmp_path / "data")
    objects = oriented_object(0, "dam", difficult=1) + oriented_object(1, "ship")
    write_text(root / "Annotations/Oriented Bounding Boxes/00003.xml", annotation_xml(objects))
    counts = []
    for ignored in ("true", "false"):
        overrides = [f"data.root={root}", f"evaluation.ignore_difficult={ignored}"]
        model, folder = str(models["rotated_detection"]), tmp_path / ignored
        main(["--model", model, "--output", str(folder), *overrides])
        content = json.loads((folder / "metrics.json").read_text())
        counts.append(sum(content["per_class"]["num_gts"]))
    assert counts == [1, 2]


def _measure(model, folder):
    main(["--model", model, "--output", folder])


@pytest.mark.slow  # starting two processes takes most of a minute on a busy machine
@pytest.mark.parametrize("task", ["scene_classification", "rotated_detection"])
def test_two_processes_measure_as_one(models, tmp_path, task):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    _measure(str(models[task]), str(alone))
    run_processes(_measure, str(models[task]), str(shared), num_processes=2)
    one, two = (json.loads((each / "metrics.json").read_text()) for each in (alone, shared))
    assert one == two


def test_a_checkpoint_of_the_run_measures_as_its_model(models, tmp_path):
    model = models["scene_classification"]
    checkpoint = tmp_path / "step_0000001"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    (checkpoint / "recipe.yaml").write_bytes((model.parent / "recipe.yaml").read_bytes())
    found = []
    for each in (model, checkpoint):
        main(["--model", str(each), "--output", str(tmp_path / each.name / "eval")])
        found.append(json.loads((tmp_path / each.name / "eval" / "metrics.json").read_text()))
    assert found[0]["metrics"] == found[1]["metrics"]


def test_what_does_not_fit_is_refused_with_both_sides(models, tmp_path):
    scenes, boxes = models["scene_classification"], models["rotated_detection"]
    text = message("--model", scenes, "--recipe", boxes.parent / "recipe.yaml")
    assert "expects OrientedRCNNForOrientedObjectDetection" in text
    config = json.loads((scenes / "config.json").read_text())
    other = tmp_path / "other" / "model"
    other.mkdir(parents=True)
    (other.parent / "recipe.yaml").write_bytes((scenes.parent / "recipe.yaml").read_bytes())
    config["id2label"] = {**config["id2label"], "0": "Sea"}
    (other / "config.json").write_text(json.dumps(config))
    assert "class 0 of the model" in message("--model", other)
    config["id2label"] = {"0": "Sea", "1": "Land"}
    (other / "config.json").write_text(json.dumps(config))
    assert "has 2 classes (Sea, Land), the data 10" in message("--model", other)


def test_a_split_without_labels_is_refused_before_anything_is_predicted(tmp_path):
    data = {"builder": "dota", "config": "v1.0", "evaluate": "validation"}
    model = write_finished(
        tmp_path / "run", "rotated_detection", write_dota(tmp_path / "dota"), data=data
    )
    text = message("--model", model, "--split", "test", "--output", tmp_path / "eval")
    assert "split 'test': none of 1 images has an object" in text
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize(
    ("given", "overlap"), [([], 0.1), (["0.3"], 0.3), (["data.root=/d"], 0.1), (["--split=x"], 0.1)]
)
def test_an_overlap_may_follow_merge_tiles_and_a_value_of_the_recipe_too(given, overlap):
    args = parse_arguments(["--model", "m", "--merge_tiles", *given])
    assert args.merge_tiles == overlap
    assert args.overrides == [each for each in given if each.startswith("data.")]


def test_missing_weights_are_refused_by_name(models, tmp_path):
    scenes = models["scene_classification"]
    other = tmp_path / "model"
    other.mkdir()
    (tmp_path / "recipe.yaml").write_bytes((scenes.parent / "recipe.yaml").read_bytes())
    (other / "config.json").write_bytes((scenes / "config.json").read_bytes())
    weights = load_file(scenes / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if k != "classifier.bias"},
        other / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert "missing keys: classifier.bias" in message("--model", other)


def test_mistakes_of_the_user_end_with_a_message(models, tmp_path):
    scenes = models["scene_classification"]
    assert "no such file or folder" in message("--model", "/no/where/at/all")
    assert "holds no model" in message("--model", tmp_path)
    assert "is a file" in message("--model", scenes / "config.json")
    assert "nosuch" in message("--model", scenes, "--split", "nosuch")
    assert "expected rotated_detection" in message("--model", scenes, "--merge_tiles")
