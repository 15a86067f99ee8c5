"""Claims about reading checkpoint files: what real ones hold is read, nothing is ever run."""

import argparse
import collections
import datetime
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mtp_hf.conversion.checkpoint_file import read_checkpoint, unwrap_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}


@pytest.fixture
def foreign_class(monkeypatch):
    """Make a class that lives in a package which is not installed."""

    def make(path: str, base: type = object) -> type:
        module_name, name = path.rsplit(".", 1)
        parts = module_name.split(".")
        for i in range(len(parts)):
            package = ".".join(parts[: i + 1])
            monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        made = type(name, (base,), {"__module__": module_name, "__qualname__": name})
        setattr(sys.modules[module_name], name, made)
        return made

    return make


def _harmful(function, *arguments):
    return type("Harmful", (), {"__reduce__": lambda self: (function, arguments)})()


def _is_equal(found):
    return set(found) == set(WEIGHTS) and all(torch.equal(found[k], WEIGHTS[k]) for k in WEIGHTS)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("is_zip", [True, False])
def test_weights_are_found_bare_or_wrapped_in_both_file_formats(tmp_path, wrapper, prefix, is_zip):
    inside = {prefix + key: value for key, value in WEIGHTS.items()}
    content = inside if wrapper is None else {"epoch": 3, wrapper: inside, "optimizer": {}}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
    found = read_checkpoint(tmp_path / "x.pth")
    assert _is_equal(found.state_dict)
    assert (found.wrapper, found.prefix) == (wrapper, prefix)
    assert found.other_entries == (() if wrapper is None else ("epoch", "optimizer"))


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    assert _is_equal(read_checkpoint(tmp_path / "x.safetensors").state_dict)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module.", ""]
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_names_of_wrappers_are_taken_off_together(tmp_path, prefix, suffix):
    content = {prefix + key: value for key, value in WEIGHTS.items()}
    save = torch.save if suffix == "pth" else save_file
    save(content, tmp_path / f"x.{suffix}")
    found = read_checkpoint(tmp_path / f"x.{suffix}")
    assert _is_equal(found.state_dict)
    assert found.prefix == prefix


def test_a_file_of_safetensors_without_weights_is_refused(tmp_path):
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="holds no weights"):
        read_checkpoint(tmp_path / "x.safetensors")


def test_other_weights_in_the_file_are_told_from_what_is_none():
    content = {"state_dict": WEIGHTS, "ema_state_dict": WEIGHTS, "meta": {}, "epoch": 3}
    found = unwrap_checkpoint(content)
    assert found.other_weights == ("ema_state_dict",)
    assert found.other_entries == ("meta", "epoch")


def test_prefix_that_not_all_keys_have_stays():
    keys = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert unwrap_checkpoint(keys).prefix == ""


def test_what_training_programs_add_is_passed_over(tmp_path, foreign_class):
    history = foreign_class("mmengine.logging.history_buffer.HistoryBuffer")()
    history.values = np.arange(3.0)
    node = foreign_class("yacs.config.CfgNode", dict)(LR=1)
    node.frozen = True
    content = {
        "state_dict": WEIGHTS,
        "meta": {"dataset_meta": {"classes": ("ship", "plane"), "palette": np.ones((2, 3))}},
        "message_hub": {"log_scalars": {"loss": history}},
        "loss_pretrain": np.zeros(5),
        "best": np.float64(3.0),
        "args": argparse.Namespace(lr=1, root=pathlib.PosixPath("x")),
        "config": node,
        "started": datetime.datetime.now(datetime.UTC),
        "counts": collections.defaultdict(dict, {1: collections.defaultdict(list, {2: [3]})}),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
    }
    torch.save(content, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert _is_equal(found.state_dict)
    assert found.class_names == ("ship", "plane")


def test_classes_of_older_files_are_found():
    content = {"state_dict": WEIGHTS, "meta": {"CLASSES": ["ship"]}}
    assert unwrap_checkpoint(content).class_names == ("ship",)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (eval, "eval"), (getattr, "getattr")]
)
def test_a_pickle_that_wants_to_run_code_is_refused_by_name(tmp_path, function, name, is_zip):
    trap = tmp_path / "ran"
    order = f"touch {trap}" if function is os.system else f"open({str(trap)!r}, 'w')"
    content = {"state_dict": WEIGHTS, "x": _harmful(function, order)}
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=rf"bad\.pth: .* wants to import \S*{name}.*not trust"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not trap.exists()


def test_names_that_are_passed_over_build_nothing(tmp_path):
    """An allowed name with hostile arguments is as dead as any other."""
    content = {"state_dict": WEIGHTS, "x": _harmful(argparse.Namespace, 1, 2)}
    torch.save(content, tmp_path / "x.pth")
    assert _is_equal(read_checkpoint(tmp_path / "x.pth").state_dict)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    file = tmp_path / "cut.pth"
    torch.save({"state_dict": WEIGHTS}, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"cut\.pth: cut short, damaged, or no checkpoint"):
        read_checkpoint(file)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_text("hello\n" * 100)
    with pytest.raises(ValueError, match=name):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1", "a pointer of git-lfs"),
        ("\n<!DOCTYPE html><html>", "a web page"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_what_was_downloaded_instead_is_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        read_checkpoint(tmp_path / name)


def test_no_message_advises_to_read_a_file_the_unsafe_way(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02garbage")
    with pytest.raises(ValueError, match="no checkpoint") as caught:
        read_checkpoint(tmp_path / "x.pth")
    assert "weights_only" not in str(caught.value)


def test_weights_of_another_library_are_refused_by_key(tmp_path):
    torch.save({"state_dict": {"a.weight": np.ones(3)}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"state_dict\.a\.weight is passed over, no tensor"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.pth: no such file"):
        read_checkpoint(tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 3}, "epoch is a int, no tensor"),
        ({"state_dict": {"a": 3}}, r"state_dict\.a is a int"),
        ({"state_dict": {}}, "no weights"),
        ({}, "no weights"),
    ],
)
def test_content_without_weights_is_named(content, message):
    with pytest.raises(ValueError, match=f"file: .*{message}"):
        unwrap_checkpoint(content, "file")
