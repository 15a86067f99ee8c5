"""Read the instance pickles of SAMRS without running anything they name.

A pickle may call any importable function while it is being read. These files hold lists, dicts,
strings and numpy numbers only, so an unpickler that knows the five numpy callables behind those
reads every one of them and refuses everything else by name.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mtp_hf.dataset_scripts._readers import AnnotationError

# Taken from what numpy itself writes, so that the private paths of numpy 1 and 2 both resolve.
_NUMPY = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.empty(0).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.empty(1).__reduce_ex__(5)[0],  # arrays under pickle protocol 5
}
_HOMES = {
    "ndarray": ("numpy",),
    "dtype": ("numpy",),
    "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
    "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
    "_frombuffer": ("numpy.core.numeric", "numpy._core.numeric"),
}
_BUILTINS = {kind.__name__: kind for kind in (bool, int, float, str, list, dict, tuple)}
ALLOWED_GLOBALS: dict[tuple[str, str], Callable] = {
    **{(module, name): _NUMPY[name] for name, modules in _HOMES.items() for module in modules},
    **{("builtins", name): kind for name, kind in _BUILTINS.items()},
}


class _ForeignGlobal(pickle.UnpicklingError):
    pass


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
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
            return _DataUnpickler(file).load()
        except _ForeignGlobal as error:
            raise AnnotationError(
                f"{path}: the pickle wants to import {error}; expected only lists, dicts, strings "
                "and numpy numbers. It was not loaded: do not trust this file."
            ) from None
        except Exception as error:  # a damaged pickle can fail in any operation of the format
            raise AnnotationError(
                f"{path}: the pickle is damaged or cut short ({type(error).__name__}: {error})"
            ) from None
