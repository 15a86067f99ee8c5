"""Claims about pictures in folders of users."""

import pytest

from mtp_hf.pipelines.picture_folders import count_other_files, index_picture_stems, index_pictures


@pytest.fixture
def folder(tmp_path):
    """Pictures on two levels, other files, hidden ones, and what was predicted before."""
    names = ("b.png", "x.bmp", "sub/b.webp", "sub/c.JP2", "notes.txt", "sub/b.xml", ".hidden.png")
    for name in (*names, "found/pictures/b.png", "found/results.jsonl", ".thumbs/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_pictures_are_named_by_their_path_from_the_folder_on(folder):
    found = index_pictures(folder)
    assert list(found) == ["b", "sub/b", "sub/c", "x"]
    assert found["sub/b"] == str(folder / "sub" / "b.webp")


def test_a_folder_can_be_left_out(folder):
    assert list(index_pictures(folder, folder / "sub")) == ["b", "x"]


def test_other_files_are_counted_by_suffix(folder):
    assert count_other_files(folder) == {".txt": 1, ".xml": 1}


def test_the_folder_itself_may_hold_results(folder):
    assert list(index_pictures(folder / "found")) == ["pictures/b"]


def test_stems_must_be_unique_for_servers(folder):
    with pytest.raises(ValueError, match="image id 'b' is also that of"):
        index_picture_stems(folder)
    assert list(index_picture_stems(folder / "sub")) == ["b", "c"]
