"""JSON that every reader takes: undefined numbers are null.

Python's own writer puts NaN and Infinity, which JSON has no word for.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Write a value of dicts, lists, texts and numbers.

    Args:
        value: what to write; NaN and infinite numbers become null.
        indent: of each level; None: all on one line.
    """
    return json.dumps(_defined(value), allow_nan=False, indent=indent)


def _defined(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _defined(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
