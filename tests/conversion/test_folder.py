"""Claims about converted folders: they load, give the same weights, and are whole or not there."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoImageProcessor

from mtp_hf.conversion import folder as folder_module
from mtp_hf.conversion.folder import build_processor, convert_checkpoint, written_whole
from mtp_hf.conversion.original import LEFTOVERS, RECORD, restore_original
from tests.conversion.tiny_originals import TINY_FAMILIES, tiny_model, tiny_original


def _file(folder, weights, **extra):
    path = folder / "original.pth"
    torch.save({"state_dict": weights, **extra}, path)
    return path


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_converted_folder_loads_with_the_weights_and_leads_back_bit_by_bit(tmp_path, name):
    weights = tiny_original(name)
    report = convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")
    model = tiny_model(name)
    assert report.model == type(model).__name__
    loaded, info = type(model).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    pairs = zip(model.state_dict().items(), loaded.state_dict().values(), strict=True)
    for (key, value), other in pairs:  # in order: the data sets of pretraining get other names
        assert torch.equal(other, value), key
    assert loaded.config.num_labels == model.config.num_labels
    restore_original(tmp_path / "out", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth")["state_dict"]
    assert list(back) == list(weights)
    assert all(torch.equal(back[key], weights[key]) for key in weights)


def test_layers_that_the_original_never_applies_survive_the_round_trip(tmp_path):
    weights = tiny_original("backbone") | {
        "norm.weight": torch.rand(32),
        "norm.bias": torch.rand(32),
    }
    convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")
    assert (tmp_path / "out" / LEFTOVERS).is_file()
    restore_original(tmp_path / "out", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth")["state_dict"]
    assert torch.equal(back["norm.weight"], weights["norm.weight"])


@pytest.mark.parametrize("wrapper", ["model", None])
def test_wrapping_is_restored(tmp_path, wrapper):
    weights = {f"module.{k}": v for k, v in tiny_original("internimage").items()}
    content = weights if wrapper is None else {wrapper: weights}
    torch.save(content, tmp_path / "x.pth")
    convert_checkpoint(tmp_path / "x.pth", tmp_path / "out")
    restore_original(tmp_path / "out", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth")
    assert list(back if wrapper is None else back[wrapper]) == list(weights)


def test_folder_is_complete_for_the_hub(tmp_path):
    source = _file(
        tmp_path, tiny_original("upernet"), optimizer={}, meta={"CLASSES": ["x", "y", "z"]}
    )
    convert_checkpoint(source, tmp_path / "out")
    out = tmp_path / "out"
    config = AutoConfig.from_pretrained(out)
    assert config.id2label == {0: "x", 1: "y", 2: "z"}  # the file names its classes
    assert AutoImageProcessor.from_pretrained(out).size.height == 112
    assert (out / "modeling_upernet_rs.py").is_file()
    card = (out / "README.md").read_text()
    assert "original.pth" in card and 'from_pretrained("out")' in card and "x, y, z" in card
    record = json.loads((out / RECORD).read_text())
    assert len(record["converted"]) + len(record["unused"]) == len(tiny_original("upernet"))
    assert "optimizer" in record["notes"][0]


def test_error_leaves_nothing_behind(tmp_path, monkeypatch):
    source = _file(tmp_path, tiny_original("backbone"))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(folder_module, "render_card", fail)
    with pytest.raises(ValueError, match="out: cannot be written: disk full"):
        convert_checkpoint(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["original.pth"]


def test_existing_folder_is_kept_unless_told_otherwise(tmp_path):
    source = _file(tmp_path, tiny_original("backbone"))
    (tmp_path / "out").mkdir()
    convert_checkpoint(source, tmp_path / "out")  # an empty folder is fine
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="out: exists already; --overwrite"):
        convert_checkpoint(source, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").is_file()
    convert_checkpoint(source, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_the_source_is_never_replaced(tmp_path):
    source = _file(tmp_path, tiny_original("backbone"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"original\.pth lies in it and would be lost"):
        convert_checkpoint(source, tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "original.pth"]


@pytest.mark.parametrize("names", [["notes.txt"], ["config.json", "src/code.py"], ["src/code.py"]])
def test_a_folder_of_anything_else_is_not_replaced(tmp_path, names):
    for name in names:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    source = _file(tmp_path, tiny_original("backbone"))
    with pytest.raises(ValueError, match="out: no folder of a model alone"):
        convert_checkpoint(source, tmp_path / "out", overwrite=True)
    assert all((tmp_path / "out" / name).read_text() == "mine" for name in names)


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    source = _file(tmp_path, tiny_original("backbone"))
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="out: no folder of a model alone"):
        convert_checkpoint(source, tmp_path / "out", overwrite=True)


def test_weights_of_several_types_survive_the_round_trip(tmp_path):
    weights = {k: v.half() if v.ndim == 4 else v for k, v in tiny_original("upernet").items()}
    report = convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")
    assert "are of type float16; all are saved as float32" in report.notes[0]
    restore_original(tmp_path / "out", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth")["state_dict"]
    for key, value in weights.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key


def test_unused_weights_that_share_their_numbers_are_kept(tmp_path):
    shared = torch.rand(3)
    unused = {"auxiliary_head.a": shared, "auxiliary_head.b": shared}
    convert_checkpoint(_file(tmp_path, tiny_original("upernet") | unused), tmp_path / "out")
    assert load_file(tmp_path / "out" / LEFTOVERS).keys() == unused.keys()


def test_constant_of_another_shape_is_kept(tmp_path):
    key = "blocks.0.attn.relative_position_index"
    weights = tiny_original("backbone") | {key: torch.tensor(1)}
    convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")
    assert load_file(tmp_path / "out" / LEFTOVERS).keys() == {key}


def test_other_weights_in_the_file_are_told_from_what_is_none(tmp_path):
    weights = tiny_original("backbone")
    source = _file(tmp_path, weights, meta={}, ema_state_dict=weights)
    assert convert_checkpoint(source, tmp_path / "out").notes == [
        "not read, since they are no weights: meta",
        "other weights in the file, not taken: ema_state_dict; those of state_dict were",
    ]


def test_failed_replacement_keeps_the_old_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "out") as work:
        (work / "new.txt").write_text("y")
        raise RuntimeError
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_errors_name_file_and_key(tmp_path):
    weights = tiny_original("upernet")
    del weights["backbone.pos_embed"]
    with pytest.raises(
        ValueError, match=r"original\.pth: .*keys backbone\.\*: pos_embed is missing"
    ):
        convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")


def test_wrong_data_set_is_refused_with_both_counts(tmp_path):
    source = _file(tmp_path, tiny_original("faster_rcnn"))
    message = r"original\.pth: roi_head\.bbox_head\.fc_cls\.weight .* 3 classes, but dior has 20"
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(source, tmp_path / "out", dataset="dior")
    assert not (tmp_path / "out").exists()


def test_other_numbers_of_channels_are_told(tmp_path):
    weights = tiny_original("internimage")
    weights["patch_embed.conv1.weight"] = torch.randn(8, 4, 3, 3)
    report = convert_checkpoint(_file(tmp_path, weights), tmp_path / "out")
    assert "reads images of 4 channels, the image processor makes three" in report.notes[-1]
    assert AutoConfig.from_pretrained(tmp_path / "out").num_channels == 4


@pytest.mark.parametrize(
    ("model", "processor"),
    [
        ("SiameseUNetForChangeDetection", "ChangeDetectionImageProcessor"),
        ("UperNetRSForSemanticSegmentation", "SegmentationImageProcessor"),
        ("OrientedRCNNForOrientedObjectDetection", "DetectionImageProcessor"),
        ("RetinaNetForObjectDetection", "DetectionImageProcessor"),
        ("MaskRCNNForInstanceSegmentation", "InstanceSegmentationImageProcessor"),
        ("MTPForPreTraining", "MTPImageProcessor"),
        ("ViTRVSABackbone", "MTPImageProcessor"),
    ],
)
def test_processor_is_that_of_the_task(model, processor):
    built = build_processor(model, 384)
    assert type(built).__name__ == processor
    assert (built.size.height, built.size.width) == (384, 384)


def test_scenes_are_cropped_to_the_side_of_the_model():
    built = build_processor("InternImageForImageClassification", 224)
    assert type(built).__name__ == "ClassificationImageProcessor"
    assert (built.size.shortest_edge, built.crop_size.height) == (256, 224)


def test_size_that_no_key_tells_is_the_usual_one_of_the_task_or_as_set(tmp_path):
    source = _file(tmp_path, tiny_original("internimage_classifier"))
    for settings, side in ({}, 224), ({"image_size": 56}, 56):
        convert_checkpoint(source, tmp_path / "out", settings=settings, overwrite=True)
        assert AutoImageProcessor.from_pretrained(tmp_path / "out").crop_size.height == side
