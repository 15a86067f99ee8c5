"""Extract the archives of a data set, once, to where they would lie unpacked by hand.

An archive whose files share one top folder is extracted into its own folder, any other one, or one
called like a split, into a folder of its name beside it (`labelTxt.zip` to `labelTxt/`), so
builders see the tree that people get who extract it themselves. Files that are there already are
left alone, also where they lie beside the archive without their one top folder. A hidden record
(`.NAME.extracted`) says which state of the archive was extracted and which files that wrote: a
finished extraction is reused, a changed archive takes the place of its former files.
"""

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets.utils import logging, tqdm
from filelock import FileLock

from mtp_hf.dataset_scripts._archive_members import (
    TAR_SUFFIXES,
    ZIP_SUFFIXES,
    Member,
    archive_state,
    list_members,
    naming,
    read_members,
    safe_path,
)
from mtp_hf.dataset_scripts._readers import AnnotationError

logger = logging.get_logger(__name__)

# Packers whose formats Python cannot read, with the command that extracts them.
FOREIGN_COMMANDS = {".rar": "unrar x", ".7z": "7z x"}
# The name of such an archive says what its files do not: `test.zip` of `images/...`.
SPLIT_NAMES = ("train", "val", "valid", "validation", "test")
MAX_NESTING = 3  # archives in archives
CHUNK_BYTES = 2**20


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
        return record["state"] == list(archive_state(archive)) and tops
    sizes = list_members(archive)
    for target in (archive.parent, archive.parent / _stem(archive)):
        if all((target / path).is_file() for path in sizes):
            if os.access(archive.parent, os.W_OK):
                _write_record(archive, target, sizes, written=[])
            return True
    return _is_there_flat(archive, sizes)


def _is_there_flat(archive: Path, sizes: dict[str, int]) -> bool:
    """Whether somebody moved the files of the one top folder beside the archive.

    Other archives have files of the same names, so lengths have to agree.
    """
    flat = {path.partition("/")[2]: size for path, size in sizes.items()}
    if len({path.split("/")[0] for path in sizes}) > 1 or "" in flat:
        return False
    files = {archive.parent / path: size for path, size in flat.items()}
    if not all(file.is_file() and file.stat().st_size == size for file, size in files.items()):
        return False
    if os.access(archive.parent, os.W_OK):
        _write_record(archive, archive.parent, flat, written=[])
    return True


def _extract(archive: Path) -> None:
    sizes = list_members(archive)
    parent = archive.parent
    needed, free = sum(sizes.values()), shutil.disk_usage(parent).free
    if needed > free:
        raise OSError(f"{archive}: needs {needed:,} bytes in {parent}, where {free:,} are free")
    target = _find_target(archive, sizes)
    partial = parent / f".{archive.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for folder in {os.path.dirname(path) for path in sizes}:
            (partial / folder).mkdir(parents=True, exist_ok=True)
        with tqdm(total=needed, unit="B", unit_scale=True, desc=f"Extract {archive.name}") as bar:
            for member in read_members(archive):
                if path := safe_path(archive, member.name):
                    _write_member(archive, member, f"{partial}/{path}", bar.update)
        former = _read_record(archive)
        for path in former["written"] if former else []:
            (parent / str(safe_path(archive, path))).unlink(missing_ok=True)
        written = _move_all(archive, sizes, partial, target)
        _write_record(archive, target, sizes, written)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info(f"{archive}: {len(written)} of {len(sizes)} files extracted to {target}")


def _find_target(archive: Path, sizes: dict[str, int]) -> Path:
    """The archive's own folder for one top folder, else one of its name."""
    stem = _stem(archive)
    tops = {path.split("/")[0] if "/" in path else "" for path in sizes}
    is_loose = len(tops) > 1 or tops == {""}
    says_more = stem.lower() in SPLIT_NAMES and {stem.lower()} != {top.lower() for top in tops}
    return archive.parent / stem if is_loose or says_more else archive.parent


def _write_member(archive: Path, member: Member, file: str, progress: Callable[[int], Any]) -> None:
    name, size = f"member {member.name!r}", 0
    with open(file, "xb") as out:
        with naming(archive, name):
            source = member.open()
        with source:
            while True:
                with naming(archive, name):
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


def _stem(archive: Path) -> str:
    name = archive.name
    return next(name[: -len(s)] for s in ZIP_SUFFIXES + TAR_SUFFIXES if name.lower().endswith(s))


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
    record = {"state": archive_state(archive), "tops": sorted(tops), "written": paths}
    partial = _record_file(archive).with_suffix(".writing")
    partial.write_text(json.dumps(record), encoding="utf-8")
    os.replace(partial, _record_file(archive))
