"""Extraction of archives: where files go, what is done once, again or not at all."""

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from mtp_hf.dataset_scripts import _archives
from mtp_hf.dataset_scripts._archives import extract_archives, foreign_archives_hint
from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_archives import FILES, found, write_tar, write_zip
from tests.fakes_classification import write_eurosat


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


# Where files go


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2"])
def test_one_top_folder_goes_beside_the_archive(tmp_path, name):
    (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, FILES)
    extract_archives(tmp_path)
    assert found(tmp_path) == FILES


@pytest.mark.parametrize("name", ["labelTxt.zip", "labelTxt.tar.gz", "labelTxt.ZIP"])
def test_loose_files_go_into_a_folder_of_the_archives_name(tmp_path, name):
    write = write_zip if name.lower().endswith("zip") else write_tar
    write(tmp_path / name, {"P1.txt": b"1", "P2.txt": b"2"})
    extract_archives(tmp_path)
    assert (tmp_path / "labelTxt/P1.txt").read_bytes() == b"1"
    assert (tmp_path / "labelTxt/P2.txt").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("test.zip", "images/a.txt", "test/images/a.txt"),
        ("Val.zip", "val/images/a.txt", "val/images/a.txt"),
        ("train.zip", "Train/a.txt", "Train/a.txt"),
        ("part1.zip", "images/a.txt", "images/a.txt"),
    ],
)
def test_the_name_of_a_split_is_kept(tmp_path, name, path, expected):
    write_zip(tmp_path / name, {path: b"a"})
    extract_archives(tmp_path)
    assert list(found(tmp_path)) == [expected]


def test_parts_with_one_folder_name_are_merged(tmp_path):
    write_zip(tmp_path / "train/part1.zip", {"images/a.txt": b"a"})
    write_zip(tmp_path / "train/part2.zip", {"images/b.txt": b"b"})
    extract_archives(tmp_path)
    assert found(tmp_path) == {"train/images/a.txt": b"a", "train/images/b.txt": b"b"}


def test_archives_in_archives_are_extracted(tmp_path):
    inner = write_zip(tmp_path / "inner.zip", {"images/a.txt": b"a"})
    content = inner.read_bytes()
    inner.unlink()
    write_zip(tmp_path / "outer.zip", {"set/images.zip": content, "set/list.txt": b"a"})
    extract_archives(tmp_path)
    assert found(tmp_path) == {"set/images/a.txt": b"a", "set/list.txt": b"a"}


def test_endless_nesting_is_refused(tmp_path):
    path = write_zip(tmp_path / "level.zip", {"a.txt": b"a"})
    for level in range(5):
        content = path.read_bytes()
        path.unlink()
        path = write_zip(tmp_path / "top.zip", {f"level{level}.zip": content})
    with pytest.raises(AnnotationError, match=r"level\d.zip: an archive in 3 or more archives"):
        extract_archives(tmp_path)


def test_members_written_on_windows_and_macos_are_understood(tmp_path):
    files = {"A\\x.txt": b"x", "__MACOSX/A/._x.txt": b"m", "A/.DS_Store": b"d", "./A/y.txt": b"y"}
    write_zip(tmp_path / "a.zip", files)
    extract_archives(tmp_path)
    assert found(tmp_path) == {"A/x.txt": b"x", "A/y.txt": b"y"}


def test_unwanted_archives_are_left_alone(tmp_path):
    write_zip(tmp_path / "rgb.zip", {"2750/a.txt": b"a"})
    (tmp_path / "bands.zip").write_bytes(b"not even read")
    extract_archives(tmp_path, lambda archive: archive.name == "rgb.zip")
    assert found(tmp_path) == {"2750/a.txt": b"a"}


# Once, again, or not at all


