"""A converted folder to the Hub: one commit with all shards and the card.

Shards that the Hub has already are not uploaded again, so a push that broke off is finished by
repeating it. Shards of an earlier push of the same set are removed in the same commit; a
repository that holds something else is refused.
"""

import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session
from huggingface_hub.errors import RepositoryNotFoundError

from mtp_hf.datasets_command.conversion import CARD_FILE, DATA_FOLDER, PLAN_FILE
from mtp_hf.datasets_command.source import Source
from mtp_hf.hub.push import TIMEOUTS, check_privacy

REPO_TYPE = "dataset"


def check_remote(api: HfApi, repo: str, source: Source) -> list[str]:
    """Check that a repository is new or holds an earlier push of the same set.

    Args:
        api: client with its token.
        repo: `namespace/name`.
        source: the data set.

    Returns:
        Its shards.

    Raises:
        ValueError: it holds something else.
        httpx2.HTTPError: the Hub could not be asked.
    """
    try:
        files = api.list_repo_files(repo, repo_type=REPO_TYPE)
    except RepositoryNotFoundError:
        return []
    shards = [name for name in files if name.endswith(".parquet")]
    if PLAN_FILE in files:
        path = api.hf_hub_download(repo, PLAN_FILE, repo_type=REPO_TYPE)
        plan = json.loads(Path(path).read_text(encoding="utf-8"))
        held = f"{plan['name']}/{plan['config']}"
        if held != str(source):
            raise ValueError(f"{repo} holds {held}; expected a new repository for {source}")
    elif shards:
        raise ValueError(f"{repo} holds data that `mtp-hf data push` did not put there")
    return sorted(shards)


def push_folder(
    api: HfApi, out: Path, repo: str, *, private: bool, card: str, earlier: list[str]
) -> str:
    """Push a finished conversion.

    Args:
        api: client with its token.
        out: folder of the conversion.
        repo: `namespace/name`; made if it does not exist.
        private: make it private.
        card: text of the card, whose example names the repository.
        earlier: shards in the repository; those that are not written anew are removed.

    Returns:
        Address of the commit.

    Raises:
        ValueError: the repository is public and is to be private.
        httpx2.HTTPError: the Hub refused or was not reached.
    """
    get_session().timeout = TIMEOUTS
    api.create_repo(repo, repo_type=REPO_TYPE, private=private, exist_ok=True)
    if private:
        is_private = api.repo_info(repo, repo_type=REPO_TYPE).private
        check_privacy(repo, is_private=is_private, asked=True)
    shards = {f"{DATA_FOLDER}/{path.name}": path for path in sorted((out / DATA_FOLDER).iterdir())}
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(CARD_FILE, card.encode()),
        CommitOperationAdd(PLAN_FILE, out / PLAN_FILE),
        *(CommitOperationAdd(name, path) for name, path in shards.items()),
        *(CommitOperationDelete(name) for name in earlier if name not in shards),
    ]
    message = "Push by mtp-hf data push"
    commit = api.create_commit(repo, operations, commit_message=message, repo_type=REPO_TYPE)
    return commit.commit_url
