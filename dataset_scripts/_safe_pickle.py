"""Read the instance pickles of SAMRS without running anything they name.

A pickle may call any importable function while it is being read. These files hold lists, dicts,
strings and numpy numbers only, so an unpickler that knows the five numpy callables behind those
reads every one of them and refuses everything else by name.

Even these five are stand-ins: numpy's own `dtype` takes flags from the file that make it treat
plain numbers as object addresses. The stand-ins keep shape, kind of number and bytes, check them,
and let numpy build an array of plain numbers.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mtp_hf.dataset_scripts._readers import AnnotationError

NUMBER_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {
    "b1",
    "f2",
    "f4",
    "f8",
}


class _Frozen(type):
    """Classes that a file cannot change by writing attributes to them."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"{cls.__name__}.{name} cannot be set")


class _Dtype(metaclass=_Frozen):
    __slots__ = ("code", "order")

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if code not in NUMBER_CODES:
            raise ValueError(f"an array of {code!r}, which are no numbers")
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError(f"a byte order of {state[1]!r}")
        self.order = state[1]  # the rest, flags among it, is that of every plain number

    def numbers(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.dtype(self.order + self.code))


class _Array(metaclass=_Frozen):
    __slots__ = ("value",)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = _shaped(dtype.numbers(data), shape, "F" if is_fortran else "C")


class _Reconstruct(metaclass=_Frozen):
    def __new__(cls, kind: type, shape: tuple, code: bytes) -> _Array:  # type: ignore[misc]
        return _Array()


class _Scalar(metaclass=_Frozen):
    def __new__(cls, dtype: _Dtype, data: bytes) -> np.generic:  # type: ignore[misc]
        (number,) = dtype.numbers(data)
        return number


class _FromBuffer(metaclass=_Frozen):
    """Arrays under pickle protocol 5."""

    def __new__(  # type: ignore[misc]
        cls, data: bytes, dtype: _Dtype, shape: tuple, order: str
    ) -> np.ndarray:
        return _shaped(dtype.numbers(data), shape, order)


ALLOWED_GLOBALS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    # Both homes: numpy 2 moved numpy.core to numpy._core.
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    **{("builtins", k.__name__): k for k in (bool, int, float, str, list, dict, tuple)},
}


class _ForeignGlobal(pickle.UnpicklingError):
    pass


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise _ForeignGlobal(f"{module}.{name}") from None


def read_pickle(path: str | Path) -> Any:
    """Load a pickle of plain Python and numpy values.

    Raises:
        AnnotationError: the file names anything else, is cut short, or is no pickle.
    """
    with open(path, "rb") as file:
        try:
            return _with_arrays(_DataUnpickler(file).load())
        except _ForeignGlobal as error:
            raise AnnotationError(
                f"{path}: the pickle wants to import {error}; expected only lists, dicts, strings "
                "and numpy numbers. It was not loaded: do not trust this file."
            ) from None
        except Exception as error:  # a damaged pickle can fail in any operation of the format
            raise AnnotationError(
                f"{path}: the pickle is damaged or cut short ({type(error).__name__}: {error})"
            ) from None


def _shaped(numbers: np.ndarray, shape: tuple[int, ...], order: Any) -> np.ndarray:
    if math.prod(shape) != numbers.size or min(shape, default=0) < 0:
        raise ValueError(f"{numbers.size} numbers for an array of shape {shape}")
    return numbers.reshape(shape, order=order).copy()


def _with_arrays(value: Any) -> Any:
    """Replace stand-ins by their arrays, in lists, tuples and dicts."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, list | tuple):
        return type(value)(_with_arrays(item) for item in value)
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    return value
