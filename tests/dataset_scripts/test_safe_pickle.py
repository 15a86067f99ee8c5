"""Pickles are read as data: what is not data is refused by name and never called."""

import collections
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._safe_pickle import ALLOWED_GLOBALS, read_pickle

INSTANCE = {
    "mask": {"size": [4, 6], "counts": "abc"},
    "bbox": np.array([1, 2, 3, 4], np.float32),
    "rbox": np.arange(8.0).reshape(4, 2),
    "category": "ship",
    "label": 5,
    "size": np.int64(9),
}


class Evil:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def written(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_and_numpy_numbers_come_back_equal(tmp_path, protocol):
    read = read_pickle(written(tmp_path / "a.pkl", [INSTANCE], protocol))
    assert list(read[0]) == list(INSTANCE)
    np.testing.assert_equal(read, [INSTANCE])
    assert read[0]["rbox"].dtype == np.float64
    assert read[0]["bbox"].dtype == np.float32


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_files_of_numpy_1_and_numpy_2_are_both_read(tmp_path, core):
    data = pickle.dumps([INSTANCE], protocol=2)
    assert b"numpy._core.multiarray" in data or b"numpy.core.multiarray" in data
    data = data.replace(b"numpy._core.", b"numpy.core.").replace(
        b"numpy.core.", core.encode() + b"."
    )
    # Protocol 2 keeps bytes as a call to _codecs.encode, which is not data.
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(AnnotationError, match="_codecs.encode"):
        read_pickle(path)
    data = pickle.dumps(np.int64(3), protocol=3)
    path.write_bytes(data.replace(b"numpy._core.", core.encode() + b"."))
    assert read_pickle(path) == 3


def test_a_call_hidden_in_a_pickle_is_refused_and_not_made(tmp_path):
    marker = tmp_path / "made"
    path = written(tmp_path / "evil.pkl", [INSTANCE, Evil(marker)])
    with pytest.raises(AnnotationError) as error:
        read_pickle(path)
    assert not marker.exists()
    assert str(path) in str(error.value)
    assert "posix.mkdir" in str(error.value)
    assert "do not trust" in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        collections.OrderedDict(a=1),
        Path("x"),
        eval,
        getattr,
        np.load,
        np.random.default_rng,
        np.ma.masked_array([1], [True]),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),  # no addresses: xdist
)
def test_every_other_importable_thing_is_refused(tmp_path, value):
    with pytest.raises(AnnotationError, match="wants to import"):
        read_pickle(written(tmp_path / "a.pkl", [value]))


def test_a_dotted_name_does_not_reach_attributes_of_allowed_classes(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    assert [op.name for op, _, _ in pickletools.genops(path.read_bytes())][-2] == "STACK_GLOBAL"
    with pytest.raises(AnnotationError, match="numpy.ndarray.tofile"):
        read_pickle(path)


@pytest.mark.parametrize("keep", [0, 1, 20, -1])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path, keep):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([INSTANCE], protocol=4)[:keep])
    with pytest.raises(AnnotationError, match="damaged or cut short") as error:
        read_pickle(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("seed", range(150))
def test_damaged_bytes_give_data_or_our_error_and_nothing_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(pickle.dumps([INSTANCE], protocol=4))
    for position in rng.integers(0, len(data), 3):
        data[position] = int(rng.integers(256))
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    try:
        read_pickle(path)
    except AnnotationError as error:
        assert str(path) in str(error)


def test_the_allowed_names_are_numbers_containers_and_five_numpy_callables():
    modules = {module.split(".")[0] for module, _ in ALLOWED_GLOBALS}
    assert modules == {"numpy", "builtins"}
    assert {name for module, name in ALLOWED_GLOBALS if module == "builtins"} == {
        "bool",
        "int",
        "float",
        "str",
        "list",
        "dict",
        "tuple",
    }
    assert len({name for module, name in ALLOWED_GLOBALS if module != "builtins"}) == 5


def test_flags_that_would_turn_numbers_into_addresses_are_ignored(tmp_path):
    path = tmp_path / "a.pkl"
    data = pickle.dumps(np.zeros(2), protocol=4)
    flagged = data.replace(b"J\xff\xff\xff\xffK\x00t", b"J\xff\xff\xff\xffK\x3ft")
    assert flagged != data
    path.write_bytes(flagged)
    read = read_pickle(path)
    assert read.dtype == np.float64 and read.dtype.flags == 0 and read.tolist() == [0.0, 0.0]


def test_arrays_of_objects_are_refused(tmp_path):
    path = written(tmp_path / "a.pkl", np.array([{}, []], object))
    with pytest.raises(AnnotationError, match="'O8', which are no numbers"):
        read_pickle(path)


def test_shapes_that_do_not_fit_their_numbers_are_refused(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(
        pickle.dumps(np.zeros((4, 2)), protocol=4).replace(b"K\x04K\x02", b"K\x04K\x03")
    )
    with pytest.raises(AnnotationError, match=r"8 numbers for an array of shape \(4, 3\)"):
        read_pickle(path)


def test_a_file_cannot_change_the_reader_itself(tmp_path):
    # GLOBAL numpy.ndarray, then BUILD with a slot state: pickle writes attributes of the class.
    path = tmp_path / "a.pkl"
    state = pickle.dumps((None, {"value": 1}), protocol=3)[2:-1]
    for name in (b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\nndarray\n"):
        path.write_bytes(b"\x80\x03" + name + state + b"b.")
        with pytest.raises(AnnotationError, match="damaged"):
            read_pickle(path)


def test_big_endian_and_fortran_arrays_keep_their_values(tmp_path):
    value = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    np.testing.assert_array_equal(read_pickle(written(tmp_path / "a.pkl", value)), value)


def test_a_list_that_holds_itself_is_an_error(tmp_path):
    value: list = []
    value.append(value)
    with pytest.raises(AnnotationError, match="RecursionError"):
        read_pickle(written(tmp_path / "a.pkl", value))


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "no.pkl")
