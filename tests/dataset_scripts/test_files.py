"""Finding files and folders whatever a copy calls them."""

import pytest

from mtp_hf.dataset_scripts._files import find_folder, find_root, index_files, walk_folders


def test_files_are_indexed_by_stem_in_order(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt", ".d.png"):
        (tmp_path / name).touch()
    index = index_files((str(tmp_path),), (".png", ".jpg"))
    assert list(index) == ["a", "b"]
    assert index["a"] == str(tmp_path / "a.JPG")


def test_two_files_of_one_id_are_an_error(tmp_path):
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a.png: image id 'a' is also that of .*a.jpg"):
        index_files((str(tmp_path),), (".png", ".jpg"))


@pytest.mark.parametrize("name", ["Images", "images", "IMAGES"])
def test_a_folder_is_found_in_any_case(tmp_path, name):
    (tmp_path / "Images").mkdir()
    (tmp_path / "images.txt").write_text("")
    assert find_folder(tmp_path, name) == tmp_path / "Images"
    assert find_folder(tmp_path, "labels") is None


def test_the_exact_name_wins(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "a").mkdir()
    assert find_folder(tmp_path, "a") == tmp_path / "a"


def test_the_folder_of_a_set_is_the_named_one_or_one_below(tmp_path):
    (tmp_path / "b/DOTA/train").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    assert find_root(tmp_path / "b/DOTA", ("Train",)) == tmp_path / "b/DOTA"
    assert find_root(tmp_path / "b", ("val", "train")) == tmp_path / "b/DOTA"
    assert find_root(tmp_path, ("train",)) is None


def test_all_folders_below_are_walked_but_those_left_out(tmp_path):
    for name in ("part1/images", "part2", ".git/x", "x_HBB"):
        (tmp_path / name).mkdir(parents=True)
    every = [tmp_path / name for name in ("", "part1", "part1/images", "part2", "x_HBB")]
    assert walk_folders(tmp_path) == tuple(map(str, every))
    assert walk_folders(tmp_path, "hbb") == tuple(map(str, every[:-1]))


def test_links_are_followed_once_and_never_in_circles(tmp_path):
    (tmp_path / "disk/pictures").mkdir(parents=True)
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "disk")
    (root / "same").symlink_to(tmp_path / "disk/pictures")
    (tmp_path / "disk/back").symlink_to(root)
    assert walk_folders(root) == tuple(
        str(root / name) for name in ("", "images", "images/pictures")
    )


def test_what_a_mac_adds_to_archives_is_no_folder(tmp_path):
    (tmp_path / "__MACOSX/images").mkdir(parents=True)
    assert walk_folders(tmp_path) == (str(tmp_path),)
