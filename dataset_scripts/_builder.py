"""What the builders share: options, cache key, reading record by record, errors that are shown.

A builder of a data set says where its files are (`find_records`) and what one of them means
(`read_record`); everything else is here.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
from datasets.exceptions import DatasetGenerationError

from mtp_hf.dataset_scripts._archives import extract_archives, foreign_archives_hint
from mtp_hf.dataset_scripts._errors import AnnotationError, MissingFileError
from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._readers import MAX_PIXELS
from mtp_hf.dataset_scripts.facts import FACTS

logger = datasets.utils.logging.get_logger(__name__)

ON_ERROR = ("raise", "skip")
NUM_NAMED = 20  # broken files named in the closing message


@dataclass
class FilesConfig(datasets.BuilderConfig):
    """Options of every data set that is read from files.

    Attributes:
        split_seed: seed of a split that is drawn because none is published.
        on_error: `raise` stops at the first image or annotation that cannot be right; `skip`
            leaves its rows out, counts them and lists them at the end.
        max_pixels: images that claim more are refused as decompression bombs.
    """

    split_seed: int = 0
    on_error: str = "raise"
    max_pixels: int = MAX_PIXELS
    # Rows that are held before they are written; None for the library's choice.
    rows_at_once: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_options()

    def check_options(self) -> None:
        """Refuse values of options that mean nothing; subclasses check theirs.

        Raises:
            ValueError: naming option, value and what was expected.
        """
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error={self.on_error!r}; expected one of {ON_ERROR}")

    def root(self) -> Path:
        """Folder of the files; archives in it are extracted first.

        Raises:
            ValueError: no folder was named, or an archive is damaged or dangerous.
            FileNotFoundError: it is not there.
        """
        if self.data_dir is None:
            raise ValueError(
                f"config {self.name!r}: data_dir is missing; expected the folder of the data set"
            )
        root = Path(self.data_dir).expanduser().resolve()
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; expected the data set's files there")
        extract_archives(root, self.wants_archive)
        return root

    def wants_archive(self, archive: Path) -> bool:
        """Whether this config reads anything of an archive in the folder."""
        return True

    def fingerprint(self) -> str:
        """Hash of names, sizes and times of the files that decide the rows."""
        return hash_files(self.root())

    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None
    ) -> str:
        """Name of the cache folder: config, options and fingerprint of the files."""
        # The library writes options into a copy of a config with a name, which skips __post_init__.
        self.check_options()
        options = {name: value for name, value in config_kwargs.items() if value is not None}
        if self.data_dir is not None:
            options["data_dir"] = str(Path(self.data_dir).expanduser().resolve())
            options["files"] = self.fingerprint()
        return super().create_config_id(options, custom_features)


class FilesBuilder(datasets.GeneratorBasedBuilder):
    """Read a data set from its files; subclasses define `find_records` and `read_record`.

    A record is what is read at once, usually one image with its annotations; it is a small
    picklable value, so that several processes can share the list of them.
    """

    BUILDER_CONFIG_CLASS = FilesConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        asked: int | None = kwargs.get("writer_batch_size")
        self._writer_batch_size = asked or self.config.rows_at_once
        if facts := FACTS.get(self.name):
            self.info.homepage = facts.homepage
            self.info.license = facts.terms
            self.info.citation = facts.citation

    def find_records(self, root: Path) -> dict[str, Sequence[Any]]:
        """Records of each split, in a fixed order; only files are listed here, none is read."""
        raise NotImplementedError("a builder says which records its files make")

    def read_record(self, record: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Unique keys and rows of one record: one, or one per tile.

        Raises:
            AnnotationError: something in a file cannot be right.
        """
        raise NotImplementedError("a builder says what is in a record")

    def list_records(self, root: Path) -> dict[str, Sequence[Any]]:
        """`find_records`, whose error names archives that only other programs can read.

        Raises:
            FileNotFoundError: a part of the set is not there.
        """
        try:
            return self.find_records(root)
        except FileNotFoundError as error:
            if hint := foreign_archives_hint(root):
                raise FileNotFoundError(f"{error}{hint}") from None
            raise

    def _split_generators(
        self, dl_manager: datasets.DownloadManager
    ) -> list[datasets.SplitGenerator]:
        root = self.config.root()
        splits = self.list_records(root)
        empty = [split for split, records in splits.items() if not records]
        if empty or not splits:
            raise AnnotationError(
                f"{root}: no image for {', '.join(empty) or 'any split'} of config"
                f" {self.config.name!r}{foreign_archives_hint(root)}"
            )
        return [
            # The one list here is what num_proc and streaming divide.
            datasets.SplitGenerator(name=split, gen_kwargs={"records": list(records)})
            for split, records in splits.items()
        ]

    def _generate_examples(self, records: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        skipped: list[str] = []
        for record in records:
            try:
                # A record is whole or left out, so its rows are read before the first is given.
                rows = self.read_record(record)
                yield from rows if self.config.on_error == "raise" else list(rows)
            except AnnotationError as error:
                if self.config.on_error == "raise":
                    raise
                skipped.append(str(error))
        if skipped:
            more = len(skipped) - NUM_NAMED
            logger.warning(
                f"{len(skipped)} of {len(records)} records left out (on_error='skip'):\n  "
                + "\n  ".join(skipped[:NUM_NAMED])
                + (f"\n  and {more} more" if more > 0 else "")
            )

    def _as_dataset(self, split: Any = None, in_memory: bool = False) -> datasets.Dataset:
        """Say of which split no row is left; the library says that an instruction has no data."""
        info = (self.info.splits or {}).get(str(split))
        if info is not None and not info.num_examples:
            drops_tiles = getattr(self.config, "keep_empty", True) is False
            hint = "; keep_empty=True keeps tiles without objects" if drops_tiles else ""
            raise AnnotationError(
                f"{self.config.data_dir}: no record of split {str(split)!r} of config "
                f"{self.config.name!r} gives a row (on_error={self.config.on_error!r}{hint}); "
                "expected some"
            )
        return super()._as_dataset(split, in_memory)

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[tuple]:
        """Let our own messages through; the library hides them behind a general one."""
        try:
            yield from super()._prepare_split_single(*args, **kwargs)
        except DatasetGenerationError as error:
            cause = error.__cause__
            if isinstance(cause, MissingFileError):  # an OSError, which is hidden once more
                raise AnnotationError(str(cause)) from None
            if isinstance(cause, AnnotationError):
                raise cause from None
            raise


def hash_files(root: Path) -> str:
    """Hash of the names, sizes and times of all files under a folder; hidden ones do not count."""
    digest = hashlib.sha256()
    for folder in walk_folders(root):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isfile(path):
                stat = os.stat(path)
                place = os.path.relpath(path, root)
                digest.update(f"{place}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
