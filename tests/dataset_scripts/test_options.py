"""Options as users write them: which fit the fields of a config."""

from dataclasses import dataclass

import numpy as np
import pytest

from mtp_hf.dataset_scripts import BUILDERS, get_builder
from mtp_hf.dataset_scripts._builder import FilesConfig
from mtp_hf.dataset_scripts._options import check_options, option_names


@dataclass
class Config(FilesConfig):
    size: int = 1
    share: float = 0.5
    word: str = ""
    flag: bool = False
    names: list[str] | None = None
    scales: tuple[float, ...] | list[float] = (1.0,)
    limits: tuple[float, float] | None = None


CONFIG = Config(name="plain")


@pytest.mark.parametrize(
    "options",
    [
        {"size": 3, "share": 1, "word": "x", "flag": True},
        {"size": np.int64(3), "share": np.float32(0.5)},
        {"names": ["a", "b"]},
        {"names": ("a",), "scales": [1, 0.5], "limits": [0, 3]},
        {"names": None, "size": None},
        {"split_seed": 2, "on_error": "skip"},
    ],
)
def test_values_of_the_type_of_the_field_fit(options):
    check_options("set", CONFIG, options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"size": "abc"}, "set': size='abc'; expected int"),
        ({"size": 1.5}, "size=1.5; expected int"),
        ({"size": True}, "size=True; expected int"),
        ({"share": "x"}, "share='x'; expected float"),
        ({"word": ["x"]}, r"word=\['x'\]; expected str"),
        ({"flag": "no"}, "flag='no'; expected bool"),
        ({"names": "a,b"}, r"names='a,b'; expected list\[str\] \| None, as in \[a, b\]"),
        ({"names": 5}, "names=5; expected"),
        ({"names": ["a", 3]}, r"names=\['a', 3\]; expected"),
        ({"limits": 5}, r"limits=5; expected tuple\[float, float\] \| None"),
        ({"max_pixels": "abc"}, "max_pixels='abc'; expected int"),
    ],
)
def test_a_value_of_another_type_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        check_options("set", CONFIG, option)


@pytest.mark.parametrize("name", ["siz", "name", "data_dir", "data_files", "version"])
def test_what_is_no_option_is_refused_with_those_that_are(name):
    with pytest.raises(
        ValueError, match=rf"no option '{name}' in config 'plain'; .*limits, max_pi"
    ):
        check_options("set", CONFIG, {name: "x"})


@pytest.mark.parametrize("name", BUILDERS)
def test_the_defaults_of_every_set_fit(name):
    for config in get_builder(name).builder_configs.values():
        check_options(name, config, {n: getattr(config, n) for n in option_names(config)})
