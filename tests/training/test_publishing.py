"""Claims about pushing along a run: in the background, one at a time, never in the way."""

import logging
import shutil
import threading
import types
from pathlib import Path

import pytest
from accelerate import Accelerator
from huggingface_hub import HfApi

from mtp_hf.cli import main
from mtp_hf.training.agreement import OtherProcessError
from mtp_hf.training.publishing import HubOptions, Publisher, start_publisher
from mtp_hf.training.run_folder import RunFolder
from tests.hub.loopback_client import client_of
from tests.training.process_group import run_processes

COMMITS = r"POST /api/models/.*/commit/"
UPLOADS = r"PUT /_objects/"
NAMES = ("mtp/vit", "mtp/vit-pretraining")


def ask_in_turn(url: str, home: str, repos: list[str]) -> list[str]:
    """Start publishers, and tell what this process got."""
    answers = []
    accelerator = Accelerator(cpu=True)
    with client_of(types.SimpleNamespace(url=url), Path(home)):
        for repo in repos:
            try:
                publisher = start_publisher(accelerator, HubOptions(repo), RunFolder(Path("run")))
                publisher.push_results(40)  # of a folder without a run: a warning
                answers.append(f"acts: {publisher.acts}")
            except (ValueError, OtherProcessError) as error:
                answers.append(type(error).__name__)
    return answers


@pytest.fixture
def folder(bundle, tmp_path):
    """A finished run's folder."""
    return RunFolder(shutil.copytree(bundle, tmp_path / "run"))


@pytest.fixture
def write(bundle):
    """Write a snapshot that differs with each call, as one of a training network does."""
    count = iter(range(100))

    def write_next(target):
        shutil.copytree(bundle, target, dirs_exist_ok=True)
        for kind in ("encoder", "model"):
            (target / kind / "losses.png").write_text(str(next(count)))

    return write_next


@pytest.fixture
def publisher(client, accelerator, folder):
    return Publisher(HubOptions("vit", every=10), folder)


@pytest.fixture(autouse=True)
def _messages(caplog):
    caplog.set_level(logging.INFO)


def _wait(publisher):
    publisher._thread.join(timeout=60)
    assert not publisher._thread.is_alive()


def _messages_of(hub, name=NAMES[0]):
    return [commit.message for commit in hub.state.repositories[name].commits[1:]]


def test_pushes_along_the_way_leave_the_last_step_to_the_results(client, folder):
    publisher = Publisher(HubOptions("vit", every=2), folder)
    assert list(publisher.steps) == []
    publisher.plan(5, last_step=40)  # every second checkpoint
    assert list(publisher.steps) == [10, 20, 30]
    only_the_end = Publisher(HubOptions("vit"), folder)
    only_the_end.plan(5, last_step=40)
    assert list(only_the_end.steps) == []


def test_a_snapshot_is_pushed_in_the_background_and_goes_when_it_is_there(
    hub, publisher, folder, write, caplog
):
    gate = hub.hold(COMMITS)
    publisher.push_snapshot(10, write)
    assert publisher._thread.is_alive()  # and this test, the training, is already here
    gate.set()
    _wait(publisher)
    assert [_messages_of(hub, name) for name in NAMES] == [["Step 10"]] * 2
    assert not folder.hub_snapshot.exists()
    assert f"pushed (Step 10) to mtp/vit: {hub.url}/mtp/vit/commit/" in caplog.text


def test_pushes_do_not_overlap_and_the_results_wait_for_the_last_one(hub, publisher, write, caplog):
    gate = hub.hold(COMMITS)
    publisher.push_snapshot(10, write)
    publisher.push_snapshot(20, write)
    assert "not pushed (Step 20): an earlier push is still under way" in caplog.text
    threading.Timer(0.2, gate.set).start()
    publisher.push_results(40)
    assert "waiting for the push under way" in caplog.text
    assert _messages_of(hub) == ["Step 10", "Results after 40 steps"]
    assert len(hub.state.uploads) == len(set(hub.state.uploads)) == 2  # the weights are the same
    assert len(hub.calls(COMMITS)) == 4


@pytest.mark.parametrize(
    ("request_line", "status", "reason"),
    [
        ("POST /api/repos/create", 401, "the Hub answered 401: the token is not valid"),
        (COMMITS, 403, "the Hub answered 403: the token may not write there"),
        (UPLOADS, 429, "the Hub answered 429: too many requests"),
        (UPLOADS, 500, "the Hub answered 500: told to fail"),
    ],
)
def test_a_failed_push_is_a_warning_and_the_next_one_makes_it_good(
    hub, publisher, folder, write, caplog, request_line, status, reason
):
    hub.fail(request_line, status, times=6)
    publisher.push_snapshot(10, write)
    _wait(publisher)
    (record,) = [each for each in caplog.records if each.name == "mtp_hf.training.publishing"]
    assert f"not pushed (Step 10): {reason}" in record.message
    assert record.message.endswith(f"; by hand: mtp-hf push {folder.hub_snapshot} mtp/vit")
    hub.heal()
    publisher.push_snapshot(20, write)
    _wait(publisher)
    publisher.push_results(40)
    assert _messages_of(hub) == ["Step 20", "Results after 40 steps"]
    assert len(hub.state.uploads) == len(set(hub.state.uploads)) == 2
    assert not folder.hub_snapshot.exists()


