"""Claims about pushing, through the real client to a Hub on the loopback interface."""

import shutil
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, ModelCard, constants, hf_hub_download

from mtp_hf.hub.push import (
    check_access,
    check_run_folder,
    failure_reason,
    folders_to_push,
    push_command,
    push_run,
    repo_names,
)
from tests.hub.loopback_hub import OTHER_TOKEN, READ_TOKEN

NAMES = {"encoder": "mtp/vit", "model": "mtp/vit-pretraining"}
COMMITS = r"POST /api/models/.*/commit/"
UPLOADS = r"PUT /_objects/"


def _push(folder, *, private=False, names=NAMES, message="a push"):
    return push_run(HfApi(), folder, names, private=private, message=message)


def _reason(folder, **options):
    with pytest.raises((httpx2.HTTPError, RuntimeError)) as caught:
        _push(folder, **options)
    return failure_reason(caught.value)


@pytest.fixture
def run_folder(bundle, tmp_path):
    """A run's folder to damage or change."""
    return shutil.copytree(bundle, tmp_path / "run")


@pytest.mark.parametrize(
    ("repo", "namespace", "expected"),
    [
        ("vit", None, "mtp/vit"),
        ("vit", "lab", "lab/vit"),
        ("me/vit", None, "me/vit"),
        ("me/vit", "me", "me/vit"),
    ],
)
def test_a_name_gets_the_namespace_and_the_model_a_suffix(repo, namespace, expected):
    assert repo_names(repo, namespace) == {"encoder": expected, "model": f"{expected}-pretraining"}


@pytest.mark.parametrize("repo", ["a/b/c", "vit large", "-vit", "vit.git", "a" * 90, ""])
def test_a_name_the_hub_does_not_take_is_refused(repo):
    with pytest.raises(
        ValueError, match="is no name for a repository: expected name or namespace/name"
    ):
        repo_names(repo)


def test_two_namespaces_are_refused():
    with pytest.raises(ValueError, match="me/vit names another namespace than --namespace lab"):
        repo_names("me/vit", "lab")


def test_every_file_arrives_with_one_commit_in_each_repository(client, hub, bundle):
    commits = _push(bundle, message="the end")
    for kind, repo in NAMES.items():
        stored = hub.state.repositories[repo]
        assert [each.message for each in stored.commits] == ["initial commit", "the end"]
        files = stored.commits[-1].files
        assert set(files) == {path.name for path in (bundle / kind).iterdir()} | {".gitattributes"}
        for path in (bundle / kind).iterdir():
            if path.name != "README.md":
                assert hub.state.content(files[path.name]) == path.read_bytes(), path
        assert commits[repo] == f"{hub.url}/{repo}/commit/{stored.commits[-1].oid}"
    assert len(hub.calls(COMMITS)) == 2
    assert len(hub.calls(UPLOADS)) == len(set(hub.state.uploads)) == 2


def test_pushing_again_uploads_and_commits_nothing(client, hub, bundle):
    first = _push(bundle)
    assert _push(bundle) == first
    assert len(hub.calls(COMMITS)) == len(hub.calls(UPLOADS)) == 2


def test_a_changed_file_is_the_only_one_of_the_next_commit(client, hub, run_folder):
    _push(run_folder)
    (run_folder / "model" / "losses.png").write_bytes(b"another picture")
    _push(run_folder, message="again")
    assert len(hub.calls(COMMITS)) == 3
    assert hub.calls(COMMITS)[-1].body.count(b'"path"') == 1
    assert len(hub.calls(UPLOADS)) == 2


def test_a_private_push_is_private_from_the_first_byte(client, hub, bundle):
    _push(bundle, private=True)
    assert [hub.state.repositories[repo].private for repo in NAMES.values()] == [True, True]
    with pytest.raises(httpx2.HTTPError):
        HfApi(token=OTHER_TOKEN).repo_info(NAMES["model"])


