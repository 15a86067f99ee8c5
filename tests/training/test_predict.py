"""Claims about `training/predict.py`."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mtp_hf.cli import main as run_command
from mtp_hf.dataset_scripts.class_names import DATASET_CLASSES
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.datasets_command.coco_export import write_coco
from mtp_hf.training.predict import main
from tests.training.tiny_finetune import WRITERS
from tests.training.tiny_finished import write_finished


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models of three tasks."""
    made = {}
    for task in ("rotated_detection", "semantic_segmentation", "change_detection"):
        folder = tmp_path_factory.mktemp(task)
        WRITERS[task](folder / "data")
        made[task] = write_finished(
            folder / "run", task, folder / "data", evaluation={"batch_size": 3}
        )
    return made


@pytest.fixture
def photographs(tmp_path):
    """Two images of different sizes."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("one", (200, 260)), ("two", (150, 130))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def message(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    return str(stopped.value)


def test_every_image_has_a_line_and_a_picture(models, photographs, tmp_path):
    out = tmp_path / "out"
    model = str(models["rotated_detection"])
    main(["--model", model, "--images", str(photographs), "--output", str(out), "--draw", "1"])
    assert [(each["image_id"], each["height"], each["width"]) for each in lines(out)] == [
        ("one", 200, 260),
        ("two", 150, 130),
    ]
    assert [each.name for each in (out / "pictures").iterdir()] == ["one.png"]


def test_windows_of_an_image_are_merged_in_its_pixels(models, photographs, tmp_path):
    out = tmp_path / "out"
    common = ["--model", str(models["rotated_detection"]), "--images", str(photographs)]
    main([*common, "--output", str(out), "--tile_size", "112", "--overlap", "16"])
    centers = np.array([x["rotated_box"][:2] for x in lines(out)[0]["objects"]])
    assert len(centers)
    assert (centers.max(axis=0) > 112).any()


def test_the_same_command_goes_on_and_another_one_is_refused(models, photographs, tmp_path, capsys):
    out = tmp_path / "out"
    common = ["--model", str(models["semantic_segmentation"]), "--output", str(out)]
    main([*common, "--images", str(photographs)])
    whole = (out / "results.jsonl").read_text()
    (out / "results.jsonl").write_text(whole[:-20])  # killed while the last line was written
    main([*common, "--images", str(photographs)])
    assert (out / "results.jsonl").read_text() == whole
    assert "1 of 2 images have results already" in capsys.readouterr().out
    text = message(*common, "--images", photographs.parent / "photographs", "seed=5")
    assert "holds results of another recipe" in text


def test_a_damaged_image_is_named_or_skipped_and_counted(models, photographs, tmp_path, capsys):
    content = (photographs / "one.png").read_bytes()
    (photographs / "cut.png").write_bytes(content[:5000])
    common = ["--model", str(models["semantic_segmentation"]), "--images", str(photographs)]
    assert "image 'cut' (cut.png)" in message(*common, "--output", tmp_path / "a")
    main([*common, "--output", str(tmp_path / "b"), "--on_error", "skip"])
    assert "2 images predicted, 1 skipped" in capsys.readouterr().out


def test_maps_are_written_for_the_server(models, photographs, tmp_path):
    out = tmp_path / "out"
    model = str(models["semantic_segmentation"])
    main(
        ["--model", model, "--images", str(photographs), "--output", str(out), "--format", "loveda"]
    )
    values = np.asarray(Image.open(out / "maps" / "one.png"))
    assert values.shape == (200, 260)
    assert values.max() < 7
    assert (out / "loveda.zip").is_file()


def test_a_format_of_other_classes_is_refused_before_any_image_is_predicted(
    models, photographs, tmp_path
):
    given = ["--model", str(models["semantic_segmentation"]), "--images", str(photographs)]
    text = message(*given, "--output", tmp_path / "out", "--format", "fair1m")
    assert "format fair1m: the model has the classes background" in text
    assert not (tmp_path / "out").exists()


def test_a_format_of_another_task_is_refused_before_any_image_is_predicted(
    models, photographs, tmp_path
):
    for task in ("rotated_detection", "semantic_segmentation"):
        given = ["--model", models[task], "--images", photographs, "--output", tmp_path / "out"]
        text = message(*given, "--format", "coco")
        assert f"format coco: the model does {task}; expected horizontal_detection" in text
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def upright(tmp_path_factory):
    """A model of horizontal boxes, which finds some in everything."""
    folder = tmp_path_factory.mktemp("horizontal_detection")
    WRITERS["horizontal_detection"](folder / "data")
    return write_finished(folder / "run", "horizontal_detection", folder / "data")


def test_results_of_coco_are_scored_against_the_export_of_the_split(upright, tmp_path):
    out, rows = tmp_path / "out", []
    main(["--model", str(upright), "--split", "test", "--output", str(out), "--format", "coco"])
    root = upright.parent.parent / "data"
    for row in load_dataset("dior", "hbb", data_dir=root, split="test", quiet=True):
        rows.append({**row, "image": f"{row['image_id']}.jpg"})
    write_coco(rows, DATASET_CLASSES["dior"], tmp_path / "set.json")
    truth = COCO(str(tmp_path / "set.json"))
    results = truth.loadRes(str(out / "coco_results.json"))
    assert {truth.imgs[i]["file_name"] for i in results.getImgIds()} == {
        each["file_name"] for each in lines(out)
    }
    path = str(out / "coco_results.json")
    numbers = str(out / "coco_images.json")
    run_command(["submit", "--check", path, "--format", "coco", "--annotations", numbers])


def test_results_of_coco_have_the_ids_of_an_annotation_file(upright, photographs, tmp_path):
    names = json.loads((upright / "config.json").read_text())["id2label"].values()
    content = {
        "images": [{"id": 7, "file_name": "two.png"}, {"id": 3, "file_name": "one.png"}],
        "categories": [{"id": 50 + i, "name": name} for i, name in enumerate(names)],
        "annotations": [],
    }
    path, out = tmp_path / "set.json", tmp_path / "out"
    path.write_text(json.dumps(content))
    given = ["--model", upright, "--images", photographs, "--output", out, "--format", "coco"]
    main([*map(str, given), "--annotations", str(path)])
    results = json.loads((out / "coco_results.json").read_text())
    assert {each["image_id"] for each in results} == {3, 7}
    assert min(each["category_id"] for each in results) >= 50
    content["images"].pop()
    path.write_text(json.dumps(content))
    assert "no image one.png among 1" in message(*given, "--annotations", path)


def test_annotations_go_with_results_of_coco_alone(upright, photographs, tmp_path):
    given = ["--model", upright, "--images", photographs, "--output", tmp_path / "out"]
    text = message(*given, "--annotations", tmp_path / "set.json")
    assert "--annotations belongs to --format coco" in text


def test_files_that_are_no_images_are_told_and_folders_below_are_read(
    models, photographs, tmp_path, capsys
):
    (photographs / "sub").mkdir()
    (photographs / "one.png").rename(photographs / "sub" / "one.png")
    (photographs / "notes.txt").touch()
    out = photographs / "out"
    given = ["--model", models["semantic_segmentation"], "--images", photographs, "--output", out]
    for _ in range(2):  # the second time with its own results among the images
        main([*map(str, given)])
        text = capsys.readouterr().out
        assert "left out as no images: 1 files (.txt)" in text
        assert "2 images predicted" in text
    assert [each["image_id"] for each in lines(out)] == ["sub/one", "two"]


def test_pairs_come_from_two_folders(models, photographs, tmp_path):
    pairs = tmp_path / "pairs"
    for name in ("A", "B"):
        (pairs / name).mkdir(parents=True)
        (pairs / name / "x.png").write_bytes((photographs / "one.png").read_bytes())
    model = str(models["change_detection"])
    main(["--model", model, "--images", str(pairs), "--output", str(tmp_path / "out")])
    assert [each["image_id"] for each in lines(tmp_path / "out")] == ["x"]
    (pairs / "B" / "x.png").rename(pairs / "B" / "y.png")
    text = message("--model", model, "--images", pairs, "--output", tmp_path / "other")
    assert "'x' is in one of A and B only" in text


def test_a_split_of_the_data_set_is_predicted(models, tmp_path):
    out = tmp_path / "out"
    model = str(models["rotated_detection"])
    main(["--model", model, "--split", "test", "--output", str(out)])
    assert all(each["file_name"].endswith(".jpg") for each in lines(out))
    assert len(lines(out)) >= 1


def test_mistakes_of_the_user_end_with_a_message(models, photographs, tmp_path):
    boxes, maps = models["rotated_detection"], models["semantic_segmentation"]
    out = ["--output", tmp_path / "out"]
    assert "say what to predict" in message("--model", boxes, *out)
    assert "is not a folder" in message("--model", boxes, "--images", "nowhere", *out)
    tiles = ["--tile_size", "100", "--overlap", "100"]
    text = message("--model", boxes, "--images", photographs, *out, *tiles)
    assert "expected 0 <= overlap < tile_size" in text
    text = message("--model", maps, "--images", photographs, *out, "--tile_size", "100")
    assert "--tile_size is for detection" in text
