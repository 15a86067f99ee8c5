"""Claims about `mtp-hf push`, as it is typed."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import HfApi

from mtp_hf.cli import main


def _error(arguments):
    with pytest.raises(SystemExit) as caught:
        main(["push", *map(str, arguments)])
    assert isinstance(caught.value.code, str), "an error message is expected"
    assert "\n" not in caught.value.code
    return caught.value.code.removeprefix("error: ")


def test_a_run_goes_to_two_private_repositories_from_a_shell(client, hub, bundle, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mtp_hf.cli", "push", str(bundle), "vit", "--private"],
        cwd=tmp_path,
        env=os.environ | client,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    commits = {name: repo.commits[-1].oid for name, repo in hub.state.repositories.items()}
    assert done.stdout.splitlines() == [
        f"{name}: {hub.url}/{name}/commit/{commits[name]}"
        for name in ("mtp/vit", "mtp/vit-pretraining")
    ]
    assert [repo.private for repo in hub.state.repositories.values()] == [True, True]
    assert "Traceback" not in done.stderr


def test_the_namespace_can_be_an_organization(client, hub, bundle, capsys):
    main(["push", str(bundle), "vit", "--namespace", "lab"])
    assert set(hub.state.repositories) == {"lab/vit", "lab/vit-pretraining"}
    assert not hub.state.repositories["lab/vit"].private
    assert capsys.readouterr().out.count("lab/vit") == 4


def test_a_folder_without_a_run_is_refused_before_the_hub_is_asked(client, hub, tmp_path):
    assert "no finished run: encoder/config.json is missing" in _error([tmp_path, "vit"])
    assert hub.requests == []


def test_a_wrong_name_is_refused(client, bundle):
    assert _error([bundle, "a/b/c"]).startswith("'a/b/c' is no name for a repository: expected")


def test_a_missing_token_is_refused_before_anything_is_made(client, hub, bundle, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert _error([bundle, "vit"]).startswith("no Hub token: log in with `hf auth login`")
    assert hub.state.repositories == {}


def test_someone_else_s_namespace_is_refused(client, hub, bundle):
    assert _error([bundle, "other/vit"]).startswith("cannot make other/vit: the token is of mtp")
    assert hub.state.repositories == {}


@pytest.mark.parametrize("status", [403, 429, 500])
def test_a_failure_on_the_way_says_why_and_that_repeating_goes_on(client, hub, bundle, status):
    hub.fail("POST /api/models/mtp/vit-pretraining/commit", status)
    message = _error([bundle, "vit"])
    assert message.startswith(f"the Hub answered {status}: ")
    assert message.endswith("; the same command goes on from there")
    main(["push", str(bundle), "vit"])
    assert len(hub.state.uploads) == 2
    assert all(len(repo.commits) == 2 for repo in hub.state.repositories.values())


def test_an_upload_that_breaks_off_is_explained(client, hub, bundle):
    hub.cut("PUT /_objects/", after=500, times=6)
    assert _error([bundle, "vit"]).startswith("no connection to the Hub (")


def test_no_network_is_explained(client, bundle, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert _error([bundle, "vit"]).startswith("no connection to the Hub (ConnectError: ")


def test_a_public_repository_is_not_used_for_a_private_push(client, hub, bundle):
    HfApi().create_repo("mtp/vit")
    assert "mtp/vit is public" in _error([bundle, "vit", "--private"])
    assert len(hub.state.repositories["mtp/vit"].commits) == 1
