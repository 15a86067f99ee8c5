"""Extract the archives of a data set, once, to where they would lie unpacked by hand.

An archive whose files share one top folder is extracted into its own folder, any other one into a
folder of its name beside it (`labelTxt.zip` to `labelTxt/`), so builders see the tree that people
get who extract it themselves. Files that are there already are left alone. A hidden record
(`.NAME.extracted`) says which state of the archive was extracted and which files that wrote: a
finished extraction is reused, a changed archive takes the place of its former files.

An archive is data from the net: paths that leave the folder, links, devices, encrypted members and
bombs are refused with the names of archive and member. Hidden files and the copies that macOS adds
are left out.
"""

import contextlib
import functools
import json
import os
import re
import shlex
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from datasets.utils import logging, tqdm
from filelock import FileLock

from mtp_hf.dataset_scripts._readers import AnnotationError

logger = logging.get_logger(__name__)

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Packers whose formats Python cannot read, with the command that extracts them.
FOREIGN_COMMANDS = {".rar": "unrar x", ".7z": "7z x"}
MAX_FILES = 1_000_000
MAX_BYTES = 2**40  # 1 TiB; the largest of the sets needs less than a tenth
# Masks of whole cities shrink a few hundred times, so small archives may.
MAX_RATIO = 100
MAX_BYTES_OF_ANY_RATIO = 2 * 2**30
MAX_NESTING = 3  # archives in archives
CHUNK_BYTES = 2**20


class Member(NamedTuple):
    """A file in an archive: its name as written there, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract_archives(root: Path, wanted: Callable[[Path], bool] = lambda archive: True) -> None:
    """Extract every zip and tar under a folder whose files are not there yet.

    Args:
        root: folder of a data set; archives inside extracted archives are extracted as well.
        wanted: whether an archive is of use; the others are left alone.

    Raises:
        AnnotationError: an archive is damaged, encrypted or dangerous.
        OSError: the folder cannot be written, or has not enough space.
    """
    for _ in range(MAX_NESTING):
        missing = [path for path in _find_archives(root) if wanted(path) and not _is_there(path)]
        if not missing:
            return
        for archive in missing:
            if not os.access(archive.parent, os.W_OK):
                raise PermissionError(
                    f"{archive}: not extracted and its folder cannot be written; expected a copy "
                    "of it in another folder, or its files beside it"
                )
            # Other processes of a job wait here, then find the files.
            with FileLock(archive.parent / f".{archive.name}.lock"):
                if not _is_there(archive):
                    _extract(archive)
    left = [path for path in _find_archives(root) if wanted(path) and not _is_there(path)]
    if left:
        raise AnnotationError(
            f"{left[0]}: an archive in {MAX_NESTING} or more archives; expected fewer"
        )


def foreign_archives_hint(root: Path) -> str:
    """What to do about archives that only other programs can read; empty if there are none."""
    found = sorted(p for s in FOREIGN_COMMANDS for p in root.rglob(f"*{s}"))
    commands = [
        f"cd {shlex.quote(str(p.parent))} && {FOREIGN_COMMANDS[p.suffix]} {shlex.quote(p.name)}"
        for p in found
    ]
    return f"; extract the archive first: {' ; '.join(commands)}" if found else ""


def list_members(archive: Path) -> dict[str, int]:
    """Safe relative paths and sizes of all files in an archive.

    Raises:
        AnnotationError: the archive is damaged, encrypted or dangerous.
    """
    return _list_state(archive, *_state(archive))


@functools.lru_cache(maxsize=4)
def _list_state(archive: Path, packed: int, time_ns: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    total = 0
    for number, member in enumerate(_members(archive), start=1):
        total += member.size
        _check_caps(archive, number, packed, total)
        path = _safe_path(archive, member.name)
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


def _find_archives(root: Path) -> list[Path]:
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [
            Path(folder, name)
            for name in sorted(names)
            if name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES) and not name.startswith(".")
        ]
    return found


def _is_there(archive: Path) -> bool:
    """Whether the files of an archive lie beside it, extracted by us or by hand."""
    record = _read_record(archive)
    if record is not None:
        tops = all((archive.parent / top).exists() for top in record["tops"])
        return record["state"] == _state(archive) and tops
    sizes = list_members(archive)
    for target in (archive.parent, archive.parent / _stem(archive)):
        if all((target / path).is_file() for path in sizes):
            if os.access(archive.parent, os.W_OK):
                _write_record(archive, target, sizes, written=[])
            return True
    return False


def _extract(archive: Path) -> None:
    sizes = list_members(archive)
    parent = archive.parent
    needed, free = sum(sizes.values()), shutil.disk_usage(parent).free
    if needed > free:
        raise OSError(f"{archive}: needs {needed:,} bytes in {parent}, where {free:,} are free")
    one_top = len({path.split("/")[0] for path in sizes}) == 1 and all("/" in p for p in sizes)
    target = parent if one_top else parent / _stem(archive)
    partial = parent / f".{archive.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for folder in {os.path.dirname(path) for path in sizes}:
            (partial / folder).mkdir(parents=True, exist_ok=True)
        with tqdm(total=needed, unit="B", unit_scale=True, desc=f"Extract {archive.name}") as bar:
            for member in _members(archive):
                if path := _safe_path(archive, member.name):
                    _write_member(archive, member, f"{partial}/{path}", bar.update)
        former = _read_record(archive)
        for path in former["written"] if former else []:
            (parent / str(_safe_path(archive, path))).unlink(missing_ok=True)
        written = _move_all(archive, sizes, partial, target)
        _write_record(archive, target, sizes, written)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info(f"{archive}: {len(written)} of {len(sizes)} files extracted to {target}")


def _write_member(archive: Path, member: Member, file: str, progress: Callable[[int], Any]) -> None:
    name, size = f"member {member.name!r}", 0
    with open(file, "xb") as out:
        with _naming(archive, name):
            source = member.open()
        with source:
            while True:
                with _naming(archive, name):
                    chunk = source.read(CHUNK_BYTES)
                if not chunk:
                    break
                size += len(chunk)
                out.write(chunk)
                progress(len(chunk))
    if size != member.size:
        raise AnnotationError(
            f"{archive}, member {member.name!r}: {size:,} bytes; expected {member.size:,}"
        )


def _move_all(archive: Path, sizes: dict[str, int], partial: Path, target: Path) -> list[str]:
    """Put whole files in their places, those of a new top folder at once; which were put."""
    target.mkdir(exist_ok=True)
    tops = {path.split("/")[0] for path in sizes}
    new = {top for top in tops if not (target / top).exists()}
    written = [
        path
        for path in sizes
        if path.split("/")[0] in new or _move(archive, partial / path, target / path)
    ]
    for top in sorted(new):
        os.replace(partial / top, target / top)
    return written


def _move(archive: Path, source: Path, file: Path) -> bool:
    """Put a file in its place unless an equally long one is there; whether it was put."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, file)
        return True
    if file.stat().st_size != source.stat().st_size:
        raise AnnotationError(
            f"{file}: {file.stat().st_size:,} bytes, but {source.stat().st_size:,} in {archive}; "
            "expected the same file. Move one of the two away"
        )
    return False


