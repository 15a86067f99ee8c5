"""Families told from columns alone."""

import datasets
import pytest

from mtp_hf.dataset_scripts.loading import open_builder
from mtp_hf.datasets_command.families import family_of
from tests.datasets_command.made_sets import NAMES
from tests.fakes import write_samrs_by_hand


class Plain(datasets.GeneratorBasedBuilder):
    """A builder whose columns are those of no family."""

    def _info(self):
        return datasets.DatasetInfo(features=datasets.Features({"text": datasets.Value("string")}))


def family(config, root):
    return family_of(open_builder("made", config, data_dir=root))


@pytest.mark.parametrize(
    ("config", "name", "pictures", "mask", "columns"),
    [
        ("classification", "classification", ("image",), None, ()),
        ("detection", "detection", ("image",), None, ("objects",)),
        ("oriented", "oriented detection", ("image",), None, ("objects",)),
        ("segmentation", "segmentation", ("image",), "mask", ()),
        ("change", "change", ("image", "image_post"), "mask", ()),
    ],
)
def test_a_family_is_told_from_its_columns(
    made_builder, tmp_path, config, name, pictures, mask, columns
):
    found = family(config, tmp_path)
    assert (found.name, found.pictures, found.mask, found.object_columns) == (
        name,
        pictures,
        mask,
        columns,
    )


def test_class_names_come_from_columns_or_from_the_builder(made_builder, tmp_path):
    for config in ("classification", "detection", "segmentation"):
        assert family(config, tmp_path).class_names == tuple(NAMES)
    assert family("change", tmp_path).class_names == ("unchanged", "changed")


def test_rows_of_samrs_are_a_family_of_their_own(tmp_path):
    write_samrs_by_hand(tmp_path, "fast")
    found = family_of(open_builder("samrs", "fast", data_dir=tmp_path, tasks=["rd"]))
    assert (found.name, found.mask) == ("samrs", "semantic_mask")
    assert found.object_columns == ("objects", "rotated_objects")
    assert len(found.class_names) == 37


def test_other_columns_are_an_error_that_names_them(tmp_path):
    with pytest.raises(ValueError, match=r"has columns \['text'\] of no family"):
        family_of(Plain(cache_dir=str(tmp_path)))
