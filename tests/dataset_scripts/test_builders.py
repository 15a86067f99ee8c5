"""The table of builders."""

import subprocess
import sys

import datasets
import pytest

from mtp_hf.dataset_scripts import BUILDERS, get_builder


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_every_name_leads_to_a_builder_class(name):
    builder = get_builder(name)
    assert issubclass(builder, datasets.GeneratorBasedBuilder)
    assert builder.__module__ == BUILDERS[name][0]


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown dataset 'samr'; expected one of .*'samrs'"):
        get_builder("samr")


def test_the_table_and_the_demo_need_no_datasets():
    code = (
        "import sys, mtp_hf.dataset_scripts, mtp_hf.dataset_scripts.demo;"
        "print(sorted({'datasets', 'pycocotools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
