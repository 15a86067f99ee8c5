"""Options, cache key and errors that all builders share, on a set of text files."""

import logging
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig, hash_files
from mtp_hf.dataset_scripts._readers import AnnotationError, read_image_size
from tests.fakes_detection import write_picture


class Words(FilesBuilder):
    """One word a file; a file that is empty cannot be right."""

    def _info(self) -> datasets.DatasetInfo:
        columns = {"image_id": datasets.Value("string"), "word": datasets.Value("string")}
        return datasets.DatasetInfo(features=datasets.Features(columns))

    def find_records(self, root: Path) -> dict:
        return {"train": sorted(map(str, root.glob("*.txt")))}

    def read_record(self, record: str) -> Iterator[tuple[str, dict]]:
        for number, word in enumerate(Path(record).read_text().split(",")):
            if not word:
                raise AnnotationError(f"{record}: word {number} is empty")
            key = f"{Path(record).stem}_{number}"
            yield key, {"image_id": key, "word": word}


def builder(root, cache, **options):
    return Words(data_dir=str(root), cache_dir=str(cache), **options)


def words(root, cache, **options):
    made = builder(root, cache, **options)
    made.download_and_prepare()
    return made.as_dataset("train")["word"][:]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in {"a": "one,two", "b": "three,", "c": "four"}.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_a_broken_record_stops_the_reading_with_our_own_message(root, tmp_path):
    with pytest.raises(AnnotationError, match=r"b\.txt: word 1 is empty$"):
        words(root, tmp_path / "cache")


def test_a_broken_record_is_left_out_whole_and_listed_if_asked(root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        datasets.utils.logging.enable_propagation()
        found = words(root, tmp_path / "cache", on_error="skip")
        datasets.utils.logging.disable_propagation()
    assert found == ["one", "two", "four"]
    assert "1 of 3 records left out" in caplog.text
    assert "b.txt: word 1 is empty" in caplog.text


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_split_of_which_nothing_is_left_is_an_error_that_names_it(root, tmp_path, num_proc):
    for path in root.iterdir():
        path.write_text(",")
    made = builder(root, tmp_path / "cache", on_error="skip")
    made.download_and_prepare(num_proc=num_proc)
    for split in ("train", None):
        with pytest.raises(AnnotationError, match="no record of split 'train' of config 'default'"):
            made.as_dataset(split)


class Sizes(Words):
    """One size of a picture a file."""

    def read_record(self, record: str) -> Iterator[tuple[str, dict]]:
        yield Path(record).stem, {"image_id": record, "word": str(read_image_size(record))}


@pytest.fixture
def linked(tmp_path):
    folder = tmp_path / "linked"
    folder.mkdir()
    write_picture(tmp_path / "a.png").rename(folder / "a.txt")
    (folder / "b.txt").symlink_to(tmp_path / "gone")
    return folder


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_link_that_leads_nowhere_is_our_own_error(linked, tmp_path, num_proc):
    made = Sizes(data_dir=str(linked), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(AnnotationError, match=r"b\.txt: not there, or a link that leads nowhere"):
        made.download_and_prepare(num_proc=num_proc)


def test_a_link_that_leads_nowhere_is_left_out_if_asked(linked, tmp_path):
    made = Sizes(data_dir=str(linked), cache_dir=str(tmp_path / "cache"), on_error="skip")
    made.download_and_prepare()
    assert made.as_dataset("train")["word"][:] == ["(40, 60)"]
    assert len(list(made.as_streaming_dataset("train"))) == 1


def test_another_way_with_errors_is_refused(root, tmp_path):
    with pytest.raises(ValueError, match=r"on_error='ignore'; expected one of \('raise', 'skip'\)"):
        builder(root, tmp_path, on_error="ignore")


class NamedWords(Words):
    """The same with a config that has a name."""

    BUILDER_CONFIGS = [FilesConfig(name="words")]


def test_options_of_a_config_with_a_name_are_checked_as_well(root, tmp_path):
    options = {"config_name": "words", "data_dir": str(root), "cache_dir": str(tmp_path)}
    assert NamedWords(**options, on_error="skip").config.on_error == "skip"
    with pytest.raises(ValueError, match=r"on_error='ignore'; expected one of \('raise', 'skip'\)"):
        NamedWords(**options, on_error="ignore")


@pytest.mark.parametrize("change", ["content", "added", "removed", "nested"])
def test_a_changed_file_is_read_anew(root, tmp_path, change):
    key = builder(root, tmp_path / "cache").cache_dir
    before = words(root, tmp_path / "cache", on_error="skip")
    if change == "content":
        (root / "b.txt").write_text("three")
    elif change == "removed":
        (root / "a.txt").unlink()
    elif change == "added":
        (root / "d.txt").write_text("five")
    else:  # any file may decide a row
        (root / "more").mkdir()
        (root / "more" / "list").write_text("")
    after = words(root, tmp_path / "cache", on_error="skip")
    assert builder(root, tmp_path / "cache").cache_dir != key
    assert (after == before) == (change == "nested")


def test_hidden_files_do_not_count(root):
    before = hash_files(root)
    (root / ".DS_Store").write_text("x")
    (root / ".git").mkdir()
    (root / ".git" / "index").write_text("x")
    assert hash_files(root) == before
    (root / "e.txt").write_text("x")
    assert hash_files(root) != before


def test_files_behind_a_link_count(root, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (root / "more").symlink_to(disk)
    (root / "nowhere").symlink_to(tmp_path / "gone")
    before = hash_files(root)
    (disk / "e.txt").write_text("x")
    assert hash_files(root) != before


def test_a_folder_without_records_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="no image for train of config 'default'"):
        words(tmp_path / "empty", tmp_path / "cache")


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        builder(tmp_path / "nowhere", tmp_path / "cache")


def test_a_builder_without_a_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="data_dir is missing"):
        Words(cache_dir=str(tmp_path)).download_and_prepare()


def test_streaming_gives_the_same_rows(root, tmp_path):
    made = builder(root, tmp_path / "cache", on_error="skip")
    assert [row["word"] for row in made.as_streaming_dataset("train")] == ["one", "two", "four"]
