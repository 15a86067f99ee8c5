"""Shards: equal rows, resuming, and folders that hold something else."""

import json
import multiprocessing
import os
import signal
import time

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.datasets_command import conversion
from mtp_hf.datasets_command.conversion import convert_source, finish, read_plan, shard_name
from mtp_hf.datasets_command.source import Source, parse_source
from tests.datasets_command.made_sets import clean_rows, write_rows

FAMILIES = ("classification", "detection", "oriented", "segmentation", "change")


@pytest.fixture(autouse=True)
def _made(made_builder):
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def many_rows(count=12):
    rows = [
        {"image_id": f"i{number:02}", "image": f"{number}.png", "label": number % 3}
        for number in range(count)
    ]
    return {"train": rows[2:], "test": rows[:2]}


def convert(source, out, shard_bytes=10_000, num_proc=1, card="---\n---\n"):
    plan = convert_source(
        source, out, shard_bytes=shard_bytes, num_proc=num_proc, show_progress=False
    )
    finish(plan, out, card)
    return plan


@pytest.fixture
def source(tmp_path):
    """Ten rows to train and two to test, of about 4.6 kB each."""
    return parse_source("made/classification", write_rows(tmp_path / "set", many_rows()))


def decoded(rows):
    """Rows with pictures as arrays, fit to be compared."""
    return [
        {
            key: np.asarray(value).tolist() if hasattr(value, "getbands") else value
            for key, value in row.items()
        }
        for row in rows
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_the_shards_are_those_of_the_builder(tmp_path, family):
    root = write_rows(tmp_path / "set", clean_rows(family, tmp_path / "set"))
    source = parse_source(f"made/{family}", root)
    convert(source, tmp_path / "out")
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    builder = source.open()
    assert set(read) == {"train", "validation"}
    for split, rows in read.items():
        assert rows.features == builder.info.features
        assert decoded(rows) == decoded(builder.as_streaming_dataset(split))


def test_pictures_are_in_the_shards_byte_for_byte(source, tmp_path):
    convert(source, tmp_path / "out")
    shard = next(iter(sorted((tmp_path / "out" / "data").glob("train-*"))))
    image = pq.read_table(shard)["image"][0].as_py()
    original = tmp_path / "set" / image["path"]
    assert image == {"path": original.name, "bytes": original.read_bytes()}


def test_shards_come_near_the_size_that_was_asked_for(source, tmp_path):
    plan = convert(source, tmp_path / "out")
    assert plan.splits["train"].records_per_shard == 2
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir()) == [
        shard_name("test", 0, 1),
        *(shard_name("train", index, 5) for index in range(5)),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "conversion.json",
        "data",
    ]


def test_numbers_of_the_plan_are_those_of_the_files(source, tmp_path):
    plan = convert(source, tmp_path / "out")
    assert read_plan(tmp_path / "out") == plan
    assert (plan.splits["train"].num_rows, plan.splits["test"].num_rows) == (10, 2)
    size = sum(path.stat().st_size for path in (tmp_path / "set").glob("*.png"))
    assert size < sum(split.num_bytes for split in plan.splits.values()) < 1.1 * size


def test_several_processes_write_what_one_writes(source, tmp_path):
    for out, num_proc in (("one", 1), ("two", 2)):
        convert(source, tmp_path / out, num_proc=num_proc)
    for shard in (tmp_path / "one" / "data").iterdir():
        assert (tmp_path / "two" / "data" / shard.name).read_bytes() == shard.read_bytes()


