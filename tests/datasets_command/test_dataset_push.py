"""A converted folder to a loopback Hub; the command is tried in test_push_action."""

import json

import pytest
from huggingface_hub import HfApi

from mtp_hf.datasets_command.conversion import convert_source, finish
from mtp_hf.datasets_command.dataset_push import check_remote, push_folder
from mtp_hf.datasets_command.source import parse_source
from tests.datasets_command.made_sets import clean_rows, write_rows

CARD = "---\npretty_name: made\n---\n\n# made\n"


@pytest.fixture
def source(made_builder, tmp_path):
    root = write_rows(tmp_path / "set", clean_rows("change", tmp_path / "set"))
    return parse_source("made/change", root)


@pytest.fixture
def out(source, tmp_path):
    plan = convert_source(source, tmp_path / "out", shard_bytes=1, show_progress=False)
    finish(plan, tmp_path / "out", CARD)
    return tmp_path / "out"


def test_a_repository_that_does_not_exist_holds_nothing(client, hub, source):
    assert check_remote(HfApi(), "mtp/made", source) == []


def test_shards_and_card_arrive_as_they_are(client, hub, source, out):
    address = push_folder(HfApi(), out, "mtp/made", private=True, card=CARD, earlier=[])
    repo = hub.state.repositories["datasets/mtp/made"]
    assert address == f"{hub.url}/datasets/mtp/made/commit/{repo.commits[-1].oid}"
    files = repo.commits[-1].files
    assert files["README.md"] == CARD.encode()
    assert json.loads(hub.state.content(files["conversion.json"]))["name"] == "made"
    for path in (out / "data").iterdir():
        assert hub.state.content(files[f"data/{path.name}"]) == path.read_bytes()
    assert check_remote(HfApi(), "mtp/made", source) == sorted(
        f"data/{path.name}" for path in (out / "data").iterdir()
    )


def test_earlier_shards_go_in_the_same_commit(client, hub, source, out):
    api = HfApi()
    push_folder(api, out, "mtp/made", private=False, card=CARD, earlier=[])
    first = check_remote(api, "mtp/made", source)
    moved = out / "data" / "train-00000-of-00001.parquet"
    (out / "data" / "train-00000-of-00002.parquet").rename(moved)
    (out / "data" / "train-00001-of-00002.parquet").unlink()
    push_folder(api, out, "mtp/made", private=False, card=CARD, earlier=first)
    assert len(hub.state.repositories["datasets/mtp/made"].commits) == 3
    assert check_remote(api, "mtp/made", source) == [
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    ]


def test_a_public_repository_is_refused_for_a_private_push(client, hub, out):
    HfApi().create_repo("mtp/made", repo_type="dataset")
    with pytest.raises(ValueError, match="mtp/made is public"):
        push_folder(HfApi(), out, "mtp/made", private=True, card=CARD, earlier=[])
    assert len(hub.state.repositories["datasets/mtp/made"].commits) == 1
