"""Claims about the output folder of a run."""

import errno
import json
import os

import pytest

from mtp_hf.training import run_folder
from mtp_hf.training.run_folder import CONTENTS, RunFolder, check_is_no_run


@pytest.fixture
def used(tmp_path):
    """A folder that holds a run."""
    folder = RunFolder(tmp_path / "run")
    (folder.checkpoints / "step_0000001").mkdir(parents=True)
    folder.recipe.write_text("seed: 1\n")
    folder.log.write_text("")
    return folder


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_or_empty_folder_is_fine(tmp_path, overwrite):
    RunFolder(tmp_path / "new").check(is_resumed=False, overwrite=overwrite)
    RunFolder(tmp_path).check(is_resumed=False, overwrite=overwrite)


def test_another_run_is_not_overwritten_unasked(used):
    with pytest.raises(ValueError, match="holds a run already: go on with --resume latest"):
        used.check(is_resumed=False, overwrite=False)
    used.check(is_resumed=False, overwrite=True)
    used.check(is_resumed=True, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_no_run_wrote_are_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds files of something else \(thesis\.txt\)"):
        RunFolder(tmp_path).check(is_resumed=False, overwrite=overwrite)


def test_there_must_be_a_run_to_resume(tmp_path):
    with pytest.raises(ValueError, match="nothing to resume"):
        RunFolder(tmp_path / "new").check(is_resumed=True, overwrite=False)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        RunFolder(tmp_path / "x").check(is_resumed=False, overwrite=True)


def test_clearing_removes_what_a_run_wrote_and_nothing_else(used):
    (used.path / "notes.txt").write_text("mine")
    used.clear()
    assert [path.name for path in used.path.iterdir()] == ["notes.txt"]


def test_a_kill_while_clearing_leaves_a_folder_that_can_be_cleared_again(used, monkeypatch):
    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        used.clear()
    used.check(is_resumed=False, overwrite=True)


def test_clearing_removes_what_a_kill_left_half_written(used):
    (used.path / ".log.jsonl.tmp").write_text("half")
    used.clear()
    assert list(used.path.iterdir()) == []


def test_a_folder_is_made_and_tried_without_leaving_anything(tmp_path):
    folder = RunFolder(tmp_path / "new" / "run")
    folder.create()
    folder.create()
    assert list(folder.path.iterdir()) == []


def test_a_folder_under_a_file_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ValueError, match=r"cannot write into the output folder .*Not a directory"):
        RunFolder(tmp_path / "x" / "run").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(ValueError, match=r"cannot write into the output folder .*denied"):
        RunFolder(tmp_path).create()


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_read_only_or_full_disk_is_refused_with_the_system_s_words(tmp_path, monkeypatch, code):
    def fail(**kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", fail)
    with pytest.raises(ValueError, match=os.strerror(code)):
        RunFolder(tmp_path).create()


def test_metrics_that_are_not_json_are_named(used):
    used.metrics.write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json: not JSON"):
        used.read_metrics()


def test_metrics_are_added_to_those_before(used):
    assert used.read_metrics() == {}
    used.write_metrics(before={"a": 0.0})
    used.write_metrics(after={"a": 0.5})
    assert used.read_metrics() == {"before": {"a": 0.0}, "after": {"a": 0.5}}


def test_undefined_metrics_are_null(used):
    used.write_metrics(after={"changed_f1": float("nan")})
    assert json.loads(used.metrics.read_text(), parse_constant=pytest.fail) == {
        "after": {"changed_f1": None}
    }


def test_what_was_written_is_listed(used):
    assert [path.name for path in used.list_written()] == [
        "log.jsonl",
        "checkpoints",
        "recipe.yaml",
    ]
    assert set(CONTENTS) >= {path.name for path in used.list_written()}


def test_a_whole_run_in_place_of_its_model_is_refused_naming_what_is_in_it(used):
    for part in ("encoder", "model"):
        (used.path / part).mkdir()
        (used.path / part / "config.json").write_text("{}")
    expected = r"model\.init=.*run is a whole run: name .*run/encoder or .*run/model"
    with pytest.raises(ValueError, match=expected):
        check_is_no_run("model.init", str(used.path), ("encoder", "model", "best"))


def test_models_ids_and_nothing_are_no_runs(used, monkeypatch):
    (used.path / "model").mkdir()
    (used.path / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(used.path)  # an empty name is not this folder
    for name in (str(used.path / "model"), "mtp/vit-b-rvsa", "", None):
        check_is_no_run("model.init", name, ("model",))
