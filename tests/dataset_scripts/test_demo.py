"""The generated sets: files of the three layouts, the same bytes everywhere, one cached copy."""

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts import demo as demo_module
from mtp_hf.dataset_scripts._annotations_xml import read_oriented_xml
from mtp_hf.dataset_scripts._readers import read_polygon_text
from mtp_hf.dataset_scripts._safe_pickle import read_pickle
from mtp_hf.dataset_scripts.demo import (
    DEMO_SETS,
    demo_root,
    draw_image,
    example_picture,
    make_demo,
)
from mtp_hf.dataset_scripts.loading import load_dataset

TINY = {"num_train": 2, "num_validation": 1, "image_size": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo"), 4, 2, 64, seed=1, empty_every=3)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_files_stand_where_the_authors_keep_them(root):
    for path in (
        "dior/JPEGImages-trainval/00001.jpg",
        "dior/hbox_segs_trainvaltest_init/gray/00001.png",
        "dior/hbox_segs_trainvaltest_init/ins/00001.pkl",
        "dior/Annotations/Oriented Bounding Boxes/00001.xml",
        "dior/train.txt",
        "dotav2_1024_rbb/trainval/images/D0001_0000.png",
        "dotav2_1024_rbb/trainval/rbbtxts/D0001_0000.txt",
        "fair1m_1024/trainval/rhbox_segs_init/ins/train_1_0000.pkl",
        "fair1m_1024/trainval/rhbox_segs_init/gray/valid_5_0000.png",
        "fair1m_1024/trainval/valid.txt",
    ):
        assert (root / path).is_file(), path


def test_every_third_image_has_no_annotation_file(root):
    for folder, stems in (("dior", "{:05d}"), ("dotav2_1024_rbb", "D{:04d}_0000")):
        for index in range(1, 7):
            files = [p for p in (root / folder).rglob(f"{stems.format(index)}.*")]
            assert len(files) == (1 if index % 3 == 0 else 4), files


def test_pickles_have_the_published_keys_and_types(root):
    (entry, *_) = read_pickle(root / "dior/hbox_segs_trainvaltest_init/ins/00001.pkl")
    assert list(entry) == ["mask", "bbox", "category", "label", "size"]
    assert entry["bbox"].dtype == np.float32 and entry["bbox"].shape == (4,)
    assert type(entry["label"]) is int and isinstance(entry["size"], np.int64)
    masks = root / "fair1m_1024/trainval/rhbox_segs_init"
    (entry, *_) = read_pickle(masks / "ins/train_1_0000.pkl")
    assert list(entry) == ["mask", "rbox", "rhbox", "category", "label", "size"]
    assert entry["rbox"].shape == (4, 2) and entry["rhbox"].shape == (4,)
    assert entry["rbox"].dtype == entry["rhbox"].dtype == np.float64


def test_boxes_of_text_and_pickle_agree(root):
    folder = root / "dotav2_1024_rbb/trainval"
    for path in sorted((folder / "rbbtxts").iterdir()):
        records = read_polygon_text(path)
        entries = read_pickle(folder / f"rhbox_segs_init/ins/{path.stem}.pkl")
        for record, entry in zip(records, entries, strict=True):
            np.testing.assert_allclose(record.polygon, entry["rbox"].ravel(), atol=0.006)
            assert (record.name, record.label) == (entry["category"], entry["label"])


def test_boxes_of_xml_enclose_the_prompts(root):
    path = root / "dior/Annotations/Oriented Bounding Boxes/00001.xml"
    entries = read_pickle(root / "dior/hbox_segs_trainvaltest_init/ins/00001.pkl")
    for record, entry in zip(read_oriented_xml(path), entries, strict=True):
        points = np.reshape(record.polygon, (4, 2))
        hull = np.concatenate([points.min(axis=0), points.max(axis=0)])
        np.testing.assert_allclose(hull, entry["bbox"], atol=0.51)


def test_class_names_are_those_of_each_set():
    for demo_set in DEMO_SETS.values():
        assert set(demo_set.kinds.values()) <= set(demo_set.class_names)
        assert 3 <= len(set(demo_set.kinds.values())) <= 5


def test_pictures_are_textured_and_not_black(root):
    for path in root.rglob("images/*.png"):
        pixels = np.asarray(Image.open(path), np.float32)
        assert 40 < pixels.mean() < 215 and pixels.std() > 8


def test_equal_seeds_give_equal_bytes_in_another_process(tmp_path):
    make_demo(tmp_path / "a", **TINY, seed=5)
    code = f"from mtp_hf.dataset_scripts.demo import make_demo; make_demo({str(tmp_path / 'b')!r}, "
    options = ", ".join(f"{k}={v}" for k, v in (TINY | {"seed": 5}).items())
    env = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", f"{code}{options})"], check=True, env=env)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_other_seeds_give_other_pictures(tmp_path):
    pictures = [
        draw_image([seed, 0, 1], 64, {"ship"}, scene_number=4)[0].tobytes() for seed in (0, 1)
    ]
    assert pictures[0] != pictures[1]


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path):
    few, many = make_demo(tmp_path / "a", 1, 1, 64), make_demo(tmp_path / "b", 3, 1, 64)
    image = "dior/JPEGImages-trainval/00001.jpg"
    assert (few / image).read_bytes() == (many / image).read_bytes()