def test_a_private_push_to_a_public_repository_is_refused_before_any_file(client, hub, bundle):
    HfApi().create_repo(NAMES["encoder"])
    with pytest.raises(ValueError, match="mtp/vit is public, and pushing does not make it private"):
        _push(bundle, private=True)
    with pytest.raises(ValueError, match="mtp/vit is public"):
        check_access(HfApi(), NAMES, private=True)
    assert hub.calls(COMMITS) == hub.calls(UPLOADS) == []


def test_the_card_on_the_hub_names_its_repository_and_the_local_one_its_folder(client, hub, bundle):
    _push(bundle)
    for kind, repo in NAMES.items():
        card = ModelCard.load(repo)
        assert f'from_pretrained("{repo}")' in card.text
        assert f'from_pretrained("{kind}"' not in card.text
        local = (bundle / kind / "README.md").read_text()
        assert f'from_pretrained("{kind}")' in local
        assert local.count("from_pretrained") == card.text.count(f'from_pretrained("{repo}"')


def test_the_hub_checks_the_front_matter_before_anything_is_uploaded(client, hub, run_folder):
    card = run_folder / "encoder" / "README.md"
    card.write_text(card.read_text().replace("license: mit", "license: wrong"))
    with pytest.raises(ValueError, match="Invalid metadata"):
        _push(run_folder)
    assert hub.calls(UPLOADS) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "the Hub answered 401: the token is not valid"),
        (403, "the Hub answered 403: the token may not write there"),
        (429, "the Hub answered 429: too many requests"),
        (500, "the Hub answered 500: told to fail with 500"),
    ],
)
@pytest.mark.parametrize("request_line", ["POST /api/repos/create", COMMITS, UPLOADS])
def test_a_push_that_failed_is_finished_by_repeating_it(
    client, hub, bundle, request_line, status, expected
):
    hub.fail(request_line, status, times=6)  # the client itself tries an upload six times
    assert _reason(bundle).startswith(expected)
    hub.heal()
    _push(bundle)
    assert sorted(hub.state.uploads) == sorted(set(hub.state.uploads))
    assert len(hub.state.uploads) == 2
    for repo in NAMES.values():
        assert len(hub.state.repositories[repo].commits) == 2


def test_an_upload_cut_off_for_good_is_no_connection_and_repeating_goes_on(client, hub, bundle):
    hub.cut(UPLOADS, after=1000, times=6)
    assert _reason(bundle).startswith("no connection to the Hub (")
    assert hub.state.uploads == []
    _push(bundle)
    assert len(hub.state.uploads) == 2


def test_an_upload_cut_off_once_is_tried_again_by_the_client(client, hub, bundle):
    hub.cut(UPLOADS, after=1000)
    _push(bundle)
    assert len(hub.state.uploads) == len(hub.calls(COMMITS)) == 2


def test_what_arrived_before_the_failure_is_not_sent_again(client, hub, bundle):
    hub.fail(rf"POST /api/models/{NAMES['model']}/commit", 500)
    assert "500" in _reason(bundle)
    assert len(hub.state.uploads) == 2  # both weights are there, one repository lacks its commit
    _push(bundle)
    assert len(hub.calls(UPLOADS)) == 2
    assert [len(hub.state.repositories[repo].commits) for repo in NAMES.values()] == [2, 2]


def test_without_a_network_the_reason_is_one_line(client, hub, bundle, monkeypatch):
    api = HfApi(endpoint="http://127.0.0.1:9")  # the port of `discard`, which nothing listens on
    with pytest.raises(httpx2.HTTPError) as caught:
        push_run(api, bundle, NAMES, private=False, message="a push")
    assert failure_reason(caught.value).startswith("no connection to the Hub (ConnectError: ")


def test_a_silent_hub_does_not_keep_a_push_for_ever(client, hub, bundle, monkeypatch):
    monkeypatch.setattr("mtp_hf.hub.push.TIMEOUTS", (5.0, 0.2, 0.2, 5.0))
    gate = hub.hold("POST /api/repos/create")
    assert _reason(bundle).startswith("no connection to the Hub (ReadTimeout: ")
    gate.set()


