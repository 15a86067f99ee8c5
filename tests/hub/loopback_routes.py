"""What the Hub answers: repositories, commits, large files, downloads, as far as the client asks.

A repository is a list of commits; a commit maps paths to contents, bytes for small files and
`LargeFile` for those that went through LFS. `ROUTES` maps `METHOD /path` to the function that
answers. Written from what the client sends and expects to read. Data sets are kept under
`datasets/NAMESPACE/NAME`, as they are addressed.
"""

import base64
import dataclasses
import hashlib
import json
import re
import threading
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs

import yaml

LARGE_SUFFIXES = (".safetensors", ".bin", ".parquet", ".pth")
LARGE_BYTES = 200_000
LICENSES = ("mit", "apache-2.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0", "other")


@dataclasses.dataclass(frozen=True)
class Account:
    """Who a token belongs to, and what it may do."""

    name: str
    orgs: tuple[str, ...]
    role: str


@dataclasses.dataclass
class Answer:
    """Status, body (bytes, or a value sent as JSON) and headers."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class HubError(Exception):
    """An error answer in the words of the Hub."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.answer = Answer(
            status,
            {"error": message},
            {"X-Error-Code": code, "X-Error-Message": message}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )


@dataclasses.dataclass(frozen=True)
class LargeFile:
    """A file kept in the LFS store."""

    sha256: str
    size: int


Content = bytes | LargeFile


@dataclasses.dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    message: str
    files: dict[str, Content]


@dataclasses.dataclass
class Repository:
    """Commits on `main`, oldest first; the first holds only `.gitattributes`."""

    private: bool
    commits: list[Commit]

    def at(self, revision: str) -> Commit:
        for commit in reversed(self.commits):
            if revision in ("main", commit.oid):
                return commit
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")


class HubState:
    """Repositories, the LFS store and accounts."""

    def __init__(self, accounts: dict[str, Account]) -> None:
        self.accounts = accounts
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.uploads: list[str] = []  # sha256 of every upload that was stored, in order
        self.lock = threading.Lock()
        self.url = ""

    def account(self, token: str | None) -> Account:
        if token not in self.accounts:
            raise HubError(401, "", "Invalid credentials in Authorization header")
        return self.accounts[token]

    def readable(self, repo: str, token: str | None) -> Repository:
        found = self.repositories.get(repo)
        if found is None or (found.private and not self._owns(repo, token)):
            raise HubError(404, "RepoNotFound", "Repository not found")
        return found

    def writable(self, repo: str, token: str | None) -> Repository:
        found = self.readable(repo, token)
        self.check_may_write(_plain(repo).split("/")[0], token)
        return found

    def check_may_write(self, namespace: str, token: str | None) -> None:
        account = self.account(token)
        if account.role != "write" or namespace not in (account.name, *account.orgs):
            raise HubError(403, "", f"You don't have the rights to write under {namespace!r}")

    def _owns(self, repo: str, token: str | None) -> bool:
        account = self.accounts.get(token or "")
        return account is not None and _plain(repo).split("/")[0] in (account.name, *account.orgs)

    def content(self, content: Content) -> bytes:
        return content if isinstance(content, bytes) else self.large_files[content.sha256]


def answer_request(state: HubState, request: Any) -> Answer:
    """Find the route of a request and answer it."""
    for pattern, respond in ROUTES:
        if match := re.fullmatch(pattern, request.line):
            try:
                return respond(state, request, *match.groups())
            except HubError as error:
                return error.answer
    return HubError(404, "NotFound", f"no route for {request.line}").answer


def whoami(state: HubState, request: Any) -> Answer:
    account = state.account(request.token)
    orgs = [{"name": name, "roleInOrg": "write"} for name in account.orgs]
    auth = {"accessToken": {"displayName": "test", "role": account.role}}
    return Answer(body={"type": "user", "name": account.name, "orgs": orgs, "auth": auth})


def create(state: HubState, request: Any) -> Answer:
    asked = json.loads(request.body)
    namespace = asked.get("organization") or state.account(request.token).name
    state.check_may_write(namespace, request.token)
    plain = f"{namespace}/{asked['name']}"
    repo = f"datasets/{plain}" if asked.get("type") == "dataset" else plain
    body = {"url": f"{state.url}/{repo}", "name": plain, "id": plain}
    with state.lock:
        if repo in state.repositories:
            return Answer(409, body | {"error": "You already created this model repo"})
        private = asked.get("visibility") == "private"
        first = Commit(_sha1(repo), "initial commit", {".gitattributes": b"*.safetensors lfs\n"})
        state.repositories[repo] = Repository(private, [first])
    return Answer(body=body)


