"""Read all of a data set without preparing it, and collect what is wrong.

Records are read in several processes; a record that cannot be read is a finding and the reading
goes on. Files are compared by content only where their sizes are equal.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.datasets_command.families import Family, family_of
from mtp_hf.datasets_command.pictures import Header, hash_file
from mtp_hf.datasets_command.processes import map_in_order
from mtp_hf.datasets_command.row_summary import (
    BROKEN,
    LEAVES,
    MISSING,
    NO_AREA,
    NO_LABELS,
    NO_OBJECT,
    Flaw,
    RowSummary,
    summarize_row,
)
from mtp_hf.datasets_command.source import Source, list_records

ID_TWICE = "ids used twice in a split"
ID_IN_SPLITS = "ids used in several splits"
PICTURE_TWICE = "the same picture twice in a split"
PICTURE_IN_SPLITS = "the same picture in several splits"
NO_EXAMPLE = "classes without an example"
OTHER_COUNT = "not as many pictures as published"
NO_SPLIT = "published splits that are not there"
WARNED = "warnings while looking for files"
REMARKS = {
    LEAVES,
    NO_AREA,
    NO_OBJECT,
    NO_LABELS,
    ID_IN_SPLITS,
    NO_EXAMPLE,
    OTHER_COUNT,
    NO_SPLIT,
    WARNED,
}
CHUNK = 16  # records that a process gets at once


@dataclass
class SplitNumbers:
    """Numbers of one split.

    Attributes:
        class_counts: objects, pictures or pixels by label; the first column of objects counts.
        num_objects: objects of each picture, by column.
        boxes: x y width height of all objects, by column.
    """

    num_records: int
    num_images: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    class_counts: dict[str, np.ndarray] = field(default_factory=dict)
    num_objects: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    boxes: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class Finding:
    """Things of one kind in one split; `split` names all that are concerned."""

    kind: str
    split: str
    items: list[str]

    @property
    def is_error(self) -> bool:
        """Whether it makes the check fail."""
        return self.kind not in REMARKS


@dataclass
class Report:
    """What a check found."""

    source: Source
    family: Family
    splits: dict[str, SplitNumbers]
    findings: list[Finding]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong; remarks do not count."""
        return not any(finding.is_error for finding in self.findings)


def check_source(
    source: Source, *, num_proc: int = 1, decode: bool = False, show_progress: bool = True
) -> Report:
    """Read every record of a data set.

    Args:
        source: the data set.
        num_proc: processes that read.
        decode: read all pixels of all pictures.
        show_progress: draw a progress bar.

    Raises:
        ValueError: the files cannot be listed, or contradict each other.
        FileNotFoundError: a part of the set is not there.
    """
    builder = source.open()
    family = family_of(builder)
    splits, warnings = list_records(builder)
    numbers = {split: SplitNumbers(len(records)) for split, records in splits.items()}
    flaws: dict[str, list[Flaw]] = {split: [] for split in splits}
    pictures: dict[str, list[_Picture]] = {split: [] for split in splits}
    chunks = [
        (split, records[start : start + CHUNK])
        for split, records in splits.items()
        for start in range(0, len(records), CHUNK)
    ]
    read = map_in_order(
        functools.partial(_read_chunk, decode=decode),
        [records for _, records in chunks],
        source,
        builder,
        num_proc=num_proc,
    )
    total = sum(map(len, splits.values()))
    with tqdm(total=total, unit=" records", disable=not show_progress) as bar:
        for (split, records), (summaries, broken) in zip(chunks, read, strict=True):
            bar.update(len(records))
            flaws[split] += broken
            for summary in summaries:
                _add(numbers[split], summary, family)
                flaws[split] += summary.flaws
                if len(summary.headers) == len(family.pictures):
                    picture = _Picture(summary.image_id, summary.name, tuple(summary.headers))
                    pictures[split].append(picture)
    findings = [
        Finding(kind, split, [flaw.where for flaw in flaws[split] if flaw.kind == kind])
        for split in splits
        for kind in dict.fromkeys(flaw.kind for flaw in flaws[split])
    ]
    findings = [_or_no_labels(finding, numbers[finding.split]) for finding in findings]
    findings += _find_repeated_ids(pictures) + _find_repeated_pictures(pictures)
    findings += _remarks(source, family, numbers, warnings)
    findings.sort(key=lambda finding: not finding.is_error)
    return Report(source, family, numbers, findings)


@dataclass(frozen=True)
class _Picture:
    image_id: str
    name: str
    headers: tuple[Header, ...]


