"""A data set on disk as the commands name it: `NAME` or `NAME/CONFIG`, and its folder."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts import BUILDERS, get_builder
from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.loading import open_builder

ARGUMENTS = {"name", "config", "data_dir", "cache_dir"}  # of `open_builder`, beside options


@dataclass(frozen=True)
class Source:
    """Name, config and folder of a data set; small, so that processes can share it."""

    name: str
    config: str
    folder: str
    options: dict[str, Any] = field(default_factory=dict)

    def open(self) -> FilesBuilder:
        """Make the builder; nothing is read or prepared.

        Raises:
            ValueError: an option is not known.
            FileNotFoundError: the folder is not there.
        """
        builder = open_builder(self.name, self.config, data_dir=self.folder, **self.options)
        assert isinstance(builder, FilesBuilder)
        return builder

    def __str__(self) -> str:
        return f"{self.name}/{self.config}"


def parse_source(text: str, folder: str | Path, /, **options: Any) -> Source:
    """Read `NAME` or `NAME/CONFIG`; without a config the first one is meant.

    Raises:
        ValueError: there is no such data set or config, or an option is an argument of the command.
    """
    if foreign := ARGUMENTS & options.keys():
        raise ValueError(f"{min(foreign)} is no option of a data set; the command has an argument")
    name, _, config = text.partition("/")
    if name not in BUILDERS:
        raise ValueError(
            f"unknown data set {name!r}; expected one of {', '.join(sorted(BUILDERS))}"
        )
    known = list(get_builder(name).builder_configs)
    if config and config not in known:
        raise ValueError(f"data set {name!r} has no config {config!r}; expected one of {known}")
    return Source(name, config or known[0], str(folder), options)


def list_records(builder: FilesBuilder) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """Records of each split, and what the builder warns of while it finds them.

    Raises:
        ValueError: no split has a record, or the files contradict each other.
        FileNotFoundError: a part of the set is not there.
    """
    root = builder.config.root()
    with _caught_warnings("mtp_hf.dataset_scripts") as warnings:
        splits = builder.list_records(root)
    if not any(len(records) for records in splits.values()):
        raise ValueError(
            f"{root}: no image for any split of {builder.name}/{builder.config.name}; is this the "
            "folder of that data set?"
        )
    return splits, warnings


def read_rows(builder: FilesBuilder, record: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Rows of a record, or why it is left out (`on_error="skip"`).

    Raises:
        AnnotationError: something in a file cannot be right.
    """
    try:
        return [row for _, row in builder.read_record(record)], None
    except AnnotationError as error:
        if builder.config.on_error != "skip":
            raise
        return [], str(error)


@contextlib.contextmanager
def _caught_warnings(name: str) -> Iterator[list[str]]:
    """Collect what the loggers under a name warn of, instead of printing it."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
