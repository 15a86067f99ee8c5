"""Turn a data set on disk into a folder of Parquet shards that holds its pictures.

    OUT/README.md                          card, written last: with it the folder is whole
    OUT/conversion.json                    what was converted, and how it is cut into shards
    OUT/data/train-00000-of-00004.parquet  written under another name, then renamed
    OUT/.work/                             unfinished shards, and notes on the finished ones

The cut is decided once, from the sizes of a few records, and kept, so that a conversion that was
killed goes on with the shards that are missing.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets.arrow_writer import ParquetWriter
from tqdm import tqdm

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.datasets_command.processes import end_with_parent
from mtp_hf.datasets_command.source import Source, list_records, read_rows

PLAN_FILE, CARD_FILE, DATA_FOLDER, WORK_FOLDER = "conversion.json", "README.md", "data", ".work"
SAMPLED_RECORDS = 8  # looked at to decide how many records make a shard
BATCH_BYTES = 64 * 2**20  # rows of so many bytes are held at once
LARGEST_BATCH = 100


@dataclass
class SplitPlan:
    """How a split is cut, and, when all its shards are there, what they hold."""

    num_records: int
    records_per_shard: int
    rows_per_batch: int
    num_rows: int = 0
    num_bytes: int = 0
    skipped: list[str] = field(default_factory=list)

    @property
    def num_shards(self) -> int:
        """Files of the split."""
        return -(-self.num_records // self.records_per_shard)


@dataclass
class Plan:
    """What is converted, and how it is cut; `conversion.json`."""

    name: str
    config: str
    options: dict[str, Any]
    files: str  # fingerprint
    splits: dict[str, SplitPlan]

    def same_source(self, other: "Plan") -> str | None:
        """Name of the first field in which two plans differ."""
        for key in ("name", "config", "options", "files"):
            if getattr(self, key) != getattr(other, key):
                return key
        return None


def convert_source(
    source: Source, out: Path, *, shard_bytes: int, num_proc: int = 1, show_progress: bool = True
) -> Plan:
    """Write the shards that are missing.

    Args:
        source: the data set.
        out: a new folder, or that of a conversion that broke off.
        shard_bytes: size that a shard comes near.
        num_proc: processes that write.
        show_progress: draw a progress bar.

    Returns:
        The plan with the numbers of rows; the card is not written yet.

    Raises:
        ValueError: a file cannot be right, or the folder holds something else.
        FileNotFoundError: a part of the set is not there.
    """
    builder = source.open()
    if out.resolve().is_relative_to(builder.config.root()):
        raise ValueError(
            f"{out} is in the folder of the data set, {source.folder}, whose files it would add to;"
            " expected a folder elsewhere"
        )
    splits, _ = list_records(builder)
    if empty := [split for split, records in splits.items() if not records]:
        raise ValueError(f"{source}: no image for {', '.join(empty)}; expected some or no split")
    plan = _make_plan(source, builder, splits, out, shard_bytes)
    (out / DATA_FOLDER).mkdir(exist_ok=True)
    (out / WORK_FOLDER).mkdir(exist_ok=True)
    jobs = [
        (split, index, cut)
        for split, split_plan in plan.splits.items()
        for index, cut in enumerate(_cut(splits[split], split_plan.records_per_shard))
        if not _is_finished(out, plan, split, index)
    ]
    total = sum(len(records) for _, _, records in jobs)
    with tqdm(total=total, unit=" records", disable=not show_progress) as bar:
        if num_proc <= 1 or len(jobs) <= 1:
            for split, index, records in jobs:
                _write_shard(builder, out, plan, split, index, records)
                bar.update(len(records))
        else:
            with ProcessPoolExecutor(num_proc, initializer=end_with_parent) as pool:
                running = {pool.submit(_write_in_process, source, out, plan, *job) for job in jobs}
                try:
                    for done in as_completed(running):
                        bar.update(done.result())
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
    _add_numbers(plan, out)
    return plan


def shard_name(split: str, index: int, num_shards: int) -> str:
    """Name of a shard, as the Hub names them."""
    return f"{split}-{index:05}-of-{num_shards:05}.parquet"


def finish(plan: Plan, out: Path, card: str) -> None:
    """Write the numbers and the card, and remove what was needed on the way."""
    replace_text(out / PLAN_FILE, json.dumps(dataclasses.asdict(plan), indent=2))
    replace_text(out / CARD_FILE, card)
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)


def read_plan(out: Path) -> Plan | None:
    """Plan of a folder; None where there is none.

    Raises:
        ValueError: the file is damaged.
    """
    file = out / PLAN_FILE
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        splits = {split: SplitPlan(**found) for split, found in values.pop("splits").items()}
        return Plan(**values, splits=splits)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file}: damaged ({error}); remove the folder and convert anew") from None


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that it is whole or not there."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    os.replace(new, path)


def _make_plan(
    source: Source,
    builder: FilesBuilder,
    splits: dict[str, Sequence[Any]],
    out: Path,
    shard_bytes: int,
) -> Plan:
    plan = Plan(source.name, source.config, source.options, builder.config.fingerprint(), {})
    before = read_plan(out)
    if before is not None:
        if key := before.same_source(plan):
            raise ValueError(
                f"{out} holds a conversion with other {key}: {getattr(before, key)!r}, now "
                f"{getattr(plan, key)!r}; expected a new folder, or the same data set"
            )
        return before
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(
            f"{out} is not empty and holds no {PLAN_FILE}; expected a new folder, or one of a "
            "conversion that broke off"
        )
    for split, records in splits.items():
        bytes_a_record, bytes_a_row = _measure(builder, records)
        per_shard = max(1, int(shard_bytes / bytes_a_record))
        batch = int(np.clip(BATCH_BYTES / bytes_a_row, 1, LARGEST_BATCH))
        plan.splits[split] = SplitPlan(len(records), min(per_shard, len(records)), batch)
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / PLAN_FILE, json.dumps(dataclasses.asdict(plan), indent=2))
    return plan


def _measure(builder: FilesBuilder, records: Sequence[Any]) -> tuple[float, float]:
    """Bytes of a record and of a row, from a few records."""
    positions = np.linspace(0, len(records) - 1, min(SAMPLED_RECORDS, len(records))).astype(int)
    sizes: list[list[int]] = []
    for position in positions:
        rows, _ = read_rows(builder, records[position])
        sizes.append([_num_bytes(row) for row in rows])
    total, num_rows = sum(map(sum, sizes)), sum(map(len, sizes))
    return max(1.0, total / len(sizes)), max(1.0, total / max(1, num_rows))


def _num_bytes(value: Any) -> int:
    """Bytes that a value of a row takes; a path counts as its file."""
    if isinstance(value, dict) and value.get("bytes") is not None:
        return len(value["bytes"])
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_num_bytes, value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, str):
        return os.path.getsize(value) if os.path.isabs(value) else len(value)
    return 8


def _cut(records: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(records), size):
        yield records[start : start + size]


def _paths(out: Path, plan: Plan, split: str, index: int) -> tuple[Path, Path]:
    """A shard, and the notes on it."""
    name = shard_name(split, index, plan.splits[split].num_shards)
    return out / DATA_FOLDER / name, out / WORK_FOLDER / f"{name}.json"


def _is_finished(out: Path, plan: Plan, split: str, index: int) -> bool:
    shard, notes = _paths(out, plan, split, index)
    is_whole = plan.splits[split].num_rows > 0  # all shards were there
    return shard.is_file() and (is_whole or notes.is_file())


def _write_in_process(
    source: Source, out: Path, plan: Plan, split: str, index: int, records: Sequence[Any]
) -> int:
    _write_shard(source.open(), out, plan, split, index, records)
    return len(records)


def _write_shard(
    builder: FilesBuilder, out: Path, plan: Plan, split: str, index: int, records: Sequence[Any]
) -> None:
    shard, notes = _paths(out, plan, split, index)
    features = builder.info.features
    # A process that outlives a killed command may write the same shard.
    unfinished = out / WORK_FOLDER / f"{shard.name}.{os.getpid()}"
    skipped: list[str] = []
    with ParquetWriter(
        features=features,
        path=str(unfinished),
        writer_batch_size=plan.splits[split].rows_per_batch,
        embed_local_files=True,
    ) as writer:
        for record in records:
            rows, reason = read_rows(builder, record)
            skipped += [reason] if reason is not None else []
            for row in rows:
                writer.write(features.encode_example(row))
        num_rows, num_bytes = writer.finalize()
    found = {"num_rows": num_rows, "num_bytes": num_bytes, "skipped": skipped}
    replace_text(notes, json.dumps(found))
    os.replace(unfinished, shard)


def _add_numbers(plan: Plan, out: Path) -> None:
    """Sum up the notes on all shards; a folder that was whole has its numbers already."""
    for split, split_plan in plan.splits.items():
        if split_plan.num_rows:
            continue
        for index in range(split_plan.num_shards):
            found = json.loads(_paths(out, plan, split, index)[1].read_text(encoding="utf-8"))
            split_plan.num_rows += found["num_rows"]
            split_plan.num_bytes += found["num_bytes"]
            split_plan.skipped += found["skipped"]
        if not split_plan.num_rows:
            raise ValueError(f"split {split!r}: all {split_plan.num_records} records were skipped")