def _members(archive: Path) -> Iterator[Member]:
    """Regular files of an archive; anything but these and folders is refused."""
    is_zip = archive.name.lower().endswith(ZIP_SUFFIXES)
    members = _zip_members(archive) if is_zip else _tar_members(archive)
    name = "first member"
    while True:
        with _naming(archive, name):
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
            if info.isreg():
                yield Member(info.name, info.size, functools.partial(_open_tar, file, info))


def _open_tar(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = file.extractfile(info)
    assert source is not None  # of regular files there is one
    return source


@contextlib.contextmanager
def _naming(archive: Path, member: str) -> Iterator[None]:
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


def _safe_path(archive: Path, name: str) -> str | None:
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


def _stem(archive: Path) -> str:
    name = archive.name
    return next(name[: -len(s)] for s in ZIP_SUFFIXES + TAR_SUFFIXES if name.lower().endswith(s))


def _state(archive: Path) -> list[int]:
    status = archive.stat()
    return [status.st_size, status.st_mtime_ns]


def _record_file(archive: Path) -> Path:
    return archive.parent / f".{archive.name}.extracted"


def _read_record(archive: Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return json.loads(_record_file(archive).read_text(encoding="utf-8"))
    return None


def _write_record(archive: Path, target: Path, sizes: dict[str, int], written: list[str]) -> None:
    """Note the state of the archive; paths are relative to its folder."""
    tops = {(target / path.split("/")[0]).relative_to(archive.parent).as_posix() for path in sizes}
    paths = [(target / path).relative_to(archive.parent).as_posix() for path in written]
    record = {"state": _state(archive), "tops": sorted(tops), "written": paths}
    partial = _record_file(archive).with_suffix(".writing")
    partial.write_text(json.dumps(record), encoding="utf-8")
    os.replace(partial, _record_file(archive))
