"""Weights of projections stored input-major, in place: the layout that the gather on a CPU reads.

The parameter keeps its shape `[out, in]`, and its memory becomes `[in, out]`, so one copy serves both: the gather takes
the transpose, which is contiguous, without copying, and dense passes multiply with what the parameter is. Their sums
may be rounded otherwise than before, because the library adds in another order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from wina_amp.models.projections import Projection


@contextmanager
def input_major(every: Sequence[Projection]) -> Generator[None]:
    """Store weights input-major while the context lasts. One weight at a time exists twice.

    Guarantee: on exit every weight has its bits, shape and strides back, in other memory.
    """
    weights = [projection.module.weight for projection in every if projection.module.weight.is_contiguous()]
    try:
        for weight in weights:
            weight.data = weight.data.t().contiguous().t()
        yield
    finally:
        for weight in weights:
            weight.data = weight.data.contiguous()