def test_access_is_given_to_ones_own_names_and_changes_nothing(client, hub):
    check_access(HfApi(), NAMES, private=True)
    check_access(HfApi(), repo_names("lab/vit"), private=False)
    assert hub.state.repositories == {}


@pytest.mark.parametrize(
    ("token", "names", "expected"),
    [
        (READ_TOKEN, NAMES, "the token of mtp may only read"),
        ("hf_unknown", NAMES, "the Hub answered 401: the token is not valid"),
        (
            OTHER_TOKEN,
            NAMES,
            "cannot make mtp/vit: the token is of someone, who may write under someone;"
            " choose one with --namespace",
        ),
    ],
)
def test_access_is_refused_in_one_line(client, token, names, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        check_access(HfApi(token=token), names, private=False)
    assert "\n" not in str(caught.value)


def test_writing_to_a_repository_of_someone_else_is_refused(client, hub):
    HfApi().create_repo(NAMES["encoder"])
    with pytest.raises(ValueError, match="403: the token may not write there"):
        check_access(HfApi(token=OTHER_TOKEN), NAMES, private=False)


def test_access_without_a_token_says_how_to_get_one(client, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="no Hub token: log in with `hf auth login` or set HF_"):
        check_access(HfApi(), NAMES, private=False)


def test_access_of_a_client_told_to_stay_offline_is_refused(client, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE"):
        check_access(HfApi(), NAMES, private=False)


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_in_trouble_is_no_refusal(client, hub, status):
    hub.fail("whoami", status)
    with pytest.raises(httpx2.HTTPError) as caught:
        check_access(HfApi(), NAMES, private=False)
    assert not isinstance(caught.value, ValueError)
    assert str(status) in failure_reason(caught.value)


@pytest.mark.parametrize("missing", ["encoder/config.json", "model/README.md"])
def test_an_unfinished_run_is_refused_by_the_missing_file(run_folder, missing):
    (run_folder / missing).unlink()
    with pytest.raises(ValueError, match=f"no finished run: {missing} is missing"):
        check_run_folder(run_folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="none: no such folder"):
        check_run_folder(tmp_path / "none")


def test_weights_that_are_missing_or_cut_off_are_refused(run_folder):
    weights = run_folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        check_run_folder(run_folder)
    weights.unlink()
    with pytest.raises(ValueError, match="model/ holds no weights"):
        check_run_folder(run_folder)


def test_the_command_by_hand_repeats_the_options(tmp_path):
    assert (
        push_command(tmp_path, NAMES, private=True) == f"mtp-hf push {tmp_path} mtp/vit --private"
    )
    assert push_command(tmp_path, NAMES, private=False) == f"mtp-hf push {tmp_path} mtp/vit"
    assert push_command(Path("a b"), NAMES, private=False) == "mtp-hf push 'a b' mtp/vit"


def test_a_download_that_broke_off_is_finished_by_repeating_it(client, hub, bundle):
    _push(bundle)
    hub.cut("GET /mtp/vit/resolve/.*/model.safetensors", after=5000)
    with pytest.raises(httpx2.TransportError):
        hf_hub_download(NAMES["encoder"], "model.safetensors")
    path = hf_hub_download(NAMES["encoder"], "model.safetensors")
    assert Path(path).read_bytes() == (bundle / "encoder" / "model.safetensors").read_bytes()


def test_a_run_of_finetuning_is_one_repository_of_the_last_or_the_best_network(tmp_path):
    for kind in ("model", "best"):
        (tmp_path / kind).mkdir()
    assert repo_names("vit", None, folders_to_push(tmp_path)) == {"model": "mtp/vit"}
    names = repo_names("vit", None, folders_to_push(tmp_path, best=True))
    assert names == {"best": "mtp/vit"}
    assert push_command(Path("run"), names, private=False) == "mtp-hf push run mtp/vit --best"


def test_a_folder_with_an_encoder_is_a_run_of_pretraining_and_has_no_best_network(bundle):
    assert repo_names("vit", None, folders_to_push(bundle)) == NAMES
    with pytest.raises(ValueError, match="is no run of finetuning, which alone leaves best/"):
        folders_to_push(bundle, best=True)
