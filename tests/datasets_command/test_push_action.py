"""Claims about `mtp-hf data push`, as it is typed, through the real client to a loopback Hub."""

import datasets
import numpy as np
import pytest
from huggingface_hub import HfApi
from torch.utils.data import DataLoader

from mtp_hf.cli import main
from tests.datasets_command.made_sets import clean_rows, write_rows
from tests.fakes import write_samrs

UPLOADS = r"PUT /_objects/"


@pytest.fixture
def root(made_builder, tmp_path):
    return write_rows(tmp_path / "set", clean_rows("detection", tmp_path / "set"))


def push(*arguments):
    """Exit status of the command."""
    try:
        main(["data", "push", *map(str, arguments), "--num_proc", "1"])
    except SystemExit as status:
        return status.code
    return 0


def test_a_pushed_set_is_read_back_by_name_with_equal_rows(client, hub, tmp_path, capsys):
    raw = write_samrs(tmp_path / "raw")
    assert push("samrs/sior", raw, "sior", "--private") == 0
    repo = hub.state.repositories["datasets/mtp/sior"]
    assert repo.private
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"mtp/sior: {hub.url}/datasets/mtp/sior/commit/{repo.commits[-1].oid}"
    )
    from mtp_hf import load_dataset

    read = datasets.load_dataset("mtp/sior", cache_dir=str(tmp_path / "cache"))
    local = load_dataset("samrs", "sior", data_dir=raw, cache_dir=tmp_path / "own", quiet=True)
    for split in ("train", "validation"):
        assert read[split].features == local[split].features
        for pushed, own in zip(read[split], local[split], strict=True):
            for key, value in own.items():
                if hasattr(value, "getbands"):
                    assert np.array_equal(np.asarray(pushed[key]), np.asarray(value))
                else:
                    assert pushed[key] == value
    loader = DataLoader(read["train"], batch_size=2, collate_fn=lambda rows: rows)
    assert [len(rows) for rows in loader] == [2, 2]


def test_rows_can_be_streamed_from_the_hub(client, hub, root, tmp_path):
    assert push("made/detection", root, "lab/made", "--public") == 0
    assert not hub.state.repositories["datasets/lab/made"].private
    rows = datasets.load_dataset("lab/made", split="train", streaming=True)
    assert [row["image_id"] for row in rows] == ["a", "b"]


def test_all_goes_in_one_commit_with_a_card_that_names_the_repository(client, hub, root):
    assert push("made/detection", root, "made", "--private", "--shard_mb", 1) == 0
    commits = hub.state.repositories["datasets/mtp/made"].commits
    assert len(commits) == 2
    files = commits[-1].files
    assert set(files) - {".gitattributes"} == {
        "README.md",
        "conversion.json",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    }
    assert b'load_dataset("mtp/made", split="train")' in files["README.md"]


@pytest.mark.parametrize("flags", [[], ["--private", "--public"]])
def test_who_may_see_it_must_be_said(client, hub, root, capsys, flags):
    assert push("made/detection", root, "made", *flags) == 2
    assert "--p" in capsys.readouterr().err
    assert hub.requests == []


def test_the_terms_of_a_published_set_are_shown(client, hub, tmp_path, capsys):
    assert push("samrs/fast", write_samrs(tmp_path / "raw"), "fast", "--private") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("samrs/fast: terms: research only")


def test_a_push_that_broke_off_goes_on_without_uploading_twice(
    client,
    hub,
    root,
    tmp_path,
    capsys,
):
    work = tmp_path / "hf_cache" / "mtp_hf_push"
    hub.fail("POST /api/datasets/mtp/made/commit", 500)
    assert push("made/detection", root, "made", "--private") == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: the Hub answered 500")
    assert message.endswith("; the same command goes on from there")
    assert len(list(work.iterdir())) == 1
    num_uploads = len(hub.calls(UPLOADS))
    assert push("made/detection", root, "made", "--private") == 0
    assert len(hub.calls(UPLOADS)) == num_uploads == 2
    assert list(work.iterdir()) == []


def test_the_converted_folder_is_kept_if_asked(client, hub, root, tmp_path):
    out = tmp_path / "kept"
    assert push("made/detection", root, "made", "--private", "--parquet", out) == 0
    assert datasets.load_dataset(str(out), split="train").num_rows == 2


def test_shards_of_an_earlier_push_are_removed(client, hub, root, tmp_path):
    assert push("made/detection", root, "made", "--private") == 0
    rows = clean_rows("detection", root)
    del rows["validation"]
    write_rows(root, rows)
    assert push("made/detection", root, "made", "--private") == 0
    files = hub.state.repositories["datasets/mtp/made"].commits[-1].files
    assert [name for name in files if name.endswith(".parquet")] == [
        "data/train-00000-of-00001.parquet"
    ]


def test_a_repository_of_something_else_is_refused_before_the_conversion(
    client,
    hub,
    root,
    tmp_path,
    capsys,
):
    assert push("made/detection", root, "made", "--private") == 0
    other = write_rows(tmp_path / "other", clean_rows("change", tmp_path / "other"))
    assert push("made/change", other, "made", "--private", "--parquet", tmp_path / "out") == 2
    message = "error: mtp/made holds made/detection; expected a new repository for made/change\n"
    assert capsys.readouterr().err.endswith(message)
    assert not (tmp_path / "out").exists()
    api = HfApi()
    api.create_repo("mtp/foreign", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=b"x", path_in_repo="a.parquet", repo_id="mtp/foreign", repo_type="dataset"
    )
    assert push("made/change", other, "foreign", "--public") == 2
    assert "mtp/foreign holds data that" in capsys.readouterr().err


def test_a_public_repository_is_not_used_for_a_private_push(client, hub, root, capsys):
    assert push("made/detection", root, "made", "--public") == 0
    assert push("made/detection", root, "made", "--private") == 2
    assert "mtp/made is public, and pushing does not make it private" in capsys.readouterr().err


def test_a_missing_token_is_refused_before_anything_is_made(
    client,
    hub,
    root,
    monkeypatch,
    capsys,
):
    monkeypatch.delenv("HF_TOKEN")
    assert push("made/detection", root, "made", "--private") == 2
    assert capsys.readouterr().err.startswith("error: no Hub token: log in with")
    assert hub.state.repositories == {}
