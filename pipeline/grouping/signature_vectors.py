"""The table `signatures` as one array `[samples, blocks, sites, dim]`, for clustering and for the `scores` router."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Float32
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.models.families import SITES

pc: Any = pyarrow.compute  # its functions are made at import time, so type checkers see none of them


def signature_vectors(
    parts: Iterable[pa.Table], sample_ids: Sequence[str], blocks: int | None = None
) -> Float32[ndarray, "samples blocks sites dim"]:
    """The signatures of the samples, in their order; sites are ordered as in `families.SITES`.

    Args:
        parts: rows of the table `signatures`, each with every signature of its samples; one is in memory at a time.
        sample_ids: samples wanted.
        blocks: only the first blocks; None for all.

    Raises:
        UserError: a sample lacks the signature of a site, or the model has fewer blocks.
    """
    wanted, sites = pd.Index(sample_ids), pd.Index(SITES)
    vectors: ndarray | None = None
    for part in parts:
        block = part["block"].to_numpy()
        rows = pc.list_flatten(part["vector"]).to_numpy().reshape(len(block), -1)
        if vectors is None:
            last = _checked(blocks, int(block.max()) + 1)
            sites = pd.Index([site for site in SITES if site in part["site"].unique().to_pylist()])
            vectors = np.full((len(sample_ids), last, len(sites), rows.shape[1]), np.nan, dtype=np.float32)
        sample = wanted.get_indexer(pd.Index(part["sample_id"].to_pandas()))
        site = sites.get_indexer(pd.Index(part["site"].to_pandas()))
        kept = (sample >= 0) & (block < vectors.shape[1])
        vectors[sample[kept], block[kept], site[kept]] = rows[kept]
    assert vectors is not None, "a table has at least one part"
    missing = np.isnan(vectors[..., 0]).any(axis=(1, 2))
    if missing.any():
        raise UserError(
            "Every sample must have a signature of every block and site",
            found=f"{int(missing.sum())} samples without, for example {sample_ids[int(missing.argmax())]}",
            where="table `signatures`",
            remedy="run `dvc repro`, which rebuilds whichever table is out of date",
        )
    return vectors


def _checked(blocks: int | None, count: int) -> int:
    """How many of the model's blocks are wanted."""
    if blocks is None:
        return count
    if blocks > count:
        raise UserError(
            "`route.blocks` must not exceed the model's number of blocks",
            found=f"{blocks} of {count}",
            where="`route.blocks` in params.yaml",
            remedy="lower it",
        )
    return blocks
