"""Claims about `mtp-hf convert` as it is typed."""

import pytest
import torch

from mtp_hf.cli import main
from mtp_hf.conversion.command import parse_setting
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from tests.conversion.tiny_originals import tiny_original


@pytest.fixture
def source(tmp_path):
    torch.save({"state_dict": tiny_original("upernet")}, tmp_path / "x.pth")
    return str(tmp_path / "x.pth")


def test_command_converts_and_goes_back(source, tmp_path, capsys):
    out = str(tmp_path / "out")
    main(["convert", source, out, "--set", "out_indices=[0, 1, 2, 3]", "--set", "dropout=0.2"])
    printed = capsys.readouterr().out
    assert "UPerNet of mmsegmentation on ViT + RVSA -> UperNetRSForSemanticSegmentation" in printed
    assert "assumed: out_indices" not in printed
    assert UperNetRSForSemanticSegmentation.from_pretrained(out).config.dropout == 0.2
    main(["convert", out, str(tmp_path / "back.pth"), "--to-original"])
    assert "under the original's names" in capsys.readouterr().out
    back = torch.load(tmp_path / "back.pth")["state_dict"]
    assert list(back) == list(tiny_original("upernet"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--dataset", "mars"], "no data set 'mars'; known: cdd"),
        (["--dataset", "dior"], "3 classes, but dior has 20"),
        (["--set", "nothing"], "--set nothing: expected NAME=VALUE"),
        (["--set", "x=[1"], "no YAML"),
        (["--set", "hiden_size=3"], "--set hiden_size: no such field"),
        (["--to-original"], "no config.json"),
        (["--to-original", "--no-strict"], "takes no --dataset"),
    ],
)
def test_mistakes_end_with_a_message_and_write_nothing(source, tmp_path, extra, message):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", source, str(tmp_path / "out"), *extra])
    assert str(stopped.value).startswith("error: ")
    assert message in str(stopped.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_folder_as_source_and_missing_file_are_named(source, tmp_path):
    with pytest.raises(SystemExit, match="a folder; expected a file"):
        main(["convert", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"nowhere\.pth: no such file"):
        main(["convert", "nowhere.pth", str(tmp_path / "out")])


def test_unexplained_key_fails_unless_told_otherwise(tmp_path, capsys):
    torch.save(
        {"state_dict": tiny_original("backbone") | {"odd": torch.ones(1)}}, tmp_path / "x.pth"
    )
    with pytest.raises(SystemExit, match="odd is not used"):
        main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "out")])
    main(["convert", str(tmp_path / "x.pth"), str(tmp_path / "out"), "--no-strict"])
    assert "unused: odd (1): UNEXPLAINED" in capsys.readouterr().out


def test_settings_are_yaml():
    assert parse_setting("out_indices=[1, 2]") == ("out_indices", [1, 2])
    assert parse_setting("a.b=1.0e-3") == ("a.b", 0.001)
