"""Reading of archives: what is listed, and what is refused by name."""

import os
import stat
import struct
import tarfile
import zipfile

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtp_hf.dataset_scripts import _archive_members
from mtp_hf.dataset_scripts._archive_members import list_members, read_members, safe_path
from mtp_hf.dataset_scripts._archives import extract_archives
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_archives import FILES, found, write_tar, write_zip


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_members_have_name_size_and_content(tmp_path, name):
    archive = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, FILES)
    assert list_members(archive) == {path: len(content) for path, content in FILES.items()}
    assert {m.name: m.open().read() for m in read_members(archive)} == FILES


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("A/b.txt", "A/b.txt"),
        ("./A//b.txt", "A/b.txt"),
        ("A\\b.txt", "A/b.txt"),
        ("__MACOSX/A/b.txt", None),
        ("A/.DS_Store", None),
        (".hidden/b.txt", None),
    ],
)
def test_paths_are_made_plain_and_those_without_data_left_out(tmp_path, name, path):
    assert safe_path(tmp_path / "a.zip", name) == path


ESCAPES = ["../x.txt", "a/../../x.txt", "/etc/x.txt", "C:\\x.txt", "..\\x.txt", "\\\\host\\x.txt"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name, suffix):
    archive = tmp_path / "data" / f"a.{suffix}"
    archive.parent.mkdir()
    (write_zip if suffix == "zip" else write_tar)(archive, {"ok/y.txt": b"y", name: b"x"})
    with pytest.raises(AnnotationError, match=r"member .*x\.txt': a path that leaves the folder"):
        extract_archives(tmp_path)
    assert found(tmp_path) == {}


KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_in_tars_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("A/special")
    info.type, info.linkname = kind, "/etc/passwd"
    write_tar(tmp_path / "a.tar", FILES, info)
    with pytest.raises(AnnotationError, match="a.tar, member 'A/special': a link or device"):
        extract_archives(tmp_path)
    assert found(tmp_path) == {}


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_a_negative_size_in_a_tar_is_refused(tmp_path, kind):
    info = tarfile.TarInfo("A/loop")
    info.type, info.size = kind, -1024
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as file:
        file.fileobj.write(info.tobuf(tarfile.GNU_FORMAT) * 3)
    with pytest.raises(AnnotationError, match=r"a.tar, .*(-1024 bytes|damaged)"):
        list_members(tmp_path / "a.tar")


def test_links_in_zips_are_refused(tmp_path):
    info = zipfile.ZipInfo("A/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(AnnotationError, match="a.zip, member 'A/link': a link or device"):
        extract_archives(tmp_path)


def test_encrypted_members_are_refused(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"A/x.txt": b"x"})
    content = bytearray(archive.read_bytes())
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(header) + offset
        content[at : at + 2] = struct.pack("<H", 1)
    archive.write_bytes(content)
    with pytest.raises(AnnotationError, match="a.zip, member 'A/x.txt': encrypted"):
        extract_archives(tmp_path)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_archives_cut_short_are_refused(tmp_path, name):
    files = {f"A/{i}.bin": os.urandom(3000) for i in range(5)}
    archive = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, files)
    archive.write_bytes(archive.read_bytes()[:8000])
    with pytest.raises(AnnotationError, match=rf"{name}, .*: damaged or cut short"):
        extract_archives(tmp_path)
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    ("cap", "value", "message"),
    [
        ("MAX_FILES", 1, "more than 1 files"),
        ("MAX_BYTES", 5, "more than 5 bytes"),
        ("MAX_BYTES_OF_ANY_RATIO", 5, r"its files are \d+ times its size"),
    ],
)
def test_bombs_are_refused(tmp_path, monkeypatch, cap, value, message):
    write_zip(tmp_path / "a.zip", {"A/x.txt": bytes(50_000), "A/y.txt": bytes(50_000)})
    monkeypatch.setattr(_archive_members, cap, value)
    with pytest.raises(AnnotationError, match=f"a.zip: {message}"):
        extract_archives(tmp_path)
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no file in the archive"),
        (["A/x", "A//x"], "member 'A//x': found twice"),
        (["A", "A/b/c"], "member 'A': both a file and a folder"),
    ],
)
def test_contents_that_cannot_be_files_are_refused(tmp_path, files, message):
    write_zip(tmp_path / "a.zip", dict.fromkeys(files, b"x"))
    with pytest.raises(AnnotationError, match=message):
        extract_archives(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    name=st.sampled_from(["a.zip", "a.tar", "a.tar.gz"]),
)
def test_a_damaged_archive_is_read_or_refused_by_name(tmp_path, edits, name):
    archive = (write_zip if name.endswith("zip") else write_tar)(tmp_path / name, FILES)
    content = bytearray(archive.read_bytes())
    for position, value in edits:
        content[position % len(content)] = value
    archive.write_bytes(content)
    _archive_members._list_state.cache_clear()  # files written in one tick of the clock
    try:
        sizes = list_members(archive)
    except AnnotationError as error:
        assert str(archive) in str(error)
    else:
        assert all(not path.startswith(("/", "..")) for path in sizes)
