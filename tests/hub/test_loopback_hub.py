"""Claims about the Hub of the tests: it answers what the real client takes for a Hub."""

import hashlib
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.loopback_hub import READ_TOKEN
from tests.hub.loopback_routes import front_matter_errors


@pytest.fixture
def repo(client, hub):
    """A repository with a small and a large file."""
    api = HfApi()
    api.create_repo("mtp/x")
    api.upload_file(path_or_fileobj=b"small", path_in_repo="a.txt", repo_id="mtp/x")
    api.upload_file(path_or_fileobj=bytes(range(256)), path_in_repo="b.bin", repo_id="mtp/x")
    return "mtp/x"


def test_a_repository_is_made_once(repo):
    with pytest.raises(httpx2.HTTPError) as caught:
        HfApi().create_repo(repo)
    assert caught.value.response.status_code == 409


def test_files_are_listed_with_the_client_s_own_hashes(repo):
    files = {each.path: each for each in HfApi().list_repo_tree(repo)}
    assert files["a.txt"].blob_id == hashlib.sha1(b"blob 5\0small").hexdigest()
    assert files["b.bin"].lfs.sha256 == hashlib.sha256(bytes(range(256))).hexdigest()
    assert [each.size for each in files.values()][-2:] == [5, 256]


def test_what_is_not_there_is_an_error_of_its_own(repo):
    api = HfApi()
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("mtp/y")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(repo, revision="f" * 40)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "c.txt")


def test_an_old_revision_keeps_its_files(repo, hub):
    first = hub.state.repositories[repo].commits[1].oid
    assert {each.rfilename for each in HfApi().repo_info(repo, revision=first).siblings} == {
        ".gitattributes",
        "a.txt",
    }


def test_a_range_is_a_part(repo, hub):
    url = f"{hub.url}/{repo}/resolve/main/b.bin"
    answer = httpx2.get(url, headers={"Range": "bytes=250-"})
    assert (answer.status_code, answer.content) == (206, bytes(range(250, 256)))
    assert answer.headers["content-range"] == "bytes 250-255/256"


def test_a_content_that_does_not_fit_its_name_is_not_stored(hub):
    name = hashlib.sha256(b"one").hexdigest()
    assert httpx2.put(f"{hub.url}/_objects/{name}", content=b"two").status_code == 400
    assert hub.state.large_files == {}


def test_a_token_for_reading_writes_nothing(repo):
    with pytest.raises(httpx2.HTTPError) as caught:
        HfApi(token=READ_TOKEN).upload_file(path_or_fileobj=b"", path_in_repo="c", repo_id=repo)
    assert caught.value.response.status_code == 403


def test_faults_wear_off_and_concern_only_what_matches(repo, hub):
    hub.fail("GET /api/models/mtp/x", 503, times=2)
    url = f"{hub.url}/api/models/mtp/x"
    assert [httpx2.get(url).status_code for _ in range(3)] == [503, 503, 200]
    hub.cut("PUT /_objects/", after=10)
    assert httpx2.get(url).status_code == 200
    with pytest.raises(httpx2.TransportError):
        httpx2.put(f"{hub.url}/_objects/{'0' * 64}", content=bytes(10_000_000))


@pytest.mark.parametrize(
    ("card", "error"),
    [
        ("# no front matter", "no front matter"),
        ("---\nlicense: my-own\n---\n", "\"license\" is 'my-own'"),
        ("---\nlicense: other\nlicense_link: x\n---\n", '"license: other" needs'),
        ("---\nlicense: mit\ntags: [1]\n---\n", '"tags" must be a list of strings'),
    ],
)
def test_wrong_front_matter_is_refused(card, error):
    assert front_matter_errors(card)[0].startswith(error)


def test_a_data_set_is_no_model_of_the_same_name(client, hub):
    api = HfApi()
    for repo_type in ("model", "dataset"):
        api.create_repo("mtp/both", repo_type=repo_type)
        api.upload_file(
            path_or_fileobj=repo_type.encode(),
            path_in_repo="data/kind.txt",
            repo_id="mtp/both",
            repo_type=repo_type,
        )
    assert set(hub.state.repositories) == {"mtp/both", "datasets/mtp/both"}
    for repo_type in ("model", "dataset"):
        files = api.list_repo_files("mtp/both", repo_type=repo_type)
        assert files == [".gitattributes", "data/kind.txt"]
        path = api.hf_hub_download("mtp/both", "data/kind.txt", repo_type=repo_type)
        assert Path(path).read_text() == repo_type


def test_folders_are_listed_as_the_hub_lists_them(client, hub):
    api = HfApi()
    api.create_repo("mtp/tree", repo_type="dataset")
    for name in ("a.txt", "data/b.txt", "data/deep/c.txt"):
        api.upload_file(
            path_or_fileobj=b"x", path_in_repo=name, repo_id="mtp/tree", repo_type="dataset"
        )

    def paths(folder=None, **options):
        found = api.list_repo_tree("mtp/tree", folder, repo_type="dataset", **options)
        return {entry.path for entry in found}

    assert paths() == {".gitattributes", "a.txt", "data"}
    assert paths("data") == {"data/b.txt", "data/deep"}
    assert paths("data", recursive=True) == {"data/b.txt", "data/deep", "data/deep/c.txt"}
    with pytest.raises(EntryNotFoundError):
        paths("gone")
    infos = api.get_paths_info("mtp/tree", ["a.txt", "data", "gone"], repo_type="dataset")
    assert [info.path for info in infos] == ["a.txt", "data"]
