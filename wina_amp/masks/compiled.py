"""numba where it is installed (`pip install wina-amp[cpu]`): `njit`, and whether what it decorates may be called.

The package runs without numba: tensor operations then do what compiled kernels do, bit for bit and more slowly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

HAS_NUMBA = find_spec("numba") is not None


def njit(**options: Any) -> Any:
    """`numba.njit(cache=True, **options)`; without numba a decorator that returns the function, which must then not be
    called. Where neither the folder of the source nor the user's cache can be written, every process compiles anew."""
    if not HAS_NUMBA:
        return lambda function: function
    numba = import_module("numba")

    def compiled(function: Any) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return numba.njit(**options)(function)

    return compiled
