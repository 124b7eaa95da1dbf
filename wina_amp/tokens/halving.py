"""Batches that do not fit into memory: run by halves, until they do.

What a sample's numbers may depend on is the width of its batch, which halves keep, and the number of rows, by which a
library chooses its products: then results of halves differ by rounding, as they would with another `tokens.batch`. On a
CPU in float32 no bit was seen to differ (docs/scaling.md). A warning says that a batch was halved. The alternative is
to throw away a run of days because of its longest samples.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from wina_amp.errors import UserError

Row = TypeVar("Row")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


def in_halves(run: Callable[[Sequence[Row]], Result], rows: Sequence[Row]) -> Iterator[Result]:
    """`run(rows)`, or, where memory runs out, those of two halves, in order.

    Args:
        run: leaves nothing behind when it fails, and pads to the width of all rows, whichever it is given.
        rows: at least one.

    Raises:
        UserError: memory is not enough for a single row.
    """
    results = _tried(run, rows)
    if results is None and len(rows) == 1:
        raise UserError(
            "A single sample must fit into memory",
            found="memory ran out",
            where="a batch of one sample",
            remedy="load the weights in bfloat16 (`model.dtype`), spread them over all GPUs (`model.device: spread`), "
            "leave long samples out, or use a machine with more memory; finished parts are kept",
        )
    if results is None:
        log.warning("memory ran out at %d samples; they are run by halves", len(rows))
        half = len(rows) // 2
        results = [*in_halves(run, rows[:half]), *in_halves(run, rows[half:])]
    yield from results


def _tried(run: Callable[[Sequence[Row]], Result], rows: Sequence[Row]) -> list[Result] | None:
    """The result; None where memory ran out. The error, whose traceback holds all tensors, ends with this function."""
    try:
        return [run(rows)]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or in this process. PyTorch's allocator of the CPU has no type of its own."""
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
