"""Files that are whole or not there, whatever moment the process or the machine stops at.

A file is written under another name, flushed to the disk and renamed; the folder is flushed too,
because a rename is a change of the folder.
"""

import errno
import os
from pathlib import Path


def write_durably(path: Path, text: str) -> None:
    """Write or replace a text file; a reader finds the old text or the new one, never a part."""
    temporary = temporary_name(path)
    temporary.write_text(text, encoding="utf-8")
    flush_file(temporary)
    temporary.replace(path)
    flush_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """Return the name that a file has while it is written; a kill may leave it behind."""
    return path.with_name(f".{path.name}.tmp")


def flush_file(path: Path) -> None:
    """Wait until a file is on the disk, whichever process of this machine wrote it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can do that."""
    try:
        flush_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
