"""Claims about files that are whole or not there."""

import errno
import os

import pytest

from mtp_hf.training import durable_files
from mtp_hf.training.durable_files import flush_file, flush_folder, temporary_name, write_durably


def test_the_text_is_there_and_nothing_else(tmp_path):
    write_durably(tmp_path / "a.txt", "new é\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new é\n"


def test_a_full_disk_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_durably(path, "old")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(durable_files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, "new")
    assert path.read_text() == "old"


def test_the_file_is_on_the_disk_before_it_gets_its_name_and_the_folder_after(
    tmp_path, monkeypatch
):
    path, seen = tmp_path / "a.txt", []

    def note(descriptor):
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))

    monkeypatch.setattr(durable_files.os, "fsync", note)
    write_durably(path, "text")
    assert seen == [(str(temporary_name(path)), False), (str(tmp_path), True)]


def test_a_file_system_that_cannot_flush_folders_is_no_error(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(durable_files.os, "fsync", fail)
    flush_folder(tmp_path)
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="Invalid argument"):
        flush_file(tmp_path / "a")