@pytest.mark.parametrize("changes", [{"num_train": 0}, {"num_validation": 0}, {"image_size": 16}])
def test_too_small_a_set_is_an_error(tmp_path, changes):
    with pytest.raises(ValueError, match="expected at least one image a split and 32 pixels"):
        make_demo(tmp_path, **(TINY | changes))


# The cached copy


def test_the_cached_copy_is_under_hf_home_and_can_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = demo_root(**TINY)
    assert folder.parent == tmp_path / "hf/mtp_hf"
    assert folder.name.startswith("demo-")
    rows = load_dataset(
        "samrs", "sior", data_dir=folder, split="train", cache_dir=tmp_path / "cache"
    )
    assert rows.num_rows == 2
    assert json.loads((folder / "demo.json").read_text())["num_train"] == 2


def test_without_hf_home_the_copy_is_in_the_user_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo_root(**TINY).parent == tmp_path / "huggingface/mtp_hf"


def test_the_copy_is_made_once_and_leaves_nothing_behind(tmp_path, monkeypatch):
    folder = demo_root(**TINY, cache_dir=tmp_path)

    def fail(*args, **kwargs):
        raise AssertionError("made again")

    monkeypatch.setattr(demo_module, "make_demo", fail)
    assert demo_root(**TINY, cache_dir=tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]


def test_other_options_or_generators_have_another_copy(tmp_path, monkeypatch):
    folders = {demo_root(**TINY, cache_dir=tmp_path), demo_root(**TINY, seed=1, cache_dir=tmp_path)}
    monkeypatch.setattr(demo_module, "GENERATOR_VERSION", 99)
    folders.add(demo_root(**TINY, cache_dir=tmp_path))
    assert len(folders) == 3


def test_a_failed_run_leaves_no_half_copy(tmp_path, monkeypatch):
    def fail(root, **options):
        (root / "dior").mkdir(parents=True)
        raise OSError("disk full")

    monkeypatch.setattr(demo_module, "make_demo", fail)
    with pytest.raises(OSError, match="disk full"):
        demo_root(**TINY, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_once_end_with_one_copy(tmp_path):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        jobs = [pool.apply_async(demo_root, (2, 1, 64, 0, tmp_path)) for _ in range(2)]
        folders = {job.get(timeout=120) for job in jobs}
    assert list(tmp_path.iterdir()) == list(folders)


def test_the_example_picture_is_always_the_same_and_no_plain_ground():
    first, second = example_picture(), example_picture()
    assert first.size == (256, 256)
    assert first.tobytes() == second.tobytes()
    assert np.asarray(first).std() > 10
