"""Claims about `mtp-hf data export`, as it is typed."""

import numpy as np
import pytest
from PIL import Image

from mtp_hf.cli import main
from mtp_hf.datasets_command.export_action import KINDS
from tests.fakes import write_samrs_by_hand
from tests.fakes_detection import write_dior


def export(*arguments):
    """Exit status of the command."""
    try:
        main(["data", "export", *map(str, arguments)])
    except SystemExit as status:
        return status.code
    return 0


def test_dior_becomes_two_coco_files(tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert export("dior_coco", write_dior(tmp_path / "raw"), out) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{out}/DIOR_trainval_coco.json: 2 images, 2 objects",
        f"{out}/DIOR_test_coco.json: 1 images, 1 objects",
    ]


def test_the_set_of_samrs_is_chosen_by_config(tmp_path):
    write_samrs_by_hand(tmp_path / "raw", "fast")
    assert export("samrs_coco", tmp_path / "raw", tmp_path / "out", "--config", "fast") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "fast_train_ins_segmentation.json",
        "fast_valid_ins_segmentation.json",
    ]


def test_labels_and_xml_need_no_data_set(tmp_path, capsys):
    (tmp_path / "maps").mkdir()
    Image.fromarray(np.uint8([[1, 7]])).save(tmp_path / "maps" / "5.png")
    assert export("loveda_labels", tmp_path / "maps", tmp_path / "labels") == 0
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "Task1_Van.txt").write_text("5 0.5 1 1 2 1 2 2 1 2\n")
    arguments = ("--images", tmp_path / "maps")
    assert export("fair1m_xml", tmp_path / "texts", tmp_path / "xml", *arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'labels'}: 1 maps",
        f"{tmp_path / 'xml' / 'test'}: 1 files, 1 objects",
    ]


def test_help_names_every_kind(capsys):
    assert export("--help") == 0
    text = capsys.readouterr().out
    for kind, about in KINDS.items():
        assert f"  {kind.ljust(15)}  {about}\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dota_coco", ".", "out"], "argument KIND: invalid choice: 'dota_coco'"),
        (["samrs_coco", ".", "out"], "error: samrs_coco needs --config"),
        (["samrs_coco", ".", "out", "--config", "dior"], "has no config 'dior'; expected one of"),
        (["dior_coco", ".", "out", "--config", "obb"], "error: dior_coco takes no --config"),
        (["fair1m_xml", ".", "out"], "error: fair1m_xml needs --images"),
        (["dior_coco", ".", "out", "--images", "."], "error: dior_coco takes no --images"),
        (["dior_coco", "gone", "out"], "error: gone: no such folder"),
        (["loveda_labels", ".", "out", "--option", "a=b"], "loveda_labels takes no --option"),
        (["loveda_labels", ".", "out"], "no png file; expected maps of 1 to 7"),
        (["dior_coco", ".", "out", "--option", "a=b"], "data set 'dior' has no option 'a'"),
        (["dior_coco", "."], "the following arguments are required: OUT"),
    ],
)
def test_what_cannot_be_exported_ends_with_status_2_and_a_message(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert export(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