def test_a_finished_extraction_is_reused(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", FILES)
    extract_archives(tmp_path)
    times = [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.txt"))]
    monkeypatch.setattr(_archives, "list_members", None)  # a second reading would fail
    extract_archives(tmp_path)
    assert [p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*.txt"))] == times


def test_a_changed_archive_takes_the_place_of_its_former_files(tmp_path):
    write_zip(tmp_path / "a.zip", FILES)
    extract_archives(tmp_path)
    (tmp_path / "Train/own.txt").write_bytes(b"mine")
    write_zip(tmp_path / "a.zip", {"Train/Rural/1.txt": b"another one", "Train/2.txt": b"two"})
    extract_archives(tmp_path)
    assert found(tmp_path) == {
        "Train/2.txt": b"two",
        "Train/Rural/1.txt": b"another one",
        "Train/own.txt": b"mine",
    }


def test_deleted_contents_are_extracted_again(tmp_path):
    write_zip(tmp_path / "a.zip", FILES)
    extract_archives(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.unlink()
    for folder in ("Train/Rural", "Train"):
        (tmp_path / folder).rmdir()
    extract_archives(tmp_path)
    assert found(tmp_path) == FILES


@pytest.mark.parametrize("folder", [".", "a"])
def test_contents_extracted_by_hand_are_used_as_they_are(tmp_path, folder):
    archive = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / folder)
    (tmp_path / folder / "Train/Rural/0.txt").write_bytes(b"corrected by hand")
    before = found(tmp_path)
    extract_archives(tmp_path)
    assert found(tmp_path) == before


def test_contents_moved_out_of_their_top_folder_by_hand_are_used_as_they_are(tmp_path):
    write_zip(tmp_path / "images/part1.zip", {"images/a.txt": b"a", "images/b/c.txt": b"bc"})
    (tmp_path / "images/a.txt").write_bytes(b"a")
    (tmp_path / "images/b").mkdir()
    (tmp_path / "images/b/c.txt").write_bytes(b"bc")
    for _ in range(2):  # the second time by the record of the first
        extract_archives(tmp_path)
        assert found(tmp_path) == {"images/a.txt": b"a", "images/b/c.txt": b"bc"}


@pytest.mark.parametrize("content", [b"longer", None])
def test_files_of_another_length_beside_an_archive_are_not_its_own(tmp_path, content):
    write_zip(tmp_path / "imgs_2.zip", {"imgs_2/a.txt": b"a", "imgs_2/b.txt": b"b"})
    (tmp_path / "a.txt").write_bytes(b"a")
    if content is not None:
        (tmp_path / "b.txt").write_bytes(content)
    extract_archives(tmp_path)
    assert (tmp_path / "imgs_2/b.txt").read_bytes() == b"b"


def test_a_half_done_extraction_is_completed(tmp_path):
    write_zip(tmp_path / "a.zip", FILES)
    (tmp_path / "Train/Rural").mkdir(parents=True)
    (tmp_path / "Train/Rural/0.txt").write_bytes(b"zero")
    extract_archives(tmp_path)
    assert found(tmp_path) == FILES


def test_a_file_of_another_length_is_never_overwritten(tmp_path):
    write_zip(tmp_path / "a.zip", FILES)
    (tmp_path / "Train/Rural").mkdir(parents=True)
    (tmp_path / "Train/Rural/0.txt").write_bytes(b"ze")
    with pytest.raises(AnnotationError, match=r"0.txt: 2 bytes, but 4 in .*a.zip"):
        extract_archives(tmp_path)
    assert (tmp_path / "Train/Rural/0.txt").read_bytes() == b"ze"


def test_a_failed_extraction_leaves_nothing(tmp_path):
    content = bytearray(write_zip(tmp_path / "a.zip", FILES).read_bytes())
    content[content.index(b"1.txt") + 6] ^= 0xFF  # in the packed bytes of the second member
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"a.zip, member 'Train/Rural/1.txt': damaged"):
        extract_archives(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} <= {"a.zip", ".a.zip.lock"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"a.zip: not extracted and its folder cannot be"):
        extract_archives(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        file.extractall(tmp_path)
    extract_archives(tmp_path)
    assert not (tmp_path / ".a.zip.extracted").exists()


def test_too_little_space_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    write_zip(tmp_path / "a.zip", FILES)
    usage = type("Usage", (), {"free": 6})
    monkeypatch.setattr(_archives.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"a.zip: needs 7 bytes in .*, where 6 are free"):
        extract_archives(tmp_path)
    assert found(tmp_path) == {}


def test_a_record_cannot_make_us_delete_other_files(tmp_path):
    (tmp_path / "precious").write_bytes(b"p")
    write_zip(tmp_path / "data/a.zip", FILES)
    record = {"state": [0, 0], "tops": [], "written": ["../precious"]}
    (tmp_path / "data/.a.zip.extracted").write_text(json.dumps(record))
    with pytest.raises(AnnotationError, match="'../precious': a path that leaves the folder"):
        extract_archives(tmp_path / "data")
    assert (tmp_path / "precious").exists()


# Builders


class Lines(FilesBuilder):
    """One row a text file in a folder `Train`."""

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=datasets.Features({"text": datasets.Value("string")}))

    def find_records(self, root: Path) -> dict:
        if not (root / "Train").is_dir():
            raise FileNotFoundError(f"{root}: no folder 'Train'")
        return {"train": sorted(map(str, root.glob("Train/**/*.txt")))}

    def read_record(self, record: str) -> Iterator[tuple[str, dict]]:
        yield Path(record).stem, {"text": Path(record).read_text()}


def test_a_builder_reads_archives_and_keeps_its_prepared_copy(tmp_path):
    write_zip(tmp_path / "data/Train.zip", FILES)
    made = [Lines(data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "c")) for _ in "ab"]
    assert made[0].cache_dir == made[1].cache_dir
    made[0].download_and_prepare()
    assert made[0].as_dataset("train")["text"][:] == ["zero", "one"]


@pytest.mark.parametrize(("name", "command"), [("x y.rar", "unrar x 'x y.rar'"), ("d.7z", "7z x")])
def test_a_foreign_archive_is_named_with_the_command_where_files_are_missing(
    tmp_path, name, command
):
    (tmp_path / name).write_bytes(b"Rar!")
    assert command in foreign_archives_hint(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"no folder 'Train'; extract .* {command}"):
        Lines(data_dir=str(tmp_path), cache_dir=str(tmp_path)).download_and_prepare()
    with pytest.raises(FileNotFoundError, match=command):
        Lines(data_dir=str(tmp_path), cache_dir=str(tmp_path)).list_records(tmp_path)
    (tmp_path / "Train").mkdir()
    with pytest.raises(AnnotationError, match=f"no image for train .*; extract .*{command}"):
        Lines(data_dir=str(tmp_path), cache_dir=str(tmp_path)).download_and_prepare()


@pytest.mark.parametrize("quiet", [True, False])
def test_the_bar_of_an_extraction_is_shown_unless_quiet(tmp_path, capfd, quiet):
    datasets.enable_progress_bars()
    write_eurosat(tmp_path / "files", classes=["Forest"])
    shutil.make_archive(str(tmp_path / "data/EuroSAT"), "zip", tmp_path / "files")
    load_dataset(
        "eurosat", data_dir=tmp_path / "data", cache_dir=tmp_path / "c", streaming=True, quiet=quiet
    )
    assert (tmp_path / "data/2750/Forest").is_dir()
    assert ("Extract EuroSAT.zip" in capfd.readouterr().err) != quiet
