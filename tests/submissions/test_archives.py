"""Claims about archives that are read without being unpacked."""

import stat
import zipfile

import pytest

from mtp_hf.submissions.archives import name_problems, read_members
from tests.submissions.made_files import zipped


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "a\\..\\b.txt"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="leaves the archive"):
        read_members(zipped(tmp_path / "a.zip", {name: "x"}))


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("a.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="is a link"):
        read_members(tmp_path / "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
        archive.writestr("a.txt", "y")
    with pytest.raises(ValueError, match="is there twice"):
        read_members(tmp_path / "a.zip")


def test_missing_and_unexpected_names_are_both_told():
    found = list(name_problems({"a": b"", "b": b""}, ["b", "c"], "not wanted"))
    assert found == ["c: missing", "a: not wanted"]
