"""The group of every sample, by the table that a method or router names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.storage.schemas import ASSIGNMENTS, ROUTES
from stages.inputs import paths
from wina_amp.errors import UserError


def groups_of(samples: Any, source: str) -> pd.DataFrame:
    """Columns `group` and `router_flops`, the operations of finding it, of every sample, in their order.

    Args:
        samples: with a column `sample_id`.
        source: `assignments/<scheme>` or `routes/<router>`.

    Raises:
        UserError: the table lacks a sample.
    """
    path = paths.table(source)
    if source.startswith("routes/"):
        table = ROUTES.read(path, columns=("sample_id", "group", "flops")).rename(columns={"flops": "router_flops"})
    else:
        table = ASSIGNMENTS.read(path, columns=("sample_id", "group")).assign(router_flops=0.0)
    rows: Any = table.set_index("sample_id").reindex(samples["sample_id"])
    lost = rows.index[rows["group"].isna()]
    if len(lost):
        raise UserError(
            "Every sample must have a group",
            found=f"none for {len(lost)} samples, for example {lost[0]}",
            where=path,
            remedy="run `dvc repro`, which rebuilds whichever table is out of date",
        )
    return rows.reset_index(drop=True).astype({"group": np.int64})
