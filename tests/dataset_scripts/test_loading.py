"""Opening a data set by name."""

import datasets
import pytest

import mtp_hf
from mtp_hf.dataset_scripts.loading import load_dataset, open_builder
from tests.fakes import write_samrs_by_hand


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("samrs")
    write_samrs_by_hand(root, "sior")
    return root


@pytest.fixture
def load(root, tmp_path):
    def load(name="samrs", config="sior", **options):
        return load_dataset(name, config, data_dir=root, cache_dir=tmp_path, **options)

    return load


def test_the_package_offers_it():
    assert mtp_hf.load_dataset is load_dataset


def test_all_splits_or_one_or_a_slice(load):
    everything = load()
    assert isinstance(everything, datasets.DatasetDict)
    assert everything.num_rows == {"train": 2, "validation": 1}
    assert load(split="train")["image_id"][:] == ["a", "b"]
    assert load(split="train[:1]").num_rows == 1


def test_streamed_rows_are_the_prepared_ones(load):
    streamed = list(load(split="train", streaming=True))
    prepared = list(load(split="train"))
    assert [row["objects"] for row in streamed] == [row["objects"] for row in prepared]


def test_options_reach_the_builder(load):
    assert load(split="train", tasks=["ss"])[0]["objects"] is None


def test_progress_bars_are_as_before(load):
    datasets.enable_progress_bars()
    load(quiet=True)
    assert not datasets.are_progress_bars_disabled()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"name": "samr"}, "unknown dataset 'samr'"),
        ({"config": "dior"}, r"has no config 'dior'; expected one of \['sota', "),
        ({"tile_size": 3}, "data set 'samrs' has no option 'tile_size'"),
        ({"split": "test"}, 'Unknown split "test"'),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(load, what, message):
    with pytest.raises(ValueError, match=message):
        load(**what)


def test_an_open_builder_lists_its_records_without_reading_them(root, tmp_path):
    builder = open_builder("samrs", "sior", data_dir=root, cache_dir=tmp_path)
    records = builder.find_records(builder.config.root())
    assert {split: len(paths) for split, paths in records.items()} == {"train": 2, "validation": 1}
    assert not list(tmp_path.rglob("*.arrow"))
