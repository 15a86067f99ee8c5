"""Read what is in a zip or tar, and refuse what a data set has no use for.

An archive is data from the net: paths that leave the folder, links, devices, encrypted members and
bombs are refused with the names of archive and member. Hidden files and the copies that macOS adds
are left out.
"""

import contextlib
import functools
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from mtp_hf.dataset_scripts._readers import AnnotationError

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_FILES = 1_000_000
MAX_BYTES = 2**40  # 1 TiB; the largest of the sets needs less than a tenth
# Masks of whole cities shrink a few hundred times, so small archives may.
MAX_RATIO = 100
MAX_BYTES_OF_ANY_RATIO = 2 * 2**30


class Member(NamedTuple):
    """A file in an archive: its name as written there, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def list_members(archive: Path) -> dict[str, int]:
    """Safe relative paths and sizes of all files in an archive.

    Raises:
        AnnotationError: the archive is damaged, encrypted or dangerous.
    """
    return _list_state(archive, *archive_state(archive))


@functools.lru_cache(maxsize=4)
def _list_state(archive: Path, packed: int, time_ns: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    total = 0
    for number, member in enumerate(read_members(archive), start=1):
        total += member.size
        _check_caps(archive, number, packed, total)
        path = safe_path(archive, member.name)
        if path in sizes:
            raise AnnotationError(f"{archive}, member {member.name!r}: found twice; expected once")
        if path:
            sizes[path] = member.size
            folders |= _folders_above(path)
    if not sizes:
        raise AnnotationError(f"{archive}: no file in the archive; expected some")
    if both := folders & sizes.keys():
        raise AnnotationError(f"{archive}, member {min(both)!r}: both a file and a folder")
    return sizes


def archive_state(archive: Path) -> tuple[int, int]:
    """Size and time of change in nanoseconds."""
    status = archive.stat()
    return status.st_size, status.st_mtime_ns


def read_members(archive: Path) -> Iterator[Member]:
    """Regular files of an archive; anything but these and folders is refused."""
    is_zip = archive.name.lower().endswith(ZIP_SUFFIXES)
    members = _zip_members(archive) if is_zip else _tar_members(archive)
    name = "first member"
    while True:
        with naming(archive, name):
            member = next(members, None)
        if member is None:
            return
        name = f"after member {member.name!r}"
        yield member


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise AnnotationError(f"{archive}, member {info.filename!r}: encrypted")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise AnnotationError(
                    f"{archive}, member {info.filename!r}: a link or device; expected files only"
                )
            if not info.is_dir():
                yield Member(info.filename, info.file_size, functools.partial(file.open, info))


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as file:
        for info in file:
            if not info.isreg() and not info.isdir():
                raise AnnotationError(
                    f"{archive}, member {info.name!r}: a link or device; expected files only"
                )
            if info.size < 0:  # the next header would be this one again, for ever
                raise AnnotationError(f"{archive}, member {info.name!r}: {info.size} bytes")
            if info.isreg():
                yield Member(info.name, info.size, functools.partial(_open_tar, file, info))


def _open_tar(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = file.extractfile(info)
    assert source is not None  # of regular files there is one
    return source


@contextlib.contextmanager
def naming(archive: Path, member: str) -> Iterator[None]:
    """Turn what the readers of archives raise into one error with the names."""
    try:
        yield
    except AnnotationError:
        raise
    except Exception as error:
        # Errors of the disk have a number; zlib, lzma, struct, zipfile and tarfile have many kinds.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise AnnotationError(
            f"{archive}, {member}: damaged or cut short ({type(error).__name__}: {error})"
        ) from None


def safe_path(archive: Path, name: str) -> str | None:
    """Path below the target folder; None for files that carry no data."""
    slashed = name.replace("\\", "/")  # written on Windows
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if slashed.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name) or not parts:
        raise AnnotationError(f"{archive}, member {name!r}: a path that leaves the folder")
    if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
        return None
    return "/".join(parts)


def _folders_above(path: str) -> set[str]:
    return {path[:i] for i, letter in enumerate(path) if letter == "/"}


def _check_caps(archive: Path, num_files: int, packed: int, num_bytes: int) -> None:
    if num_files > MAX_FILES:
        raise AnnotationError(f"{archive}: more than {MAX_FILES:,} files; extract it by hand")
    if num_bytes > MAX_BYTES:
        raise AnnotationError(f"{archive}: more than {MAX_BYTES:,} bytes; extract it by hand")
    ratio = num_bytes / max(packed, 1)
    if ratio > MAX_RATIO and num_bytes > MAX_BYTES_OF_ANY_RATIO:
        raise AnnotationError(
            f"{archive}: its files are {ratio:.0f} times its size, or more; expected at most "
            f"{MAX_RATIO} above {MAX_BYTES_OF_ANY_RATIO:,} bytes. Extract it by hand if it is right"
        )
