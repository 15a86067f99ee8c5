"""Claims about the output folder of a run."""

import pytest

from mtp_hf.training.run_folder import CONTENTS, RunFolder


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


def test_metrics_are_added_to_those_before(used):
    assert used.read_metrics() == {}
    used.write_metrics(before={"a": 0.0})
    used.write_metrics(after={"a": 0.5})
    assert used.read_metrics() == {"before": {"a": 0.0}, "after": {"a": 0.5}}


def test_what_was_written_is_listed(used):
    assert [path.name for path in used.list_written()] == [
        "recipe.yaml",
        "log.jsonl",
        "checkpoints",
    ]
    assert set(CONTENTS) >= {path.name for path in used.list_written()}
