"""The builder: features, splits, options, caching, streaming, Parquet, several processes."""

import io
import json
import logging
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import disable_progress_bars, enable_progress_bars
from PIL import Image
from pycocotools import mask as coco

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.samrs import (
    SAMRS_CLASSES,
    SAMRS_TASKS,
    Samrs,
    samrs_features,
)
from tests.fakes import (
    SAMRS_FOLDERS,
    box_path,
    image_path,
    mask_folder,
    pickle_path,
    write_annotations,
    write_image,
    write_samrs,
    write_samrs_by_hand,
)

DEMO_CONFIGS = ["fast", "sior", "sota_rbb"]


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    return write_samrs(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def builder(config: str, root: Path, cache: Path, **options) -> Samrs:
    return Samrs(config_name=config, data_dir=str(root), cache_dir=str(cache), **options)


def load_samrs(config: str, root: Path, split: str, cache: Path, **options) -> datasets.Dataset:
    return load_dataset(
        "samrs", config, data_dir=root, split=split, cache_dir=cache, quiet=True, **options
    )


def check_rows(rows: datasets.Dataset, num_classes: int) -> None:
    """What holds for every row of every set."""
    assert rows["image_id"] == sorted(set(rows["image_id"]))
    for row in rows:
        shape = (row["height"], row["width"])
        assert row["image"].size == row["semantic_mask"].size == shape[::-1]
        gray = np.asarray(row["semantic_mask"])
        assert set(np.unique(gray)) <= set(range(num_classes)) | {255}
        objects = row["objects"]
        assert len(set(map(len, objects.values()))) == 1
        for rle, box, area in zip(
            objects["segmentation"], objects["bbox"], objects["area"], strict=True
        ):
            assert tuple(rle["size"]) == shape
            assert coco.toBbox(rle).tolist() == box
            assert coco.area(rle) == area
        if row["rotated_objects"] is not None:
            assert len(set(map(len, row["rotated_objects"].values()))) == 1


# Features


@pytest.mark.parametrize("config", sorted(SAMRS_TASKS))
def test_every_config_has_the_common_columns_and_its_class_names(config):
    features = Samrs(config_name=config).info.features
    assert features == samrs_features(SAMRS_CLASSES[config])
    assert list(features) == [
        "image_id",
        "image",
        "width",
        "height",
        "semantic_mask",
        "objects",
        "rotated_objects",
    ]
    assert features["objects"]["category"].feature.names == SAMRS_CLASSES[config]
    assert features["rotated_objects"]["category"].feature.names == SAMRS_CLASSES[config]


def test_only_sota_lacks_rotated_detection():
    assert [name for name, tasks in SAMRS_TASKS.items() if "rd" not in tasks] == ["sota"]


# Rows


@pytest.mark.parametrize("config", DEMO_CONFIGS)
def test_rows_of_generated_sets_hold_together(demo, cache, config):
    for split, count in (("train", 4), ("validation", 2)):
        rows = load_samrs(config, demo, split, cache)
        assert rows.num_rows == count
        check_rows(rows, len(SAMRS_CLASSES[config]))
        assert sum(not row["objects"]["id"] for row in rows) == 1  # every third is empty


def test_sota_has_no_rotated_objects(tmp_path):
    write_samrs_by_hand(tmp_path, "sota")
    rows = load_samrs("sota", tmp_path, "train", tmp_path / "cache")
    assert rows["rotated_objects"] == [None, None]
    assert [len(row["objects"]["id"]) for row in rows] == [2, 0]


def test_objects_cover_the_gray_map_exactly(demo, cache):
    for row in load_samrs("sota_rbb", demo, "train", cache):
        gray = np.full((row["height"], row["width"]), 255)
        objects = row["objects"]
        for rle, label in zip(objects["segmentation"], objects["category"], strict=True):
            gray[coco.decode(rle).astype(bool)] = label
        assert np.array_equal(gray, np.asarray(row["semantic_mask"]))


@pytest.mark.parametrize("config", DEMO_CONFIGS)
def test_rows_of_real_pictures_hold_together(shared_dir, tmp_path, config):
    root = shared_dir / "data/samrs_mini"
    if not root.is_dir():
        pytest.skip("samrs_mini is not here")
    for split, count in (("train", 80), ("validation", 20)):
        rows = load_samrs(config, root, split, tmp_path)
        assert rows.num_rows == count
        check_rows(rows.select(range(0, count, 4)), len(SAMRS_CLASSES[config]))


@pytest.mark.parametrize(
    ("config", "counts", "objects"),
    [("sior", (8, 4), 9), ("sota_rbb", (1, 1), 499), ("fast", (1, 1), 2)],
)
def test_sample_files_are_read(shared_dir, tmp_path, config, counts, objects):
    root = shared_dir / "data/samples/samrs"
    if not root.is_dir():
        pytest.skip("samples are not here")
    rows = [load_samrs(config, root, split, tmp_path) for split in ("train", "validation")]
    assert tuple(r.num_rows for r in rows) == counts
    assert len(rows[0][0]["objects"]["id"]) == objects
    check_rows(rows[0], len(SAMRS_CLASSES[config]))


# Ways to read


def test_streaming_gives_the_same_rows_one_shard_an_image(demo, cache):
    rows = load_samrs("fast", demo, "train", cache)
    stream = builder("fast", demo, cache).as_streaming_dataset("train")
    assert stream.num_shards == rows.num_rows
    for streamed, row in zip(stream, rows, strict=True):
        assert np.array_equal(np.asarray(streamed.pop("image")), np.asarray(row.pop("image")))
        mask = np.asarray(streamed.pop("semantic_mask"))
        assert np.array_equal(mask, np.asarray(row.pop("semantic_mask")))
        assert streamed["objects"]["segmentation"] == row["objects"]["segmentation"]
        assert streamed["image_id"] == row["image_id"]


def test_parquet_files_carry_their_pictures(demo, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(demo / "dior", root / "dior")
    out = tmp_path / "parquet"
    builder("sior", root, tmp_path / "cache").download_and_prepare(str(out), file_format="parquet")
    before = load_samrs("sior", root, "train", tmp_path / "cache")[0]
    pictures = np.asarray(before["image"]), np.asarray(before["semantic_mask"])
    shutil.rmtree(root)
    rows = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache2"))["train"]
    assert rows.features == samrs_features(SAMRS_CLASSES["sior"])
    assert np.array_equal(np.asarray(rows[0]["image"]), pictures[0])
    assert np.array_equal(np.asarray(rows[0]["semantic_mask"]), pictures[1])
    assert rows[0]["objects"] == before["objects"]
    raw = rows.cast_column("image", datasets.Image(decode=False))[0]["image"]
    assert Image.open(io.BytesIO(raw["bytes"])).size == (64, 64)


def test_two_processes_write_the_same_rows(demo, cache, tmp_path):
    rows = load_samrs("sior", demo, "train", tmp_path, num_proc=2)
    assert rows["objects"] == load_samrs("sior", demo, "train", cache)["objects"]
    assert rows["image_id"] == sorted(rows["image_id"])


@pytest.mark.parametrize("num_proc", [None, 2])
def test_our_message_comes_through_the_library(tmp_path, num_proc):
    folder = write_samrs_by_hand(tmp_path, "fast")
    pickle_path(folder, "fast", "a").write_bytes(b"junk")
    with pytest.raises(AnnotationError, match=r"image 'a': .*ins/a.pkl: the pickle is damaged"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache", num_proc=num_proc)


def test_loading_leaves_progress_bars_as_they_were(demo, cache):
    enable_progress_bars()
    load_samrs("fast", demo, "train", cache)
    assert not datasets.are_progress_bars_disabled()
    disable_progress_bars()
    load_samrs("fast", demo, "train", cache)
    assert datasets.are_progress_bars_disabled()


# Tasks


def test_rotated_detection_of_sota_is_refused(tmp_path):
    write_samrs_by_hand(tmp_path, "sota")
    with pytest.raises(ValueError, match=r"config 'sota': tasks \['rd'\].*\['ss', 'is'\]"):
        load_samrs("sota", tmp_path, "train", tmp_path / "cache", tasks=["rd"])


@pytest.mark.parametrize("tasks", [[], ["sd"], ["ss", "sd"]])
def test_unknown_tasks_are_refused(tmp_path, tasks):
    write_samrs_by_hand(tmp_path, "fast")
    with pytest.raises(ValueError, match=r"expected some of \['ss', 'is', 'rd'\]"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache", tasks=tasks)


@pytest.mark.parametrize(
    ("task", "expected"), [("ss", "gray maps"), ("is", "'ins' of pickles"), ("rd", "DIOR-R")]
)
def test_annotations_that_are_not_there_are_an_error_that_says_how_to_go_on(
    tmp_path, task, expected
):
    folder = write_samrs_by_hand(tmp_path, "sior")
    masks = mask_folder(folder, "sior")
    shutil.rmtree({"ss": masks / "gray", "is": masks / "ins", "rd": folder / "Annotations"}[task])
    left = tuple(other for other in ("ss", "is", "rd") if other != task)
    with pytest.raises(FileNotFoundError) as error:
        load_samrs("sior", tmp_path, "train", tmp_path / "cache")
    assert f"no annotations for task '{task}' of config 'sior'" in str(error.value)
    assert expected in str(error.value)
    assert f"pass tasks={left}" in str(error.value)
    rows = load_samrs("sior", tmp_path, "train", tmp_path / "cache", tasks=left)
    assert rows.num_rows == 2


# Instances from COCO files


@pytest.mark.parametrize("config", ["sota_rbb", "sior"])
def test_coco_files_replace_missing_pickles(tmp_path, config):
    folder = write_samrs_by_hand(tmp_path, config)
    expected = list(load_samrs(config, tmp_path, "train", tmp_path / "cache1")["objects"])
    names = SAMRS_CLASSES[config]
    for split, stems in (("train", "ab"), ("validation", "c")):
        rows = load_samrs(config, tmp_path, split, tmp_path / "cache1")
        annotations = [
            {"id": i, "image_id": image, "category_id": label, "segmentation": rle, "iscrowd": 0}
            for image, row in enumerate(rows)
            for i, (label, rle) in enumerate(
                zip(row["objects"]["category"], row["objects"]["segmentation"], strict=True)
            )
        ]
        content = {
            "images": [{"id": i, "file_name": f"{s}.png"} for i, s in enumerate(stems)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
            "annotations": annotations,
        }
        path = folder / f"{config}_{split}_ins_segmentation.json"
        path.write_text(json.dumps(content))
    shutil.rmtree(mask_folder(folder, config) / "ins")
    found = list(load_samrs(config, tmp_path, "train", tmp_path / "cache2")["objects"])
    assert found[0].pop("prompt_bbox") is None  # a COCO file has no prompts
    expected[0].pop("prompt_bbox")
    assert found[0] == expected[0]
    assert found[1]["id"] == []


# Splits


def test_splits_follow_the_lists_in_sorted_order(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "train.txt").write_text("c\na\n")
    (folder / "valid.txt").write_text("b\n")
    rows = {s: load_samrs("fast", tmp_path, s, tmp_path / "cache") for s in ("train", "validation")}
    assert rows["train"]["image_id"] == ["a", "c"]
    assert rows["validation"]["image_id"] == ["b"]


@pytest.fixture
def unlisted(tmp_path) -> Path:
    folder = write_samrs_by_hand(tmp_path, "fast")
    for i in range(37):
        write_image(folder, "fast", f"d{i:02d}")
    (folder / "train.txt").unlink()
    (folder / "valid.txt").unlink()
    return tmp_path


def drawn(root: Path, **options) -> dict[str, list[str]]:
    made = builder("fast", root, root / "cache", **options)
    made.download_and_prepare()
    return {split: list(made.as_dataset(split)["image_id"]) for split in ("train", "validation")}


def test_without_lists_the_split_is_drawn_from_a_seed_and_logged(unlisted, caplog):
    logging.getLogger("datasets").addHandler(caplog.handler)
    splits = drawn(unlisted)
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert "no train.txt and valid.txt; 38 images train and 2 validation" in caplog.text
    assert "drawn with seed 0" in caplog.text
    assert (len(splits["train"]), len(splits["validation"])) == (38, 2)
    assert not set(splits["train"]) & set(splits["validation"])
    assert splits["validation"] == drawn(unlisted)["validation"]
    assert splits["validation"] != drawn(unlisted, split_seed=1)["validation"]


def test_the_share_of_validation_images_is_an_option(unlisted):
    assert len(drawn(unlisted, validation_fraction=0.25)["validation"]) == 10


def test_one_list_alone_is_an_error(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "valid.txt").unlink()
    with pytest.raises(FileNotFoundError, match="found train.txt only; expected both"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache")


def test_listed_images_that_are_missing_are_counted_and_named(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "train.txt").write_text("a\nx\ny\n")
    with pytest.raises(FileNotFoundError) as error:
        load_samrs("fast", tmp_path, "train", tmp_path / "cache")
    assert "train.txt: 2 of 3 images are missing in " in str(error.value)
    assert f"{folder / 'images'}, first 'x', 'y'; expected" in str(error.value)


def test_listed_images_that_are_missing_are_left_out_if_asked(tmp_path, caplog):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "train.txt").write_text("a\nx\ny\n")
    logging.getLogger("datasets").addHandler(caplog.handler)
    rows = load_samrs("fast", tmp_path, "train", tmp_path / "cache", on_error="skip")
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert rows["image_id"] == ["a"]
    assert "2 of 3 images are missing" in caplog.text


def test_a_picture_over_the_limit_that_was_asked_for_is_refused(tmp_path):
    write_samrs_by_hand(tmp_path, "fast")
    with pytest.raises(ValueError, match=r"a\.png: the image claims .* max_pixels=10,"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache", max_pixels=10)


def test_an_empty_list_is_an_error(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "valid.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"valid.txt: the list is empty"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache")


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_for_a_split_are_an_error(tmp_path, count):
    folder = write_samrs_by_hand(tmp_path, "fast")
    for name in ("train.txt", "valid.txt"):
        (folder / name).unlink()
    for stem in "abc"[count:]:
        image_path(folder, "fast", stem).unlink()
    with pytest.raises(ValueError, match="no image files|one image cannot be split"):
        load_samrs("fast", tmp_path, "train", tmp_path / "cache")


def test_an_image_in_both_lists_is_kept_and_reported(tmp_path, caplog):
    folder = write_samrs_by_hand(tmp_path, "fast")
    (folder / "valid.txt").write_text("a\nc\n")
    logging.getLogger("datasets").addHandler(caplog.handler)
    rows = load_samrs("fast", tmp_path, "validation", tmp_path / "cache")
    logging.getLogger("datasets").removeHandler(caplog.handler)
    assert rows["image_id"] == ["a", "c"]
    assert "1 images are in both train and valid lists" in caplog.text


@pytest.mark.parametrize("include_test", [False, True])
def test_test_images_of_dior_are_read_only_when_asked_for(tmp_path, include_test):
    folder = write_samrs_by_hand(tmp_path, "sior")
    test_folder = folder / "JPEGImages-test"
    test_folder.mkdir()
    shutil.copy(image_path(folder, "sior", "a"), test_folder / "t.jpg")
    write_annotations(folder, "sior", "t", (0,))
    (folder / "train.txt").write_text("a\nb\nt\n")
    made = builder("sior", tmp_path, tmp_path / "cache", include_test=include_test)
    made.download_and_prepare()
    expected = ["a", "b", "t"] if include_test else ["a", "b"]
    assert made.as_dataset("train")["image_id"] == expected


# Roots and caches


def test_data_dir_is_required_to_read(tmp_path):
    with pytest.raises(ValueError, match="config 'fast': data_dir is missing"):
        Samrs(config_name="fast", cache_dir=str(tmp_path)).download_and_prepare()


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        load_samrs("fast", tmp_path / "nowhere", "train", tmp_path / "cache")


def test_an_unchanged_set_is_prepared_once(demo, cache):
    rows = [load_samrs("fast", demo / folder, "train", cache) for folder in ("", ".")]
    assert rows[0].cache_files == rows[1].cache_files


def test_options_have_caches_of_their_own(demo, cache):
    plain = load_samrs("fast", demo, "train", cache)
    some = load_samrs("fast", demo, "train", cache, tasks=["ss"])
    assert plain.cache_files != some.cache_files
    assert some["objects"] == [None] * 4


@pytest.mark.parametrize("config", sorted(SAMRS_FOLDERS))
def test_a_changed_annotation_is_never_served_from_the_cache(tmp_path, config):
    folder = write_samrs_by_hand(tmp_path, config)
    before = load_samrs(config, tmp_path, "validation", tmp_path / "cache")
    write_annotations(folder, config, "c", (0,))
    after = load_samrs(config, tmp_path, "validation", tmp_path / "cache")
    assert before["objects"][0]["category"] != after["objects"][0]["category"]


def test_an_edit_of_equal_length_is_noticed(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    path = box_path(folder, "fast", "c")
    load_samrs("fast", tmp_path, "validation", tmp_path / "cache")
    path.write_text(path.read_text().replace("18.5", "19.5"))
    os.utime(path, ns=(10**18, 10**18))
    rows = load_samrs("fast", tmp_path, "validation", tmp_path / "cache")
    assert rows[0]["rotated_objects"]["polygon"][0][1] == 19.5
