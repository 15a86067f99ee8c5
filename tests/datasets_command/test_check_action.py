"""Claims about `mtp-hf data check`, as it is typed."""

import json

import numpy as np
import pytest

from mtp_hf.cli import main
from tests.datasets_command.made_sets import (
    clean_rows,
    objects_of,
    picture_row,
    write_map,
    write_noise,
    write_rows,
)
from tests.fakes import pickle_path, write_samrs, write_samrs_by_hand

FAMILIES = ("classification", "detection", "oriented", "segmentation", "change")


def check(*arguments):
    """Exit status of the command."""
    try:
        main(["data", "check", *map(str, arguments)])
    except SystemExit as status:
        return status.code
    return 0


@pytest.fixture
def made(made_builder, tmp_path, capsys):
    """Write rows of a family, check them, and return the status and what was found by kind."""

    def run(family, rows, *arguments):
        root = write_rows(tmp_path / "set", rows)
        status = check(f"made/{family}", root, "--json", "--num_proc", "1", *arguments)
        report = json.loads(capsys.readouterr().out)
        assert report["is_clean"] == (status == 0)
        return status, {found["kind"]: found for found in report["findings"]}

    return run


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clean_set_of_every_family_ends_with_status_0(made, tmp_path, family):
    status, found = made(family, clean_rows(family, tmp_path / "set"))
    assert status == 0
    kinds = {"classes without an example"} if family == "classification" else set()
    assert set(found) == kinds


def test_a_clean_set_says_so_in_a_table(tmp_path, capsys):
    root = write_samrs(tmp_path)
    assert check("samrs/sior", root) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"samrs/sior in {root}: samrs, 20 classes\n")
    assert "| train      | 4       | 4        | 64 x 64: 4" in text
    assert text.endswith("\n\nNothing is wrong.\n")
    assert "pictures without an object (train): 1" in text


def test_numbers_are_those_of_the_rows(made_builder, tmp_path, capsys):
    root = write_rows(tmp_path / "set", clean_rows("detection", tmp_path / "set"))
    assert check("made/detection", root, "--json") == 0
    train = json.loads(capsys.readouterr().out)["splits"]["train"]
    assert train["num_records"] == train["num_images"] == 2
    assert train["sizes"] == {"48x32": 2}
    assert train["class_counts"] == {"objects": {"plane": 2, "ship": 2, "harbor": 2}}
    boxes = train["boxes"]["objects"]
    assert (boxes["num_objects"], boxes["num_objects_mean"], boxes["num_objects_max"]) == (6, 3, 3)
    assert boxes["shorter_side_px"]["50"] == 8.0
    assert boxes["longer_side_px"]["100"] == 12.0


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_read(made):
    rows = {"train": [picture_row("a", objects=objects_of([], [])), {"broken": "row 2 is odd"}]}
    status, found = made("detection", rows)
    assert status == 1
    assert [item.split(": ")[1] for item in found["records that cannot be read"]["items"]] == [
        "row 2 is odd"
    ]
    assert found["splits without labels"]["items"] == ["1 pictures, no object"]


def test_pictures_without_an_object_are_named_unless_all_are_without(made, tmp_path):
    empty = [picture_row(name, objects=objects_of([], [])) for name in "xyz"]
    rows = clean_rows("detection", tmp_path / "set")
    status, found = made("detection", {"train": rows["train"] + empty[:1], "test": empty[1:]})
    assert status == 0
    assert found["pictures without an object"]["items"] == [str(tmp_path / "set" / "x.png")]
    assert found["splits without labels"]["items"] == ["2 pictures, no object"]
    assert found["splits without labels"]["split"] == "test"