def test_a_conversion_that_broke_off_goes_on_and_keeps_its_shards(source, tmp_path, monkeypatch):
    convert(source, tmp_path / "straight")
    out, write, written = tmp_path / "out", conversion._write_shard, []

    def break_off(builder, out, plan, split, index, records):
        if len(written) == 3:
            (out / ".work" / shard_name(split, index, 5)).write_text("half a shard")
            raise KeyboardInterrupt
        written.append((split, index))
        write(builder, out, plan, split, index, records)

    monkeypatch.setattr(conversion, "_write_shard", break_off)
    with pytest.raises(KeyboardInterrupt):
        convert(source, out)
    assert not (out / "README.md").exists()
    times = {path.name: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    assert len(times) == 3
    monkeypatch.setattr(conversion, "_write_shard", write)
    plan = convert(source, out, shard_bytes=1)  # the first cut is kept
    assert plan == read_plan(tmp_path / "straight")
    for shard in (tmp_path / "straight" / "data").iterdir():
        assert (out / "data" / shard.name).read_bytes() == shard.read_bytes()
    assert all((out / "data" / n).stat().st_mtime_ns == when for n, when in times.items())


def test_a_killed_process_leaves_a_folder_that_can_be_finished(source, tmp_path):
    out = tmp_path / "out"
    process = multiprocessing.get_context("fork").Process(
        target=_convert_slowly, args=(source, out)
    )
    process.start()
    while not list(out.glob("data/*.parquet")):
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (out / "README.md").exists()
    convert(source, out)
    rows = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["image_id"][:] == [f"i{number:02}" for number in range(2, 12)]


def _convert_slowly(source, out):
    write = conversion._write_shard

    def slow(*args):
        write(*args)
        time.sleep(0.5)

    conversion._write_shard = slow
    convert(source, out)


def test_processes_that_write_one_shard_do_not_share_a_file(source, tmp_path, monkeypatch):
    paths = []
    writer = conversion.ParquetWriter

    def note(*args, path, **options):
        paths.append(os.path.basename(path))
        return writer(*args, path=path, **options)

    monkeypatch.setattr(conversion, "ParquetWriter", note)
    convert(source, tmp_path / "out")
    assert set(paths) == {
        f"{path.name}.{os.getpid()}" for path in (tmp_path / "out" / "data").iterdir()
    }


def test_a_finished_folder_is_left_as_it_is(source, tmp_path):
    plan = convert(source, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "data").iterdir()}
    assert convert(source, tmp_path / "out") == plan
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_shard_that_was_removed_is_written_again(source, tmp_path):
    plan = convert(source, tmp_path / "out")
    shard = tmp_path / "out" / "data" / shard_name("train", 3, 5)
    before = shard.read_bytes()
    shard.unlink()
    assert convert(source, tmp_path / "out") == plan
    assert shard.read_bytes() == before


@pytest.mark.parametrize("field", ["config", "options", "files"])
def test_a_folder_of_another_conversion_is_refused(source, tmp_path, field):
    convert(source, tmp_path / "out")
    other = source
    if field == "files":
        (tmp_path / "set" / "more.txt").write_text("x")
    elif field == "options":
        other = Source(source.name, source.config, source.folder, {"split_seed": 1})
    else:
        other = parse_source("made/detection", source.folder)
    with pytest.raises(ValueError, match=f"out holds a conversion with other {field}: "):
        convert(other, tmp_path / "out")


def test_a_folder_with_other_files_is_refused(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"out is not empty and holds no conversion\.json"):
        convert(source, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]


def test_a_damaged_plan_is_an_error(source, tmp_path):
    convert(source, tmp_path / "out")
    (tmp_path / "out" / "conversion.json").write_text('{"name": "made"')
    with pytest.raises(ValueError, match=r"conversion\.json: damaged \(.*; remove the folder"):
        convert(source, tmp_path / "out")
    (tmp_path / "out" / "conversion.json").write_text(json.dumps({"name": "made"}))
    with pytest.raises(ValueError, match=r"conversion\.json: damaged"):
        convert(source, tmp_path / "out")


@pytest.fixture
def broken(tmp_path):
    rows = clean_rows("classification", tmp_path / "set")
    rows["train"].insert(1, {"image_id": "x", "image": None, "broken": "row 1 is odd"})
    return write_rows(tmp_path / "set", rows)


def test_a_broken_record_stops_the_conversion(broken, tmp_path):
    with pytest.raises(AnnotationError, match="row 1 is odd"):
        convert(parse_source("made/classification", broken), tmp_path / "out")


def test_a_broken_record_is_left_out_and_noted_if_asked(broken, tmp_path):
    source = parse_source("made/classification", broken, on_error="skip")
    plan = convert(source, tmp_path / "out", shard_bytes=1)
    assert plan.splits["train"].num_rows == 2
    assert [text.rpartition(": ")[2] for text in plan.splits["train"].skipped] == ["row 1 is odd"]
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert rows.num_rows == {"train": 2, "validation": 1}


def test_a_split_of_which_nothing_is_left_is_an_error(tmp_path):
    root = write_rows(tmp_path / "set", {"train": [{"image_id": "x", "broken": "odd"}]})
    source = parse_source("made/classification", root, on_error="skip")
    with pytest.raises(ValueError, match="split 'train': all 1 records were skipped"):
        convert(source, tmp_path / "out")


def test_an_empty_split_is_an_error(tmp_path):
    rows = clean_rows("classification", tmp_path / "set") | {"test": []}
    source = parse_source("made/classification", write_rows(tmp_path / "set", rows))
    with pytest.raises(ValueError, match="made/classification: no image for test; expected some"):
        convert(source, tmp_path / "out")
