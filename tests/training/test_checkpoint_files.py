"""Claims about the folder of the checkpoints: whole ones, the marker, what goes."""

import json
import logging

import pytest

from mtp_hf.training import checkpoint_files
from mtp_hf.training.checkpoint_files import (
    DamagedCheckpointError,
    check_is_checkpoint,
    check_whole,
    checkpoint_name,
    find_latest,
    list_checkpoints,
    mark_latest,
    partial_path,
    read_latest,
    remove_leftovers,
    remove_oldest,
    set_aside,
    step_of,
    write_manifest,
)

pytestmark = pytest.mark.usefixtures("accelerator")  # which messages go through


def _write(folder, step, text="weights"):
    """A whole checkpoint with a file and a folder of files."""
    path = folder / checkpoint_name(step)
    (path / "shards").mkdir(parents=True)
    (path / "model.bin").write_text(text)
    (path / "shards" / "0.bin").write_text("part")
    write_manifest(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three whole checkpoints, the newest marked."""
    for step in (10, 20, 30):
        mark_latest(_write(tmp_path, step))
    return tmp_path


def _names(folder):
    return [path.name for path in list_checkpoints(folder)]


def test_a_name_tells_the_step():
    assert checkpoint_name(30) == "step_0000030"
    assert step_of(checkpoint_name(123_456_789)) == 123_456_789


def test_the_manifest_has_every_file_also_in_folders(folder):
    files = json.loads((folder / "step_0000010" / "manifest.json").read_text())["files"]
    assert set(files) == {"model.bin", "shards/0.bin"}
    assert files["shards/0.bin"]["size"] == 4
    # sha256 of the four bytes "part", from another implementation (coreutils)
    assert files["shards/0.bin"]["sha256"] == (
        "37a680133bd09342f934afb8dd2c7d9e1b624da5f35e3a38adb103e37c055ed1"
    )


def test_every_file_and_folder_is_flushed_before_the_manifest_is_written(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(checkpoint_files, "flush_file", lambda path: flushed.append(path.name))
    monkeypatch.setattr(checkpoint_files, "flush_folder", lambda path: flushed.append(path.name))
    monkeypatch.setattr(
        checkpoint_files, "write_durably", lambda path, text: flushed.append(path.name)
    )
    _write(tmp_path, 10)
    assert sorted(flushed[:-1]) == ["0.bin", "model.bin", "shards"]
    assert flushed[-1] == "manifest.json"


def test_a_whole_checkpoint_passes_also_with_a_file_that_somebody_added(folder):
    (folder / "step_0000010" / "notes.txt").write_text("mine")
    check_whole(folder / "step_0000010")


def test_a_changed_byte_is_found_with_both_checksums(folder):
    (folder / "step_0000010" / "model.bin").write_text("weighty")
    with pytest.raises(DamagedCheckpointError) as caught:
        check_whole(folder / "step_0000010")
    message = str(caught.value)
    assert "step_0000010 is damaged: model.bin: expected SHA-256 " in message
    expected, found = message.split("SHA-256 ")[1].split(", found ")
    assert len(expected) == len(found) == 64
    assert expected != found


def test_every_wrong_file_is_listed(folder):
    (folder / "step_0000010" / "model.bin").write_text("w")
    (folder / "step_0000010" / "shards" / "0.bin").unlink()
    expected = r"model\.bin: expected 7 bytes, found 1; shards/0\.bin is missing$"
    with pytest.raises(DamagedCheckpointError, match=expected):
        check_whole(folder / "step_0000010")


def test_without_a_manifest_it_is_half_written(folder):
    (folder / "step_0000010" / "manifest.json").unlink()
    with pytest.raises(DamagedCheckpointError, match=r"half-written: it has no manifest\.json"):
        check_whole(folder / "step_0000010")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": {"model.bin": {}}}'])
def test_a_manifest_that_is_none_is_damage(folder, text):
    (folder / "step_0000010" / "manifest.json").write_text(text)
    with pytest.raises(DamagedCheckpointError, match="manifest.json is damaged"):
        check_whole(folder / "step_0000010")


def test_a_file_that_the_disk_cannot_read_is_damage(folder, monkeypatch):
    def fail(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checkpoint_files, "_facts", fail)
    with pytest.raises(DamagedCheckpointError, match=r"model\.bin cannot be read: .*Input/output"):
        check_whole(folder / "step_0000010")


def test_the_marker_names_the_newest_and_is_replaced(folder):
    assert read_latest(folder) == "step_0000030"
    mark_latest(folder / "step_0000010")
    assert (folder / "latest").read_text() == "step_0000010\n"
    assert read_latest(folder) == "step_0000010"


@pytest.mark.parametrize("text", ["", "\x00\x00", "../other", "step_x"])
def test_a_marker_that_names_no_checkpoint_counts_as_none(folder, text):
    (folder / "latest").write_text(text)
    assert read_latest(folder) is None


def test_the_marker_decides_not_the_number(folder):
    mark_latest(folder / "step_0000020")
    assert find_latest(folder).name == "step_0000020"


def test_a_damaged_newest_is_named_and_the_one_before_taken(folder, caplog):
    (folder / "step_0000030" / "model.bin").unlink()
    with caplog.at_level(logging.WARNING):
        assert find_latest(folder).name == "step_0000020"
    assert "step_0000030 is damaged: model.bin is missing" in caplog.text
    assert "the newest whole checkpoint before is" in caplog.text


def test_a_marked_checkpoint_that_is_gone_leads_to_the_one_before(folder, caplog):
    mark_latest(_write(folder, 40))
    (folder / "step_0000040").rename(folder / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert find_latest(folder).name == "step_0000030"
    assert "step_0000040 is not there, but latest names it" in caplog.text


def test_a_kill_between_rename_and_marker_leads_to_the_marked_one(folder):
    _write(folder, 40)
    assert find_latest(folder).name == "step_0000030"


def test_without_a_marker_the_newest_whole_one_is_taken(folder, caplog):
    (folder / "latest").unlink()
    with caplog.at_level(logging.WARNING):
        assert find_latest(folder).name == "step_0000030"
    assert "latest does not name a checkpoint" in caplog.text


def test_only_damaged_ones_are_listed_and_refused(tmp_path):
    for step in (10, 20):
        (_write(tmp_path, step) / "model.bin").unlink()
    with pytest.raises(ValueError, match=r"no whole checkpoint in .*step_0000020.*step_0000010"):
        find_latest(tmp_path)


def test_without_any_the_way_out_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to resume: no checkpoint in .*--overwrite"):
        find_latest(tmp_path / "checkpoints")


def test_the_oldest_go_first(folder):
    remove_oldest(folder, 2)
    assert _names(folder) == ["step_0000020", "step_0000030"]
    remove_oldest(folder, 5)
    assert _names(folder) == ["step_0000020", "step_0000030"]


def test_a_kill_while_deleting_leaves_no_checkpoint_that_lacks_files(folder, monkeypatch):
    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_files.shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        remove_oldest(folder, 1)
    assert _names(folder) == ["step_0000020", "step_0000030"]
    monkeypatch.undo()
    remove_leftovers(folder)
    assert not list(folder.glob(".*"))


def test_leftovers_of_a_kill_go_and_nothing_else(folder, caplog):
    partial = partial_path(folder / "step_0000040")
    partial.mkdir()
    (partial / "model.bin").write_text("half")
    (folder / ".mine").write_text("")
    with caplog.at_level(logging.INFO, logger="mtp_hf"):
        remove_leftovers(folder)
    assert not partial.exists()
    assert "removing" in caplog.text
    assert (folder / ".mine").exists()
    assert len(_names(folder)) == 3
    remove_leftovers(folder / "nowhere")


def test_set_aside_keeps_the_checkpoint_whole_but_out_of_the_list(folder, caplog):
    with caplog.at_level(logging.WARNING):
        target = set_aside(folder / "step_0000030")
    assert target.name == "step_0000030.set_aside"
    check_whole(target)
    assert _names(folder) == ["step_0000010", "step_0000020"]
    assert "delete it if you do not need it" in caplog.text
    _write(folder, 30)
    assert set_aside(folder / "step_0000030").name == "step_0000030.set_aside_2"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: path.write_text(""), "is not a checkpoint: it has no manifest.json"),
        (lambda path: path.mkdir(), "is not a checkpoint: it has no manifest.json"),
        (lambda path: (path / "checkpoints").mkdir(parents=True), "--resume latest --output"),
        (
            lambda path: (path.mkdir(), (path / "state.json").write_text("{}")),
            "is half-written: it has no manifest.json",
        ),
    ],
    ids=["nothing", "file", "other folder", "run folder", "half-written"],
)
def test_what_is_no_checkpoint_is_refused_for_what_it_is(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=f"x.*{message}"):
        check_is_checkpoint(tmp_path / "x")


def test_a_checkpoint_is_one(folder):
    check_is_checkpoint(folder / "step_0000010")
