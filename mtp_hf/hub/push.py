"""To the Hub: the networks that a run leaves, each as a repository, one commit in each.

Pretraining leaves `encoder/` and `model/`, finetuning `model/` and `best/`, of which one goes.

`create_commit` and not `upload_folder`: where Xet is installed, the latter may spread a folder over
several commits. What the Hub has already is not uploaded again, so a push that broke off is
finished by repeating it. The cards' examples name the repository they lie in.
"""

import http
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, get_session
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open

from mtp_hf.hub.bundle import BEST, ENCODER, MODEL
from mtp_hf.hub.card import with_examples_of

DEFAULT_NAMESPACE = "mtp"
# Folder that is pushed -> what its repository is called beyond the name that the user gives.
PRETRAINING = {ENCODER: "", MODEL: "-pretraining"}
FINETUNING = {MODEL: ""}
BEST_OF_FINETUNING = {BEST: ""}
NEEDED_FILES = ("config.json", "preprocessor_config.json", "README.md")
# Seconds to connect, and without a byte read or written; the client itself would wait for ever.
TIMEOUTS = (30.0, 300.0, 300.0, 300.0)
HINTS = {
    401: "the token is not valid: log in with `hf auth login` or set HF_TOKEN",
    403: "the token may not write there",
    429: "too many requests",
}


def folders_to_push(folder: Path, *, best: bool = False) -> dict[str, str]:
    """Tell which folders of a run go to the Hub, and how their repositories are called.

    Args:
        folder: of a run, of pretraining where it holds an encoder.
        best: of finetuning, push the network that measured best instead of the last one.

    Raises:
        ValueError: the best one of a run of pretraining.
    """
    is_finetuning = not (folder / ENCODER).exists() and any(
        (folder / kind).exists() for kind in (MODEL, BEST)
    )
    if best and not is_finetuning:
        raise ValueError(f"{folder} is no run of finetuning, which alone leaves {BEST}/")
    if is_finetuning:
        return BEST_OF_FINETUNING if best else FINETUNING
    return PRETRAINING


def repo_names(
    repo: str, namespace: str | None = None, suffixes: Mapping[str, str] = PRETRAINING
) -> dict[str, str]:
    """Name the repositories of the folders that are pushed.

    Args:
        repo: `name` or `namespace/name` of the first one.
        namespace: user or organization where `repo` names none; default: `mtp`.
        suffixes: folder -> end of its repository's name.

    Raises:
        ValueError: a name that the Hub does not take, or two namespaces.
    """
    if "/" in repo:
        if namespace and repo.split("/")[0] != namespace:
            raise ValueError(f"{repo} names another namespace than --namespace {namespace}")
    else:
        repo = f"{namespace or DEFAULT_NAMESPACE}/{repo}"
    names = {kind: repo + suffix for kind, suffix in suffixes.items()}
    for name in names.values():
        try:
            validate_repo_id(name)
        except HFValidationError:
            raise ValueError(
                f"{name!r} is no name for a repository: expected name or namespace/name of letters,"
                " digits, '-', '_' and '.', each at most 96, without '--', '..' and '.git'"
            ) from None
    return names


def check_access(
    api: HfApi, names: dict[str, str], *, private: bool, repo_type: str = "model"
) -> None:
    """Check that a push would be let in, without changing anything on the Hub.

    Args:
        api: client with its token.
        names: see `repo_names`.
        private: the repositories are to be private.
        repo_type: `model` or `dataset`.

    Raises:
        ValueError: no token or not a valid one, no right to write, or a repository that is public.
        httpx2.HTTPError: the Hub could not be asked.
    """
    get_session().timeout = TIMEOUTS
    try:
        account = api.whoami()
    except LocalTokenNotFoundError:
        raise ValueError("no Hub token: log in with `hf auth login` or set HF_TOKEN") from None
    except OfflineModeIsEnabled:
        raise ValueError("the Hub client is told to stay offline (HF_HUB_OFFLINE)") from None
    except HfHubHTTPError as error:
        raise_if_refused(error)
        raise
    if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise ValueError(f"the token of {account['name']} may only read; make one that may write")
    orgs = [org["name"] for org in account.get("orgs", []) if org.get("roleInOrg") != "read"]
    namespaces = [account["name"], *orgs]
    for name in names.values():
        try:
            is_private = api.repo_info(name, repo_type=repo_type).private
            api.auth_check(name, repo_type=repo_type, write=True)
        except RepositoryNotFoundError:
            if name.split("/")[0] not in namespaces:
                raise ValueError(
                    f"cannot make {name}: the token is of {namespaces[0]}, who may write under"
                    f" {', '.join(namespaces)}; choose one with --namespace"
                ) from None
        except HfHubHTTPError as error:
            raise_if_refused(error)
            raise
        else:
            check_privacy(name, is_private=is_private, asked=private)


