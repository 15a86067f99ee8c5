"""Finding the files of a set: own folder or root, published or third-party names."""

import os
import pickle
import shutil
from pathlib import Path

import pytest

from mtp_hf.dataset_scripts._samrs_layout import SET_FOLDERS, find_layout
from tests.fakes import SAMRS_FOLDERS, mask_folder, write_samrs_by_hand


@pytest.fixture
def root(tmp_path) -> Path:
    for config in SAMRS_FOLDERS:
        write_samrs_by_hand(tmp_path, config)
    return tmp_path


def relative(path: str | None, root: Path) -> str | None:
    return None if path is None else Path(path).relative_to(root).as_posix()


@pytest.mark.parametrize("config", sorted(SAMRS_FOLDERS))
def test_a_set_is_found_from_its_folder_and_from_every_folder_above(root, config):
    folder = root / SAMRS_FOLDERS[config]
    expected = find_layout(config, folder)
    assert expected.folder == str(folder)
    for start in {folder, root / Path(SAMRS_FOLDERS[config]).parts[0], root}:
        assert find_layout(config, start) == expected


def test_published_folders_are_told_apart(root):
    layout = find_layout("sior", root)
    assert [relative(p, root) for p in layout.images] == ["dior/JPEGImages-trainval"]
    assert relative(layout.gray, root) == "dior/hbox_segs_trainvaltest_init/gray"
    assert relative(layout.instances, root) == "dior/hbox_segs_trainvaltest_init/ins"
    assert relative(layout.boxes, root) == "dior/Annotations/Oriented Bounding Boxes"
    assert {k: Path(v).name for k, v in layout.lists.items()} == {
        "train": "train.txt",
        "validation": "valid.txt",
    }
    assert find_layout("sota", root).boxes is None
    assert relative(find_layout("fast", root).boxes, root) == "fair1m_1024/trainval/rbbtxts"


@pytest.mark.parametrize("config", sorted(SAMRS_FOLDERS))
@pytest.mark.parametrize("upper", [False, True])
def test_third_party_names_are_found_in_any_case(root, tmp_path, config, upper):
    name = SET_FOLDERS[config][-1]
    other = tmp_path / "other"
    shutil.copytree(root / SAMRS_FOLDERS[config], other / (name.upper() if upper else name))
    assert Path(find_layout(config, other).folder).parent == other


def test_a_flat_third_party_layout_is_found(tmp_path):
    for name in ("images", "ins"):
        (tmp_path / "sior" / name).mkdir(parents=True)
    (tmp_path / "sior/ins/a.pkl").write_bytes(pickle.dumps([]))
    layout = find_layout("sior", tmp_path)
    assert relative(layout.instances, tmp_path) == "sior/ins"
    assert (layout.gray, layout.boxes, layout.lists) == (None, None, {})


@pytest.mark.parametrize(("config", "prefix"), [("sota", "hbox"), ("sota_rbb", "rhbox")])
def test_masks_of_the_right_prompts_are_taken_when_both_are_there(tmp_path, config, prefix):
    folder = write_samrs_by_hand(tmp_path, config)
    masks = mask_folder(folder, config)
    other = "rhbox_segs_init" if prefix == "hbox" else "hbox_segs_init"
    shutil.copytree(masks, folder / other)
    layout = find_layout(config, tmp_path)
    assert Path(layout.gray).parent == Path(layout.instances).parent == masks


def test_a_folder_ins_without_pickles_is_no_instance_folder(root):
    ins = mask_folder(root / "dior", "sior") / "ins"
    for path in ins.iterdir():
        path.unlink()
    assert find_layout("sior", root).instances is None


def test_test_images_are_left_out_unless_asked_for(root):
    (root / "dior/JPEGImages-test").mkdir()
    assert len(find_layout("sior", root).images) == 1
    assert len(find_layout("sior", root, include_test=True).images) == 2


def test_a_missing_root_names_path_and_expected_folders(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        find_layout("sota_rbb", tmp_path / "no")
    assert f"{tmp_path / 'no'}: no such folder" in str(error.value)
    assert "dotav2_1024_rbb or sota_rbb" in str(error.value)


def test_a_root_without_the_set_names_what_was_looked_for(tmp_path):
    (tmp_path / "dior").mkdir()
    with pytest.raises(FileNotFoundError, match="no images of SAMRS set 'sior'.*'images'.*'dior'"):
        find_layout("sior", tmp_path)


@pytest.mark.parametrize("inner", ["dotav2_1024_rbb", "dotav2_1024_rbb/trainval"])
def test_the_folder_of_another_set_is_refused(root, inner):
    with pytest.raises(ValueError, match="this is the folder of config 'sota_rbb', but config 'so"):
        find_layout("sota", root / inner)


def test_fingerprint_stays_when_nothing_changes(root):
    assert find_layout("fast", root).fingerprint() == find_layout("fast", root).fingerprint()


@pytest.mark.parametrize("change", ["list", "gray", "ins", "box", "image", "new file", "time"])
def test_fingerprint_follows_every_file_that_decides_rows(root, change):
    layout = find_layout("fast", root)
    before = layout.fingerprint()
    folder = Path(layout.folder)
    files = {
        "list": folder / "train.txt",
        "gray": Path(layout.gray, "a.png"),
        "ins": Path(layout.instances, "a.pkl"),
        "box": Path(layout.boxes, "a.txt"),
        "image": Path(layout.images[0], "a.png"),
        "new file": Path(layout.boxes, "b.txt"),
        "time": Path(layout.boxes, "a.txt"),
    }
    path = files[change]
    if change == "time":
        os.utime(path, ns=(1, 1))
    else:
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    assert layout.fingerprint() != before