def validate_yaml(state: HubState, request: Any) -> Answer:
    """Check the front matter of a card for what the Hub would refuse."""
    errors = front_matter_errors(json.loads(request.body)["content"])
    body = {"errors": [{"message": error} for error in errors], "warnings": []}
    return Answer(400 if errors else 200, body)


def front_matter_errors(card: str) -> list[str]:
    parts = card.split("---\n")
    if not card.startswith("---\n") or len(parts) < 3:
        return ["no front matter"]
    data = yaml.safe_load(parts[1])
    errors = []
    if data.get("license", "mit") not in LICENSES:
        errors.append(f'"license" is {data.get("license")!r}')
    if data.get("license") == "other" and not (data.get("license_name") and data["license_link"]):
        errors.append('"license: other" needs "license_name" and "license_link"')
    for name in ("tags", "datasets"):
        if not all(isinstance(each, str) for each in data.get(name, [])):
            errors.append(f'"{name}" must be a list of strings')
    for index in data.get("model-index", []):
        for result in index["results"]:
            fields = [result["task"].get("type"), result["dataset"].get("type")]
            fields += [result["dataset"].get("name")]
            fields += [metric.get("type") for metric in result["metrics"]]
            fields += [metric.get("value") for metric in result["metrics"]]
            if any(field is None for field in fields):
                errors.append(f'"model-index": incomplete result {result}')
    return errors


def repo_info(state: HubState, request: Any, repo: str, revision: str | None = None) -> Answer:
    found = state.readable(repo, request.token)
    commit = found.at(revision or "main")
    card = commit.files.get("README.md", b"")
    data = yaml.safe_load(card.split(b"---\n")[1]) if card.startswith(b"---\n") else {}
    body = {
        "id": _plain(repo),
        "modelId": _plain(repo),
        "sha": commit.oid,
        "private": found.private,
        "gated": False,
        "disabled": False,
        "tags": data.get("tags", []),
        "pipeline_tag": data.get("pipeline_tag"),
        "library_name": data.get("library_name"),
        "cardData": data,
        "siblings": [{"rfilename": path} for path in commit.files],
    }
    return Answer(body=body)


def auth_check(state: HubState, request: Any, repo: str) -> Answer:
    state.writable(repo, request.token)
    return Answer(body={})


def preupload(state: HubState, request: Any, repo: str, revision: str) -> Answer:
    files = state.writable(repo, request.token).at(revision).files
    found = []
    for file in json.loads(request.body)["files"]:
        path = file["path"]
        large = path.endswith(LARGE_SUFFIXES) or file["size"] > LARGE_BYTES
        found.append(
            {
                "path": path,
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
                "oid": _etag(files[path]) if path in files else None,
            }
        )
    return Answer(body={"files": found})


def lfs_batch(state: HubState, request: Any, repo: str) -> Answer:
    state.writable(repo, request.token)
    objects = []
    for asked in json.loads(request.body)["objects"]:
        entry = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in state.large_files:
            upload = {"href": f"{state.url}/_objects/{asked['oid']}"}
            entry["actions"] = {"upload": upload, "verify": {"href": f"{state.url}/_verify"}}
        objects.append(entry)
    return Answer(
        body={"transfer": "basic", "objects": objects},
        headers={"Content-Type": "application/vnd.git-lfs+json"},
    )


def lfs_upload(state: HubState, request: Any, sha256: str) -> Answer:
    if hashlib.sha256(request.body).hexdigest() != sha256:
        raise HubError(400, "", "the content does not fit its name")
    with state.lock:
        state.large_files[sha256] = request.body
        state.uploads.append(sha256)
    return Answer(headers={"ETag": f'"{sha256}"'})


def lfs_verify(state: HubState, request: Any) -> Answer:
    asked = json.loads(request.body)
    if len(state.large_files.get(asked["oid"], b"")) != asked["size"]:
        raise HubError(404, "", "object not found")
    return Answer(body={})


