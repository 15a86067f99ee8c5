"""Claims about the check of files for test servers."""

import pytest

from mtp_hf.dataset_scripts.class_names import DOTA_V1_CLASSES, FAST_CLASSES, LOVEDA_CLASSES
from mtp_hf.submissions.checking import CHECKS, MAX_SHOWN, check_submission
from mtp_hf.submissions.writing import write_submission
from tests.submissions.made_files import dota, records, refused, zipped


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("dota", DOTA_V1_CLASSES),
        ("fair1m", FAST_CLASSES),
        ("loveda", LOVEDA_CLASSES),
        ("coco", ["ship"]),
    ],
)
def test_what_is_written_here_passes(tmp_path, images, kind, classes):
    files = write_submission(kind, records(kind, tmp_path), classes, tmp_path)
    checks = [name for name in CHECKS if name.startswith(kind)]
    assert len(checks) == len(files)
    for file, check in zip(files, checks, strict=True):
        assert f"fine for format {check}" in check_submission(file, check, images)


def test_objects_are_counted(tmp_path, images):
    (task1, _) = write_submission("dota", records("dota", tmp_path), DOTA_V1_CLASSES, tmp_path)
    assert check_submission(task1, "dota_task1").endswith("15 classes, 1 objects")


def test_only_so_many_problems_are_shown(tmp_path):
    path = zipped(tmp_path / "a.zip", dota(**{"Task1_ship.txt": "wrong\n" * 50}))
    text = refused(path, "dota_task1")
    assert "50 problems" in text
    assert text.count("expected: image score") == MAX_SHOWN
    assert text.endswith("... and 30 more")


def test_a_cut_archive_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", dota())
    path.write_bytes(path.read_bytes()[:100])
    assert "no whole zip archive" in refused(path, "dota_task1")
    assert "no such file" in refused(tmp_path / "b.zip", "dota_task1")


def test_images_may_lie_in_folders_below(tmp_path, images):
    for name, scene in {"1": "Rural", "2": "Urban"}.items():
        (images / scene / "images_png").mkdir(parents=True)
        (images / f"{name}.png").rename(images / scene / "images_png" / f"{name}.png")
    (file,) = write_submission("loveda", records("loveda", tmp_path), LOVEDA_CLASSES, tmp_path)
    assert "2 maps" in check_submission(file, "loveda", images)


def test_annotations_are_of_coco_alone(tmp_path):
    path = zipped(tmp_path / "a.zip", dota())
    with pytest.raises(ValueError, match="format dota_task1 has no annotations; expected images"):
        check_submission(path, "dota_task1", annotations=path)
