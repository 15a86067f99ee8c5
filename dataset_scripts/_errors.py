"""Errors of files of a data set, which `on_error` decides about."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class AnnotationError(ValueError):
    """A dataset file whose content cannot be right; the message names the file and the field."""


class MissingFileError(AnnotationError, FileNotFoundError):
    """A file that is listed but not there; `on_error="skip"` leaves its record out."""


@contextlib.contextmanager
def naming_absent(path: str | Path) -> Iterator[None]:
    """Turn what the system says about a file that cannot be opened into our own errors.

    Raises:
        MissingFileError: it is not there.
        AnnotationError: it is a folder, or may not be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError(
            f"{path}: not there, or a link that leads nowhere; expected a file"
        ) from None
    except (PermissionError, IsADirectoryError) as error:
        raise AnnotationError(f"{path}: {error.strerror}; expected a file to read") from None