def commit(state: HubState, request: Any, repo: str, revision: str) -> Answer:
    found = state.writable(repo, request.token)
    lines = [json.loads(line) for line in request.body.splitlines()]
    operations = [(line["key"], line["value"]) for line in lines]
    message = next(value["summary"] for key, value in operations if key == "header")
    with state.lock:
        files = dict(found.at(revision).files)
        for key, value in operations:
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in state.large_files:
                    raise HubError(400, "", f"{value['path']} was not uploaded")
                files[value["path"]] = LargeFile(value["oid"], value["size"])
            elif key == "deletedFile":
                files.pop(value["path"], None)
        oid = _sha1(f"{repo}{len(found.commits)}{request.body!r}")
        found.commits.append(Commit(oid, message, files))
    url = f"{state.url}/{repo}/commit/{oid}"
    return Answer(body={"success": True, "commitOid": oid, "commitUrl": url})


def tree(state: HubState, request: Any, repo: str, revision: str, folder: str = "") -> Answer:
    """Files and folders of a folder, with those inside it if asked."""
    files = state.readable(repo, request.token).at(revision).files
    start = f"{folder.strip('/')}/" if folder.strip("/") else ""
    inside = {path: content for path, content in files.items() if path.startswith(start)}
    if start and not inside:
        raise HubError(404, "EntryNotFound", f"{folder} does not exist")
    is_deep = request.query.get("recursive", "").lower() in ("true", "1")
    entries = [
        _entry(state, path, content)
        for path, content in inside.items()
        if is_deep or "/" not in path[len(start) :]
    ]
    entries += [
        {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        for name in _folders(inside)
        if name.startswith(start) and (is_deep or "/" not in name[len(start) :])
    ]
    return Answer(body=entries)


def paths_info(state: HubState, request: Any, repo: str, revision: str) -> Answer:
    """What some paths are; those that do not exist are left out."""
    files = state.readable(repo, request.token).at(revision).files
    body = request.body.decode()
    paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
    folders = _folders(files)
    entries = [_entry(state, path, files[path]) for path in paths if path in files]
    entries += [
        {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
        for path in paths
        if path in folders
    ]
    return Answer(body=entries)


def _entry(state: HubState, path: str, content: Content) -> dict[str, Any]:
    size = len(state.content(content))
    entry = {"type": "file", "path": path, "size": size, "oid": _etag(content)}
    if isinstance(content, LargeFile):
        entry["lfs"] = {"oid": content.sha256, "size": size, "pointerSize": 130}
    return entry


def _folders(files: dict[str, Content]) -> list[str]:
    parents = {parent for path in files for parent in PurePosixPath(path).parents}
    return sorted(str(parent) for parent in parents if str(parent) != ".")


def resolve(state: HubState, request: Any, repo: str, revision: str, path: str) -> Answer:
    commit = state.readable(repo, request.token).at(revision)
    if path not in commit.files:
        raise HubError(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit.oid)
    content = commit.files[path]
    data = state.content(content)
    etag = f'"{_etag(content)}"'
    headers = {"X-Repo-Commit": commit.oid, "ETag": etag, "Accept-Ranges": "bytes"}
    headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
    return _ranged(request, data, headers)


def _ranged(request: Any, data: bytes, headers: dict[str, str]) -> Answer:
    headers = {"Content-Type": "application/octet-stream"} | headers
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not asked:
        return Answer(200, data, headers)
    first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Answer(206, data[first : last + 1], headers)


def _etag(content: Content) -> str:
    """Name a content as the Hub does: git's own hash, for large files that of the content."""
    if isinstance(content, LargeFile):
        return content.sha256
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _plain(repo: str) -> str:
    return repo.removeprefix("datasets/")


_REPO = r"((?:datasets/)?[^/]+/[^/]+)"
_API = rf"/api/(?:models/|(?=datasets/)){_REPO}"
ROUTES = (
    (r"GET /api/whoami-v2", whoami),
    (r"POST /api/repos/create", create),
    (r"POST /api/validate-yaml", validate_yaml),
    (rf"GET {_API}", repo_info),
    (rf"GET {_API}/revision/([^/]+)", repo_info),
    (rf"GET {_API}/auth-check/write", auth_check),
    (rf"GET {_API}/tree/([^/]+)", tree),
    (rf"GET {_API}/tree/([^/]+)/(.+)", tree),
    (rf"POST {_API}/paths-info/([^/]+)", paths_info),
    (rf"POST {_API}/preupload/([^/]+)", preupload),
    (rf"POST {_API}/commit/([^/]+)", commit),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", lfs_batch),
    (r"PUT /_objects/([0-9a-f]{64})", lfs_upload),
    (r"POST /_verify", lfs_verify),
    (rf"(?:GET|HEAD) /{_REPO}/resolve/([^/]+)/(.+)", resolve),
)
