"""What the system says about a file, in our own errors."""

import pytest

from mtp_hf.dataset_scripts._errors import AnnotationError, MissingFileError, naming_absent


def test_a_missing_file_is_an_error_of_both_kinds():
    assert issubclass(MissingFileError, AnnotationError)
    assert issubclass(MissingFileError, FileNotFoundError)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (FileNotFoundError(2, "no"), MissingFileError, "^a.txt: not there, or a link that leads"),
        (PermissionError(13, "Denied"), AnnotationError, "^a.txt: Denied; expected a file to read"),
        (IsADirectoryError(21, "A folder"), AnnotationError, "^a.txt: A folder; expected a file"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named(error, kind, message):
    with pytest.raises(kind, match=message), naming_absent("a.txt"):
        raise error


def test_errors_of_the_disk_pass():
    with pytest.raises(OSError, match="full") as caught, naming_absent("a.txt"):
        raise OSError(28, "full")
    assert not isinstance(caught.value, AnnotationError)
