"""numba where it is installed (`pip install wina-amp[cpu]`): `njit`, and whether what it decorates may be called.

The package runs without numba: tensor operations then do what compiled kernels do, bit for bit and more slowly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

HAS_NUMBA = find_spec("numba") is not None


def njit(**options: Any) -> Any:
    """`numba.njit(**options)`; without numba a decorator that returns the function, which must then not be called."""
    return import_module("numba").njit(**options) if HAS_NUMBA else lambda function: function