def test_a_missing_picture_a_cut_one_and_a_file_that_is_none_are_named(made, tmp_path):
    rows = clean_rows("detection", tmp_path / "set")
    write_rows(tmp_path / "set", rows)
    (tmp_path / "set" / "a.png").write_text("no picture")
    whole = (tmp_path / "set" / "b.png").read_bytes()
    (tmp_path / "set" / "b.png").write_bytes(whole[: len(whole) // 2])
    status, found = made("detection", rows, "--decode")
    assert status == 1
    items = found["pictures that cannot be read"]["items"]
    assert len(items) == 2
    assert "a.png: no picture" in items[0]
    assert "b.png: damaged (" in items[1]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_named_with_file_and_object(made, label):
    status, found = made(
        "detection", {"train": [picture_row("a", objects=objects_of([[1, 2, 3, 4]], [label]))]}
    )
    assert status == 1
    item = found["labels out of range"]["items"][0]
    assert item.endswith(f"a.png, objects 0: label {label}, box 1, 2, 3, 4")


def test_values_of_a_map_that_are_no_class_are_named(made, tmp_path):
    rows = clean_rows("segmentation", tmp_path / "set")
    values = np.zeros((32, 48))
    values[0, :3] = 3, 200, 255
    write_map(tmp_path / "set" / "a_map.png", values)
    status, found = made("segmentation", rows)
    assert status == 1
    item = found["labels out of range"]["items"][0]
    assert item.endswith("a.png: values [3, 200] in the map")


@pytest.mark.parametrize(
    ("box", "kind", "status"),
    [
        ([60, 2, 5, 5], "objects outside the picture", 1),
        ([2, -9, 5, 5], "objects outside the picture", 1),
        ([45, 2, 5, 5], "objects that leave the picture", 0),
        ([4, 4, 0, 5], "objects without an area", 0),
    ],
)
def test_a_box_that_cannot_be_right_is_named(made, box, kind, status):
    rows = {"train": [picture_row("a", objects=objects_of([box], [1]))]}
    found_status, found = made("detection", rows)
    assert found_status == status
    assert found[kind]["count"] == 1
    others = {"classes without an example", kind}
    assert set(found) == others


@pytest.mark.parametrize("what", ["map", "later", "told"])
def test_sizes_that_differ_are_named(made, tmp_path, what):
    root = tmp_path / "set"
    rows = clean_rows("change", root)
    write_rows(root, rows)
    if what == "map":
        write_map(root / "a_map.png", np.zeros((30, 48)))
    elif what == "later":
        write_noise(root / "a_later.png", (40, 32))
    else:
        rows["train"][0]["width"] = 50
    status, found = made("change", rows)
    assert status == 1
    found_size = {"map": "its map 48 x 30", "later": "has 40 x 32", "told": "says 50 x 32"}[what]
    assert f"a.png: 48 x 32 pixels, {found_size}" in found["sizes that differ"]["items"][0].replace(
        "the later picture ", ""
    ).replace("the annotation ", "")


def test_the_same_picture_under_two_names_and_in_two_splits_is_named(made, tmp_path):
    root = tmp_path / "set"
    rows = clean_rows("classification", root)
    rows["train"].append({"image_id": "d", "image": "d.png", "label": 2})
    write_rows(root, rows)
    for copy in ("b.png", "c.png"):
        (root / copy).write_bytes((root / "a.png").read_bytes())
    status, found = made("classification", rows)
    assert status == 1
    shared = found["the same picture in several splits"]
    assert shared["split"] == "train and validation"
    assert [name.rpartition("/")[2] for name in shared["items"][0].split(" = ")] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    (root / "c.png").unlink()
    status, found = made("classification", rows)
    assert status == 1
    assert found["the same picture twice in a split"]["split"] == "train"


def test_a_pair_is_repeated_only_if_both_pictures_are(made, tmp_path):
    root = tmp_path / "set"
    rows = clean_rows("change", root)
    write_rows(root, rows)
    (root / "c.png").write_bytes((root / "a.png").read_bytes())
    assert made("change", rows) == (0, {})
    (root / "c_later.png").write_bytes((root / "a_later.png").read_bytes())
    status, found = made("change", rows)
    assert (status, set(found)) == (1, {"the same picture in several splits"})


def test_ids_used_twice_are_errors_in_a_split_and_remarks_between_splits(made, tmp_path):
    rows = clean_rows("classification", tmp_path / "set")
    rows["validation"][0]["image_id"] = "a"
    status, found = made("classification", rows)
    assert status == 0
    assert found["ids used in several splits"]["items"] == ["'a'"]
    rows["train"][1]["image_id"] = "a"
    status, found = made("classification", rows)
    assert status == 1
    assert found["ids used twice in a split"]["items"] == ["'a', 2 times"]


def test_several_processes_find_what_one_finds(made_builder, tmp_path, capsys):
    root = write_samrs(tmp_path, 40, 10)
    reports = []
    for num_proc in (1, 2):
        assert check("samrs/fast", root, "--json", "--num_proc", num_proc) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]
    assert reports[0]["splits"]["train"]["num_images"] == 40


def test_a_broken_pickle_and_repeated_pictures_of_a_real_layout_are_named(tmp_path, capsys):
    folder = write_samrs_by_hand(tmp_path, "sior")  # its three pictures are the same noise
    pickle_path(folder, "sior", "a").write_bytes(b"no pickle")
    assert check("samrs/sior", tmp_path, "--num_proc", "1") == 1
    text = capsys.readouterr().out
    assert "records that cannot be read (train): 1\n    image 'a': " in text
    assert "the same picture in several splits (train and validation): 1" in text
    assert text.endswith("2 things are wrong.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["samr", "."], "error: unknown data set 'samr'; expected one of "),
        (["samrs/dior", "."], "error: data set 'samrs' has no config 'dior'; expected one of"),
        (["samrs/sior", "nowhere"], "nowhere"),
        (["samrs/sior", "."], "error: "),
        (["samrs/sior", ".", "--option", "tasks"], "error: --option 'tasks'; expected KEY=VALUE"),
        (["samrs/sior", ".", "--option", "task=1"], "error: data set 'samrs' has no option 'task'"),
        (["samrs/sior", ".", "--num_proc", "0"], "argument --num_proc: 0 is less than 1"),
        (["samrs/sior", ".", "--jsn"], "unrecognized arguments: --jsn"),
        (["samrs/sior"], "the following arguments are required: DIR"),
    ],
)
def test_what_cannot_run_ends_with_status_2_and_a_message(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert check(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_options_reach_the_builder(tmp_path, capsys):
    root = write_samrs(tmp_path)
    assert check("samrs/sior", root, "--json", "--option", "tasks=[rd]") == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["splits"]["train"]["boxes"]) == {"rotated_objects"}