def _read_chunk(
    builder: FilesBuilder, records: Sequence[Any], decode: bool
) -> tuple[list[RowSummary], list[Flaw]]:
    family = family_of(builder)
    summaries: list[RowSummary] = []
    broken: list[Flaw] = []
    for record in records:
        try:
            for _, row in builder.read_record(record):
                summaries.append(summarize_row(row, family, decode=decode))
        except FileNotFoundError as error:
            broken.append(Flaw(MISSING, str(error.filename or error)))
        except (ValueError, OSError) as error:
            broken.append(Flaw(BROKEN, str(error)))
    return summaries, broken


def _add(numbers: SplitNumbers, summary: RowSummary, family: Family) -> None:
    num_classes = len(family.class_names)
    numbers.num_images += 1
    if summary.headers:
        numbers.sizes[summary.headers[0].width, summary.headers[0].height] += 1
    counts: dict[str, np.ndarray] = {}
    for column, found in summary.objects.items():
        numbers.num_objects[column].append(len(found.labels))
        numbers.boxes[column].append(found.boxes)
        inside = found.labels[(found.labels >= 0) & (found.labels < num_classes)]
        counts[column] = np.bincount(inside, minlength=num_classes)
    if summary.class_counts is not None:
        what = "pictures" if family.mask is None else "pixels"
        counts[what] = summary.class_counts[:num_classes]
    for what, found_counts in counts.items():
        before = numbers.class_counts.get(what, np.zeros(num_classes, np.int64))
        numbers.class_counts[what] = before + found_counts


def _or_no_labels(finding: Finding, numbers: SplitNumbers) -> Finding:
    """Say once that a whole split, such as a test split, has no labels."""
    if finding.kind == NO_OBJECT and len(finding.items) == numbers.num_images:
        return Finding(NO_LABELS, finding.split, [f"{numbers.num_images} pictures, no object"])
    return finding


def _find_repeated_ids(pictures: dict[str, list[_Picture]]) -> list[Finding]:
    findings = []
    splits_of: dict[str, list[str]] = defaultdict(list)
    for split, found in pictures.items():
        counts = Counter(picture.image_id for picture in found)
        twice = [f"{name!r}, {count} times" for name, count in counts.items() if count > 1]
        findings.append(Finding(ID_TWICE, split, twice))
        for image_id in counts:
            splits_of[image_id].append(split)
    shared: dict[str, list[str]] = defaultdict(list)
    for image_id, splits in splits_of.items():
        if len(splits) > 1:
            shared[" and ".join(splits)].append(repr(image_id))
    findings += [Finding(ID_IN_SPLITS, splits, ids) for splits, ids in shared.items()]
    return [finding for finding in findings if finding.items]


def _find_repeated_pictures(pictures: dict[str, list[_Picture]]) -> list[Finding]:
    """Pictures of equal content; of change pairs both must be equal."""
    all_pictures = [(split, picture) for split, found in pictures.items() for picture in found]
    same_length: dict[tuple, list[tuple[str, _Picture]]] = defaultdict(list)
    for split, picture in all_pictures:
        key = tuple(header.num_bytes for header in picture.headers)
        same_length[key].append((split, picture))
    groups: dict[tuple, list[tuple[str, _Picture]]] = defaultdict(list)
    for candidates in same_length.values():
        for split, picture in candidates if len(candidates) > 1 else ():
            groups[tuple(map(_digest, picture.headers))].append((split, picture))
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group in groups.values():
        if len(group) > 1:
            splits = list(dict.fromkeys(split for split, _ in group))
            kind = PICTURE_TWICE if len(splits) == 1 else PICTURE_IN_SPLITS
            names = " = ".join(picture.name for _, picture in group)
            found[kind, " and ".join(splits)].append(names)
    return [Finding(kind, splits, items) for (kind, splits), items in found.items()]


def _digest(header: Header) -> str:
    return header.digest or hash_file(str(header.path))


def _remarks(
    source: Source, family: Family, numbers: dict[str, SplitNumbers], warnings: list[str]
) -> list[Finding]:
    findings = []
    published = FACTS[source.name].counts.get(source.config, {}) if source.name in FACTS else {}
    for split, found in numbers.items():
        what, counts = next(iter(found.class_counts.items()), ("", np.zeros(0)))
        absent = [family.class_names[label] for label in np.flatnonzero(counts == 0)]
        if absent and counts.any():
            findings.append(Finding(NO_EXAMPLE, f"{split}, {what}", [", ".join(absent)]))
        if published.get(split, found.num_images) != found.num_images:
            item = f"{found.num_images} of {published[split]}"
            findings.append(Finding(OTHER_COUNT, split, [item]))
    if absent := [split for split in published if split not in numbers]:
        findings.append(Finding(NO_SPLIT, "all", absent))
    return findings + ([Finding(WARNED, "all", warnings)] if warnings else [])
