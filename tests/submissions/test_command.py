"""Claims about `mtp-hf submit`."""

import zipfile

import pytest

from mtp_hf.cli import main
from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES


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
