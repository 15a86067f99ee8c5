"""Archives for test servers, read without unpacking what no server should unpack."""

import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

MAX_BYTES = 4 << 30  # of one unpacked file

Members = Mapping[str, bytes]


def read_members(path: Path) -> dict[str, bytes]:
    """Read the files of an archive that is safe to unpack.

    Raises:
        ValueError: it is damaged, or has names or kinds of members that no server should unpack.
    """
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                    raise ValueError(f"{path}: member {info.filename!r} leaves the archive")
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise ValueError(f"{path}: member {info.filename!r} is a link")
                if info.filename in members:
                    raise ValueError(f"{path}: member {info.filename!r} is there twice")
                if info.file_size > MAX_BYTES:
                    raise ValueError(f"{path}: member {info.filename!r} has {info.file_size} bytes")
                if not info.is_dir():
                    members[info.filename] = archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path}: no whole zip archive: {error}") from None
    return members


def name_problems(members: Members, expected: Iterable[str], hint: str) -> Iterator[str]:
    """Names that are missing, and those that are there without being expected.

    Args:
        members: of the archive.
        expected: names.
        hint: what is said of a name that is not expected.
    """
    wanted = set(expected)
    yield from (f"{name}: missing" for name in sorted(wanted - set(members)))
    yield from (f"{name}: {hint}" for name in sorted(set(members) - wanted))
