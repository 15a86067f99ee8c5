"""Making a set like SOTA-RBB: masks where the model says, resuming, shares, loading it back."""

import argparse
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mtp_hf import cli
from mtp_hf.dataset_scripts import make_sota_rbb
from mtp_hf.dataset_scripts._sam_masks import SamMasks
from mtp_hf.dataset_scripts.loading import load_dataset, open_builder
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import write_dota_folder
from tests.fakes_sam import write_sam

# Corners of ships, in pictures of 300 x 200 pixels (width x height).
SHIP = "20 30 60 30 60 50 20 50 ship 0\n"
HARBOR = "200 100 260 120 250 150 190 130 Harbor 1\n"
TILES = {"tile_size": 128, "overlap": 32}


class BoxMasks:
    """A model that fills the box it is asked with, and stops when it is told to."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.num_asked = 0

    def find(self, image, boxes):
        if self.num_asked == self.stop_after:
            raise KeyboardInterrupt
        self.num_asked += 1
        for x1, y1, x2, y2 in boxes:
            mask = np.zeros(image.size[::-1], bool)
            mask[round(y1) : round(y2), round(x1) : round(x2)] = True
            yield mask, 0.5


@pytest.fixture(scope="module")
def dota(tmp_path_factory):
    """Three pictures: two objects, one object, none."""
    root = tmp_path_factory.mktemp("dota")
    for name, lines in {"train/P1": SHIP + HARBOR, "train/P2": "", "val/P3": SHIP}.items():
        split, stem = name.split("/")
        write_picture(root / split / f"images/{stem}.png", size=(300, 200))
        write_text(root / split / f"labelTxt-v2.0/{stem}.txt", lines)
    return root


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    return write_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture
def builder(dota, tmp_path):
    return open_builder("dota", "v2.0_tiles", data_dir=dota, cache_dir=tmp_path, **TILES)


def make(builder, folder, model=None, **options):
    made = make_sota_rbb.make_tiles(builder, model or BoxMasks(), folder, **options)
    return made, make_sota_rbb.write_lists(builder, folder, seed=0)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_set_loads_with_the_masks_of_the_model(builder, tmp_path):
    made, splits = make(builder, tmp_path / "set")
    assert made == sum(map(len, splits.values())) > 2
    rows = load_dataset("samrs", "sota_rbb", data_dir=tmp_path / "set", cache_dir=tmp_path)
    assert {split: found["image_id"][:] for split, found in rows.items()} == splits
    found = set()
    for row in (row for split in rows.values() for row in split):
        objects, rotated = row["objects"], row["rotated_objects"]
        assert objects["category"] == rotated["category"]
        found.update(objects["category"])
        gray = np.asarray(row["semantic_mask"])
        for number, label in enumerate(objects["category"]):
            x, y, width, height = (round(v) for v in objects["prompt_bbox"][number])
            corners = np.reshape(rotated["polygon"][number], (4, 2))
            box = [*corners.min(0), *np.ptp(corners, 0)]
            np.testing.assert_allclose(objects["prompt_bbox"][number], box, atol=1e-3)
            inside = gray[max(y, 0) : y + height, max(x, 0) : x + width]
            assert inside.size and (inside == label).all()
            assert objects["area"][number] == inside.size
    # Numbers of SOTA, whose order is not that of DOTA; case of the files does not matter.
    assert found == {5, 14}


def test_pictures_are_the_tiles(builder, tmp_path):
    make(builder, tmp_path / "set")
    record = builder.find_records(builder.config.root())["validation"][0]
    tiles = dict(builder.read_record(record))
    assert tiles
    for tile_id, row in tiles.items():
        assert (tmp_path / f"set/images/{tile_id}.png").read_bytes() == row["image"]["bytes"]


def test_a_run_that_was_stopped_and_goes_on_makes_the_same_files(builder, tmp_path):
    made, _ = make(builder, tmp_path / "straight")
    for stop_after in range(1, made):
        folder = tmp_path / f"stopped_{stop_after}"
        with pytest.raises(KeyboardInterrupt):
            make(builder, folder, BoxMasks(stop_after))
        assert not (folder / "train.txt").exists()
        made_later, _ = make(builder, folder)
        assert made_later == made - stop_after
        assert contents(folder) == contents(tmp_path / "straight")


def test_a_finished_set_asks_the_model_for_nothing(builder, tmp_path):
    make(builder, tmp_path / "set")
    before = contents(tmp_path / "set")
    made, splits = make(builder, tmp_path / "set", BoxMasks(stop_after=0))
    assert (made, contents(tmp_path / "set")) == (0, before)
    assert splits


def test_shares_add_up_to_the_set_and_the_last_one_writes_the_lists(builder, tmp_path):
    total, expected = make(builder, tmp_path / "straight")
    results = [make(builder, tmp_path / "shared", share=(i, 3)) for i in (2, 0, 1)]
    assert sum(made for made, _ in results) == total
    assert [splits for _, splits in results] == [None, None, expected]
    assert contents(tmp_path / "shared") == contents(tmp_path / "straight")


def test_a_set_of_other_classes_or_without_rotated_boxes_is_refused(tmp_path):
    root, names = write_dota_folder(tmp_path / "mine"), ["ship", "harbor", "whale"]
    own = open_builder("dota_folder", data_dir=root, cache_dir=tmp_path, class_names=names)
    with pytest.raises(ValueError, match="'dota_folder': class name 'whale'; expected one of larg"):
        make_sota_rbb.make_tiles(own, BoxMasks(), tmp_path / "set")
    write_picture(tmp_path / "scenes/ship/1.jpg")
    scenes = open_builder("image_folder", data_dir=tmp_path / "scenes", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="'image_folder' has no rotated boxes"):
        make_sota_rbb.make_tiles(scenes, BoxMasks(), tmp_path / "set")


def test_images_of_one_id_are_refused_before_a_model_is_loaded(dota, tmp_path):
    root = shutil.copytree(dota, tmp_path / "dota")
    for folder, suffix in (("images", "png"), ("labelTxt-v2.0", "txt")):
        (root / f"val/{folder}/P3.{suffix}").rename(root / f"val/{folder}/P1.{suffix}")
    with pytest.raises(SystemExit, match=r"val/images/P1\.png: image id 'P1' is also that of .*tr"):
        command(root, tmp_path / "out", "--model", "no/model")
    assert not (tmp_path / "out").exists()


def command(*arguments):
    cli.main(["make-sota-rbb", *map(str, arguments)])


def test_the_command_makes_a_set_with_a_real_model(dota, sam, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    folder = tmp_path / "set"
    # Whole images: a tile of 1024 pixels around them costs the tiny model more.
    command(dota, folder, "--model", sam, "--dataset", "dota/v2.0", "--boxes-per-batch", 1)
    assert "2 tiles made\nAll tiles are there: 1 train, 1 validation." in capsys.readouterr().out
    model = SamMasks(sam)
    with Image.open(dota / "train/images/P1.png") as image:
        boxes = [[20, 30, 60, 50], [190, 100, 260, 150]]
        masks = [mask for mask, _ in model.find(image.convert("RGB"), boxes)]
    expected = np.full((200, 300), 255)
    expected[masks[0]] = 5
    expected[masks[1]] = 14
    with Image.open(folder / "rhbox_segs_init/gray/P1.png") as gray:
        np.testing.assert_array_equal(np.asarray(gray), expected)
    rows = load_dataset("samrs", "sota_rbb", data_dir=folder, cache_dir=tmp_path)
    assert rows.num_rows == {"train": 1, "validation": 1}
    command(dota, folder, "--model", sam, "--dataset", "dota/v2.0")
    assert "0 tiles made" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="multimask is False, but True was asked for"):
        command(dota, folder, "--model", sam, "--dataset", "dota/v2.0", "--multimask")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere/at/all"], "error: .*nowhere/at/all"),
        (["--dataset", "whales"], "error: unknown dataset 'whales'; expected one of"),
        (["--dataset", "dota/v9"], r"error: data set 'dota' has no config 'v9'; expected one of"),
        (["--boxes-per-batch", "0"], "error: --boxes-per-batch 0; expected 1 or more"),
        (["--device", "cuad"], "error: .*cuad"),
    ],
)
def test_a_wrong_argument_is_one_message(dota, sam, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as caught:
        command(dota, tmp_path / "set", "--model", sam, *arguments)
    assert re.search(message, str(caught.value))
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_not_there_is_one_message(sam, tmp_path):
    with pytest.raises(SystemExit) as caught:
        command(tmp_path / "nowhere", tmp_path / "set", "--model", sam)
    assert "nowhere: no such folder" in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as caught:
        command(tmp_path / "empty", tmp_path / "set", "--model", sam)
    assert "empty: found nothing; expected a folder 'train'" in str(caught.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("text", ["1", "2/2", "-1/2", "a/b"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected I/N with I from 0 to N - 1"):
        make_sota_rbb.parse_share(text)
    assert make_sota_rbb.parse_share("1/2") == (1, 2)