def test_the_command_of_the_warning_works_from_the_kept_snapshot(
    hub, publisher, folder, write, caplog
):
    hub.cut(UPLOADS, after=100, times=6)
    publisher.push_snapshot(10, write)
    _wait(publisher)
    assert "not pushed (Step 10): no connection to the Hub (" in caplog.text
    command = caplog.records[-1].message.split("by hand: ")[1]
    main(command.split()[1:])
    assert _messages_of(hub) == ["Push by mtp-hf push"]


def test_a_snapshot_that_cannot_be_written_is_a_warning(hub, publisher, folder, caplog):
    def full_disk(target):
        (target / "encoder").mkdir()
        raise OSError(28, "No space left on device")

    publisher.push_snapshot(10, full_disk)
    assert "not pushed (Step 10): no snapshot: OSError: [Errno 28] No space left" in caplog.text
    assert not folder.hub_snapshot.exists()
    assert hub.requests == []


def test_results_that_cannot_be_pushed_stay_where_they_are(hub, publisher, folder, caplog):
    hub.fail(COMMITS, 500)
    publisher.push_results(40)
    assert f"; by hand: mtp-hf push {folder.path} mtp/vit" in caplog.text
    assert (folder.path / "model" / "model.safetensors").is_file()


def test_ctrl_c_during_the_last_push_leaves_the_command(publisher, folder, caplog, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("mtp_hf.training.publishing.push_run", interrupted)
    publisher.push_results(40)
    assert f"was interrupted; by hand: mtp-hf push {folder.path} mtp/vit" in caplog.text


def test_a_private_run_is_pushed_by_hand_in_private_too(client, hub, folder, caplog, accelerator):
    publisher = Publisher(HubOptions("vit", private=True), folder)
    hub.fail(COMMITS, 500)
    publisher.push_results(40)
    assert f"by hand: mtp-hf push {folder.path} mtp/vit --private" in caplog.text
    assert hub.state.repositories["mtp/vit"].private


def test_the_hub_is_asked_before_the_run_and_nothing_is_made(
    client, hub, accelerator, folder, caplog
):
    assert start_publisher(accelerator, HubOptions("vit", "lab"), folder).names == {
        "encoder": "lab/vit",
        "model": "lab/vit-pretraining",
    }
    assert "results go to lab/vit and lab/vit-pretraining on the Hub" in caplog.text
    assert hub.state.repositories == {}


def test_a_run_that_could_never_push_does_not_start(client, accelerator, folder, monkeypatch):
    with pytest.raises(ValueError, match="--push_to_hub: cannot make other/vit: the token is of"):
        start_publisher(accelerator, HubOptions("other/vit"), folder)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match="--push_to_hub: no Hub token: log in with"):
        start_publisher(accelerator, HubOptions("vit"), folder)


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_in_trouble_does_not_keep_a_run_from_starting(
    client, hub, accelerator, folder, caplog, status
):
    hub.fail("whoami", status)
    publisher = start_publisher(accelerator, HubOptions("vit"), folder)
    assert f"the Hub could not be asked: the Hub answered {status}" in caplog.text
    publisher.push_results(40)
    assert _messages_of(hub) == ["Results after 40 steps"]


def test_no_network_does_not_keep_a_run_from_starting_or_ending(
    client, accelerator, folder, caplog, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    publisher = start_publisher(accelerator, HubOptions("vit"), folder)
    assert "the Hub could not be asked: no connection to the Hub (ConnectError: " in caplog.text
    publisher.push_results(40)
    assert "not pushed (Results after 40 steps): no connection to the Hub (" in caplog.text


def test_of_two_processes_the_main_one_asks_and_none_waits_for_the_other(hub, tmp_path):
    answers = run_processes(ask_in_turn, hub.url, str(tmp_path), ["other/vit", "vit"])
    assert answers == [["ValueError", "acts: True"], ["OtherProcessError", "acts: False"]]
    assert len(hub.calls("whoami")) == 2  # once for each repository


def test_the_repositories_are_those_of_the_hub_s_own_list(publisher, hub, write):
    publisher.push_snapshot(10, write)
    _wait(publisher)
    assert {HfApi().repo_info(name).id for name in NAMES} == set(NAMES)
