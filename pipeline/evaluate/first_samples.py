"""The samples of a split that every method is evaluated on: the first of every task, in the order in which `prepare`
takes documents.

That order is the one of the documents' hashes (`pipeline/tasks/selection.py`), so the first N of a task are the same
however many more are in the table: raising `benchmark.test_samples` leaves them, and what was measured on them, alone.
What lies beyond is evaluated with the primary methods only (`evaluate.primary`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool


def among_first(samples: pd.DataFrame, limits: Mapping[str, int | None]) -> Bool[np.ndarray, " samples"]:
    """Whether each sample is among the first of its task and split.

    Args:
        samples: rows with `split`, `task` and `doc_hash`, whatever their order and index.
        limits: split -> samples of a task; None, or no entry, is all of them.
    """
    keys: Any = samples[["split", "task", "doc_hash"]].reset_index(drop=True)
    rank = keys.sort_values("doc_hash", kind="stable").groupby(["split", "task"], sort=False).cumcount().sort_index()
    is_first = np.ones(len(keys), np.bool_)
    for split, count in limits.items():
        if count is not None:
            is_first &= ((keys["split"] != split) | (rank < count)).to_numpy(dtype=np.bool_)
    return is_first
