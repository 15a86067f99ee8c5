"""Claims about `mtp-hf data convert`, as it is typed."""

import datasets
import pytest

from mtp_hf.cli import main
from tests.datasets_command.made_sets import clean_rows, write_rows
from tests.fakes import write_samrs


def convert(*arguments):
    """Exit status of the command."""
    try:
        main(["data", "convert", *map(str, arguments)])
    except SystemExit as status:
        return status.code
    return 0


def test_a_set_becomes_a_folder_that_load_dataset_reads(tmp_path, capsys):
    root, out = write_samrs(tmp_path / "raw"), tmp_path / "out"
    assert convert("samrs/fast", root, out) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: train: 4 rows in 1 shards",
        f"{out}: validation: 2 rows in 1 shards",
    ]
    rows = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert rows.num_rows == {"train": 4, "validation": 2}
    assert rows["train"].features["objects"]["category"].feature.names[36] == "Warship"
    assert 'load_dataset("out", split="train")' in (out / "README.md").read_text()


def test_the_same_command_again_changes_nothing(made_builder, tmp_path, capsys):
    root = write_rows(tmp_path / "set", clean_rows("change", tmp_path / "set"))
    out = tmp_path / "out"
    files = []
    for _ in range(2):
        assert convert("made/change", root, out, "--num_proc", 1) == 0
        files.append({path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert files[0] == files[1]


def test_what_was_left_out_is_named(made_builder, tmp_path, capsys):
    rows = clean_rows("detection", tmp_path / "set")
    rows["train"].append({"image_id": "x", "broken": "odd"})
    root = write_rows(tmp_path / "set", rows)
    assert convert("made/detection", root, tmp_path / "out", "--option", "on_error=skip") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: 1 of 3 records left out:"
    assert lines[1].endswith("rows.json: odd")
    assert "| train      | 2    | 1        |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["made/detection", "gone", "out"], "gone: no such folder"),
        (
            ["made/detection", "set", "set"],
            "set is in the folder of the data set, set, whose files",
        ),
        (["made/detection", "set", "set/parquet"], "set/parquet is in the folder of the data set"),
        (["made/detection", "set", "out", "--shard_mb", "0"], "--shard_mb: 0 is less than 1"),
        (["made/detection", "set"], "the following arguments are required: OUT"),
        (["made/detection", "set", "out"], "rows.json: odd"),
    ],
)
def test_what_cannot_be_converted_ends_with_status_2_and_a_message(
    made_builder, tmp_path, monkeypatch, capsys, arguments, message
):
    write_rows(tmp_path / "set", {"train": [{"image_id": "x", "broken": "odd"}]})
    monkeypatch.chdir(tmp_path)
    assert convert(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out" / "README.md").exists()
