"""The xml files of FAIR1M, from text files of DOTA's Task 1."""

from xml.etree import ElementTree

import pytest
from PIL import Image

from mtp_hf.dataset_scripts.class_names import FAST_CLASSES
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.submissions.fair1m_xml import (
    OFFICIAL_NAMES,
    export_fair1m_xml,
    fair1m_xml,
    official_name,
)
from tests.fakes_detection import POLYGONS

LINE = "{} 0.91 " + " ".join(f"{value:.2f}" for value in POLYGONS[0])


@pytest.fixture
def folders(tmp_path):
    """Text files of two classes and three images."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "images").mkdir()
    for stem in ("0", "1", "12"):
        Image.new("RGB", (60, 40)).save(tmp_path / "images" / f"{stem}.tif")
    for name in ("Small-Car", "other-ship"):
        lines = "\n".join(LINE.format(image) for image in ("0", "test_12"))
        (tmp_path / "texts" / f"Task1_{name}.txt").write_text(lines + "\n\n")
    return tmp_path


def export(folders):
    return export_fair1m_xml(folders / "texts", folders / "images", folders / "out")


def test_every_image_has_a_file_and_every_detection_an_object(folders):
    assert export(folders) == f"{folders / 'out' / 'test'}: 3 files, 4 objects"
    counts = {
        path.stem: len(ElementTree.parse(path).findall("objects/object"))
        for path in (folders / "out" / "test").iterdir()
    }
    assert counts == {"0": 2, "1": 0, "12": 2}


def test_images_may_lie_in_folders_below(folders):
    (folders / "images" / "images1").mkdir()
    (folders / "images" / "12.tif").rename(folders / "images" / "images1" / "12.tif")
    assert "3 files" in export(folders)


def test_a_file_has_the_fields_that_the_server_reads(folders):
    export(folders)
    root = ElementTree.parse(folders / "out" / "test" / "12.xml").getroot()
    assert root.findtext("source/filename") == "12.tif"
    assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == [
        "60",
        "40",
        "3",
    ]
    found = root.find("objects/object")
    assert [found.findtext(tag) for tag in ("coordinate", "type", "description")] == [
        "pixel",
        "rectangle",
        "None",
    ]
    assert found.findtext("possibleresult/name") == "Small Car"
    assert found.findtext("possibleresult/probability") == "0.91"
    points = [point.text for point in found.findall("points/point")]
    assert points[:2] == ["10.000000,5.000000", "30.000000,5.000000"]
    assert len(points) == 5 and points[4] == points[0]


def test_names_are_spelled_as_the_set_does():
    assert len(OFFICIAL_NAMES) == 37
    blanks = {name for name in OFFICIAL_NAMES.values() if "-" in name}
    assert blanks == {"other-airplane", "other-ship", "other-vehicle"}
    assert OFFICIAL_NAMES["drycargoship"] == "Dry Cargo Ship"


@pytest.mark.parametrize("word", ["Dry-Cargo-Ship", "Dry Cargo Ship", "dry_cargo_ship"])
@pytest.mark.parametrize("start", ["Task1_", "dets_Task1_", "_"])
def test_files_may_spell_classes_in_any_way_after_an_underscore(tmp_path, start, word):
    assert official_name(tmp_path / f"{start}{word}.txt") == "Dry Cargo Ship"


def test_the_export_names_the_team_of_the_script_and_our_files_ours(folders):
    export(folders)
    exported = (folders / "out" / "test" / "1.xml").read_text()
    own = fair1m_xml("1.tif", (4, 6), [])
    for text, team in ((exported, ["WHU", "SIGMA_dw"]), (own, ["mtp_hf", "mtp_hf"])):
        research = ElementTree.fromstring(text.partition("?>")[2]).find("research")
        assert [field.tag for field in research] == [
            "version", "provider", "author", "pluginname", "pluginclass", "time"
        ]  # fmt: skip
        assert [field.text for field in research] == [
            "2.0", *team, "FAIR1M", "object detection", "2024-02"
        ]  # fmt: skip


def test_the_builder_reads_back_what_was_written(folders):
    for name in FAST_CLASSES:
        (folders / "texts" / f"Task1_{name}.txt").write_text(LINE.format("1"))
    export(folders)
    train = folders / "fair1m" / "train" / "part1"
    train.mkdir(parents=True)
    (folders / "images").rename(train / "images")
    (folders / "out" / "test").rename(train / "labelXml")
    rows = load_dataset(
        "fair1m", data_dir=folders / "fair1m", split="train", streaming=True, quiet=True
    )
    row = next(row for row in rows if row["image_id"] == "train_1")
    assert sorted(row["objects"]["category"]) == list(range(37))
    assert row["objects"]["polygon"][0] == list(POLYGONS[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.9 1 2 3 4 5 6 7\n", r"Van\.txt, line 1: found '0 0\.9 1 2.*; expected: image score"),
        ("\n0 high 1 2 3 4 5 6 7 8\n", r"Van\.txt, line 2: found '0 high"),
        ("0 0.9 1 2 3 4 5 6 7 nan\n", r"Van\.txt, line 1: found"),
        ("9 0.9 1 2 3 4 5 6 7 8\n", r"Van\.txt, line 1: image '9' is not among the 3 images"),
    ],
)
def test_a_wrong_line_is_an_error_that_names_it(folders, text, message):
    (folders / "texts" / "Task1_Van.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        export(folders)


def test_an_unknown_class_and_empty_folders_are_errors(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="none: no text file; expected Task1_<class>"):
        export_fair1m_xml(tmp_path / "none", folders / "images", folders / "out")
    with pytest.raises(FileNotFoundError, match="none: no image; expected those of the test set"):
        export_fair1m_xml(folders / "texts", tmp_path / "none", folders / "out")
    (folders / "texts" / "Task1_Zeppelin.txt").write_text("")
    with pytest.raises(ValueError, match=r"Task1_Zeppelin\.txt: class 'Zeppelin'; expected Task1_"):
        export(folders)
