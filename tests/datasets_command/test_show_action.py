"""Claims about `mtp-hf data show`, as it is typed."""

import pytest
from PIL import Image

from mtp_hf.cli import main
from tests.datasets_command.made_sets import clean_rows, write_rows
from tests.fakes import write_samrs


def show(*arguments):
    """Exit status of the command."""
    try:
        main(["data", "show", *map(str, arguments)])
    except SystemExit as status:
        return status.code
    return 0


@pytest.mark.parametrize(
    "family", ["classification", "detection", "oriented", "segmentation", "change"]
)
def test_every_family_is_drawn(made_builder, tmp_path, capsys, family):
    root = write_rows(tmp_path / "set", clean_rows(family, tmp_path / "set"))
    output = tmp_path / "sheet.png"
    assert show(f"made/{family}", root, "--output", output, "--side", 96) == 0
    with Image.open(output) as sheet:
        assert len(sheet.getcolors(1 << 24)) > 1000
        found = f"{output}: 2 rows, {sheet.width} x {sheet.height} pixels\n"
    assert capsys.readouterr().out == found


def test_split_number_and_seed_are_options(tmp_path, capsys):
    root = write_samrs(tmp_path, 6, 3)
    sheets = []
    for number, seed in enumerate((0, 0, 5)):
        output = tmp_path / f"{number}.png"
        arguments = ("--output", output, "--split", "train", "--num", 2, "--seed", seed)
        assert show("samrs/fast", root, *arguments) == 0
        sheets.append(output.read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]
    assert show("samrs/fast", root, "--output", tmp_path / "v.png", "--split", "validation") == 0
    assert "v.png: 3 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.jpg"], "error: --output a.jpg; expected a name that ends with .png"),
        (["--output", "gone/a.png"], "error: gone: no such folder; expected that of the sheet"),
        (["--output", "a.png", "--split", "test"], "has no split 'test'; expected one of ['tr"),
        ([], "the following arguments are required: --output"),
        (["--output", "a.png", "--num", "0"], "argument --num: 0 is less than 1"),
        (["--output", "a.png", "--num", "x"], "argument --num: invalid"),
    ],
)
def test_what_cannot_be_drawn_ends_with_status_2_and_a_message(
    made_builder, tmp_path, monkeypatch, capsys, arguments, message
):
    root = write_rows(tmp_path / "set", clean_rows("detection", tmp_path / "set"))
    monkeypatch.chdir(tmp_path)
    assert show("made/detection", root, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not list(tmp_path.glob("*.png"))


def test_a_row_that_cannot_be_read_is_named(made_builder, tmp_path, capsys):
    root = write_rows(tmp_path / "set", {"train": [{"broken": "the only row"}]})
    assert show("made/detection", root, "--output", tmp_path / "a.png") == 2
    assert capsys.readouterr().err.endswith("rows.json: the only row\n")


def test_the_sets_of_real_pictures_are_drawn(shared_dir, tmp_path):
    for config in ("sior", "sota_rbb", "fast"):
        output = tmp_path / f"{config}.png"
        root = shared_dir / "data" / "samrs_mini"
        assert show(f"samrs/{config}", root, "--output", output, "--num", 2) == 0
        assert output.stat().st_size > 100_000


def test_a_row_that_cannot_be_read_is_left_out_on_demand(made_builder, tmp_path, capsys):
    rows = clean_rows("detection", tmp_path / "set")
    rows["train"].append({"broken": "the last row"})
    root = write_rows(tmp_path / "set", rows)
    arguments = ("--output", tmp_path / "a.png", "--option", "on_error=skip")
    assert show("made/detection", root, *arguments) == 0
    assert "rows.json: the last row\n" in capsys.readouterr().out


def test_a_split_without_labels_is_drawn(tmp_path):
    for name in ("train/ship/1.jpg", "test/2.jpg"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "set" / name)
    arguments = ("--output", tmp_path / "a.png", "--split", "test")
    assert show("image_folder", tmp_path / "set", *arguments) == 0