def check_run_folder(folder: Path, kinds: Iterable[str] = tuple(PRETRAINING)) -> None:
    """Check that a folder holds what a finished run leaves.

    Args:
        folder: of the run.
        kinds: names of the folders in it that are pushed.

    Raises:
        ValueError: a file is missing or the weights are cut off.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    for kind in kinds:
        for name in NEEDED_FILES:
            if not (folder / kind / name).is_file():
                raise ValueError(
                    f"{folder} is no finished run: {kind}/{name} is missing (checkpoints are no"
                    " networks to publish; let the run end)"
                )
        weights = sorted((folder / kind).glob("*.safetensors"))
        if not weights:
            raise ValueError(f"{folder} is no finished run: {kind}/ holds no weights")
        for path in weights:
            try:
                with safe_open(path, framework="pt"):
                    pass
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged: {first_line(error)}") from None


def push_run(
    api: HfApi, folder: Path, names: dict[str, str], *, private: bool, message: str
) -> dict[str, str]:
    """Push the networks of a run.

    Args:
        api: client with its token.
        folder: holds the folders that are keys of `names`.
        names: see `repo_names`; repositories that do not exist are made.
        private: make them private.
        message: of the commits.

    Returns:
        Repository -> address of the commit.

    Raises:
        ValueError: see `check_run_folder`; or a repository is public that is to be private.
        httpx2.HTTPError: the Hub refused or was not reached; see `failure_reason`.
    """
    check_run_folder(folder, names)
    get_session().timeout = TIMEOUTS
    commits = {}
    for kind, name in names.items():
        api.create_repo(name, private=private or None, exist_ok=True)
        if private:
            check_privacy(name, is_private=api.repo_info(name).private, asked=True)
        files = sorted(path for path in (folder / kind).iterdir() if path.is_file())
        operations = [_addition(path, name) for path in files if not path.name.startswith(".")]
        commit = api.create_commit(name, operations, commit_message=message)
        commits[name] = commit.commit_url
    return commits


def push_command(folder: Path, names: dict[str, str], *, private: bool) -> str:
    """Write the command that pushes a run by hand."""
    words = ["mtp-hf", "push", str(folder), next(iter(names.values()))]
    return shlex.join(words + ["--best"] * (BEST in names) + ["--private"] * private)


def failure_reason(error: BaseException) -> str:
    """Say in one line why a push failed."""
    while isinstance(error, RuntimeError) and error.__cause__:  # the client wraps failed uploads
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        words = HINTS.get(status) or error.server_message or http.HTTPStatus(status).phrase
        return f"the Hub answered {status}: {words}"
    if isinstance(error, httpx2.TransportError):
        return f"no connection to the Hub ({type(error).__name__}: {first_line(error)})"
    return f"{type(error).__name__}: {first_line(error)}"


def raise_if_refused(error: HfHubHTTPError) -> None:
    """Turn an answer that trying again does not change into a message for the user."""
    if error.response.status_code in (401, 403):
        raise ValueError(failure_reason(error)) from None


def check_privacy(name: str, *, is_private: bool | None, asked: bool) -> None:
    """Refuse to publish what was to be private."""
    if asked and not is_private:
        raise ValueError(f"{name} is public, and pushing does not make it private")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _addition(path: Path, repo: str) -> CommitOperationAdd:
    if path.name != "README.md":
        return CommitOperationAdd(path.name, path)
    card = with_examples_of(path.read_text(encoding="utf-8"), repo)
    return CommitOperationAdd(path.name, card.encode())
