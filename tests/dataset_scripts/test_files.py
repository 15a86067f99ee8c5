"""Finding files and folders whatever a copy calls them."""

import pytest

from mtp_hf.dataset_scripts._files import find_folder, index_files


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
