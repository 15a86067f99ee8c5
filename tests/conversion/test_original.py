"""Claims about the way back to the original's names."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mtp_hf.conversion.original import (
    RECORD,
    original_state_dict,
    relative_position_index,
    restore_original,
)
from tests.conversion.tiny_originals import tiny_model
from tests.parity.recordings import Recording


def test_index_of_a_small_window_counts_down_from_the_middle():
    assert relative_position_index(1).tolist() == [[0]]
    assert relative_position_index(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_index_equals_the_recorded_one(shared_dir):
    recording = Recording(shared_dir / "fixtures", "rvsa_pretrain_112")
    recorded = recording["state_dict/blocks.0.attn.relative_position_index"]
    assert torch.equal(relative_position_index(7), recorded)


def test_windows_and_full_attention_get_their_own_names_for_relative_positions():
    model = tiny_model("backbone")  # blocks 1 and 3 attend to the whole grid
    keys = original_state_dict(model.state_dict(), model.config, "backbone", "encoder.")
    assert "encoder.blocks.0.attn.rel_pos_h" in keys
    assert "encoder.blocks.1.attn.full_attn_rel_pos_h" in keys
    assert "encoder.blocks.0.attn.relative_position_index" in keys
    assert "encoder.blocks.1.attn.relative_position_index" not in keys


def test_a_model_that_was_trained_here_goes_back_without_a_record(tmp_path):
    model = tiny_model("faster_rcnn")
    model.save_pretrained(tmp_path / "trained")
    keys = restore_original(tmp_path / "trained", tmp_path / "out.pth")
    weights = torch.load(tmp_path / "out.pth")["state_dict"]
    assert list(weights) == keys
    assert weights["roi_head.bbox_head.fc_cls.weight"].shape == (4, 32)
    assert "backbone.pos_embed" in weights


def test_existing_file_is_kept_unless_told_otherwise(tmp_path):
    tiny_model("internimage").save_pretrained(tmp_path / "x")
    (tmp_path / "out.pth").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        restore_original(tmp_path / "x", tmp_path / "out.pth")
    assert (tmp_path / "out.pth").read_text() == "mine"
    restore_original(tmp_path / "x", tmp_path / "out.pth", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.pth", "x"]


def test_folders_of_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        restore_original(tmp_path, tmp_path / "out.pth")
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(ValueError, match="BertModel is no model of this package"):
        restore_original(tmp_path, tmp_path / "out.pth")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "{", r"config\.json: no JSON"),
        (RECORD, "[", r"conversion\.json: no JSON"),
        (
            RECORD,
            '{"row": "yolo"}',
            r"conversion\.json: row 'yolo', expected one of mtp_pretraining",
        ),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, file, text, message):
    tiny_model("internimage").save_pretrained(tmp_path / "x")
    (tmp_path / "x" / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        restore_original(tmp_path / "x", tmp_path / "out.pth")


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    tiny_model("internimage").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["embeddings.conv1.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing keys: embeddings\.conv1\.bias"):
        restore_original(tmp_path, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_weights_of_several_types_stay_as_they_are(tmp_path):
    model = tiny_model("internimage")
    model.embeddings.conv1.half()
    model.save_pretrained(tmp_path)
    restore_original(tmp_path, tmp_path / "out.pth")
    weights = torch.load(tmp_path / "out.pth")["state_dict"]
    assert weights["patch_embed.conv1.bias"].dtype == torch.float16
    assert torch.equal(weights["patch_embed.conv2.bias"], model.embeddings.conv2.bias)


def test_a_pickle_is_not_written_under_the_name_of_another_format(tmp_path):
    tiny_model("internimage").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"back\.safetensors: .* expected NAME\.pth"):
        restore_original(tmp_path, tmp_path / "back.safetensors")


def test_parameter_that_the_original_lacks_is_named():
    model = tiny_model("backbone")
    weights = model.state_dict() | {"new.weight": torch.ones(1)}
    with pytest.raises(ValueError, match=r"new\.weight: the original has no such parameter"):
        original_state_dict(weights, model.config, "backbone", "")
