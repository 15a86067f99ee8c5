"""Claims about `mtp-hf submit`."""

import zipfile

import pytest

from mtp_hf.cli import main
from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES
from mtp_hf.submissions.writing import write_submission


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "task1.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in DOTA_V1_CLASSES:
            file.writestr(f"Task1_{name}.txt", "")
    return path


def test_a_good_file_is_told_with_what_is_in_it(archive, capsys):
    main(["submit", "--check", str(archive), "--format", "dota_task1"])
    assert "fine for format dota_task1: 15 classes" in capsys.readouterr().out


def test_a_bad_file_ends_with_a_status(archive):
    with pytest.raises(SystemExit, match="Task2_plane.txt: missing"):
        main(["submit", "--check", str(archive), "--format", "dota_task2"])


def test_a_folder_of_images_that_is_not_there_is_named(archive):
    with pytest.raises(SystemExit, match="--images=nowhere: no such folder"):
        main(["submit", "--check", str(archive), "--format", "coco", "--images", "nowhere"])


def test_results_are_compared_with_the_numbers_that_are_written_beside_them(tmp_path, capsys):
    found = {"label": 0, "score": 0.5, "bbox": [1, 2, 3, 4]}
    record = {"image_id": "12", "file_name": "12.png", "width": 9, "height": 9, "objects": [found]}
    (file,) = write_submission("coco", [record], ["ship"], tmp_path)
    given = ["submit", "--check", str(file), "--format", "coco", "--annotations"]
    main([*given, str(tmp_path / "coco_images.json")])
    assert "fine for format coco: 1 objects" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"nowhere\.json: no such file"):
        main([*given, "nowhere.json"])
