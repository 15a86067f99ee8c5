"""Every published set: raw files, shards, a loopback Hub, and back with equal rows."""

import datasets
import numpy as np
import pytest

from mtp_hf.cli import main
from mtp_hf.dataset_scripts import BUILDERS
from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.datasets_command.check import PICTURE_IN_SPLITS, PICTURE_TWICE, check_source
from mtp_hf.datasets_command.check_report import report_text
from mtp_hf.datasets_command.source import parse_source
from tests.fakes import write_samrs
from tests.fakes_change import write_cdd, write_levir, write_oscd, write_whu_patches
from tests.fakes_classification import write_eurosat, write_resisc45
from tests.fakes_detection import write_dior, write_dota, write_fair1m, write_xview
from tests.fakes_segmentation import write_loveda, write_spacenet

# Set and config -> writer of a tiny copy.
COPIES = {
    "samrs/sior": write_samrs,
    "eurosat/rgb": write_eurosat,
    "resisc45/split_20_80": write_resisc45,
    "xview/all_tiles": write_xview,
    "dior/hbb": write_dior,
    "dior/obb": write_dior,
    "fair1m/v2.0": write_fair1m,
    "dota/v2.0": write_dota,
    "dota/v1.0_tiles": write_dota,
    "spacenet_v1": write_spacenet,
    "loveda/all": write_loveda,
    "oscd/rgb": write_oscd,
    "oscd/all_bands": write_oscd,
    "oscd/pair_tiles": write_oscd,
    "whu_cd": lambda root: write_whu_patches(root, {"train": 2, "val": 1, "test": 1}),
    "levir_cd/all_tiles": write_levir,
    "cdd/all": write_cdd,
}


def same(first, second) -> bool:
    """Whether two values of rows are equal; pictures are compared by their pixels."""
    if hasattr(first, "getbands"):
        return np.array_equal(np.asarray(first), np.asarray(second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def test_every_published_set_is_here():
    assert {name.split("/")[0] for name in COPIES} == set(BUILDERS) & set(FACTS)


@pytest.mark.parametrize("name", COPIES)
def test_rows_come_back_from_the_hub_as_the_builder_reads_them(client, hub, tmp_path, name):
    root = tmp_path / "raw"
    COPIES[name](root)
    main(["data", "push", name, str(root), "made", "--private", "--num_proc", "1"])
    pushed = datasets.load_dataset("mtp/made", cache_dir=str(tmp_path / "cache"))
    builder = parse_source(name, root).open()
    builder.download_and_prepare(str(tmp_path / "own"))
    own = builder.as_dataset()
    assert pushed.num_rows == own.num_rows
    for split, rows in own.items():
        assert pushed[split].features == rows.features
        assert all(same(mine, theirs) for mine, theirs in zip(rows, pushed[split], strict=True))


@pytest.mark.parametrize("name", COPIES)
def test_every_set_is_checked_and_drawn(tmp_path, name):
    root = tmp_path / "raw"
    COPIES[name](root)
    sheet = tmp_path / "sheet.png"
    main(["data", "show", name, str(root), "--output", str(sheet), "--side", "64", "--num", "3"])
    assert sheet.stat().st_size > 500
    report = check_source(parse_source(name, root), show_progress=False)
    wrong = {finding.kind for finding in report.findings if finding.is_error}
    assert wrong <= {PICTURE_TWICE, PICTURE_IN_SPLITS}  # tiny copies repeat their noise
    assert all(numbers.num_images for numbers in report.splits.values())
    assert str(report.source) in report_text(report)
