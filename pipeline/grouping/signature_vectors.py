"""The table `signatures` as one array `[samples, sites, dim]`, for clustering and for the `scores` router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.models.families import SITES


def signature_vectors(
    signatures: pd.DataFrame, sample_ids: Sequence[str], blocks: int | None = None
) -> Float32[ndarray, "samples sites dim"]:
    """The signatures of the samples, in their order; sites are ordered by block, then by `families.SITES`.

    Args:
        signatures: rows of the table `signatures`.
        sample_ids: samples wanted.
        blocks: only the first blocks; None for all.

    Raises:
        UserError: a sample lacks the signature of a site, or the model has fewer blocks.
    """
    table: Any = signatures
    count = int(table["block"].max()) + 1
    if blocks is not None and blocks > count:
        raise UserError(
            "`route.blocks` must not exceed the model's number of blocks",
            found=f"{blocks} of {count}",
            where="`route.blocks` in params.yaml",
            remedy="lower it",
        )
    last = count if blocks is None else blocks
    kept = table[table["block"] < last]
    sites = [site for site in SITES if site in set(kept["site"])]
    sample = pd.Index(sample_ids).get_indexer(kept["sample_id"])
    column = kept["block"].to_numpy() * len(sites) + pd.Index(sites).get_indexer(kept["site"])
    wanted = sample >= 0
    dim = len(kept["vector"].iloc[0])
    vectors = np.full((len(sample_ids), last * len(sites), dim), np.nan, dtype=np.float32)
    vectors[sample[wanted], column[wanted]] = np.stack(kept["vector"].to_numpy()[wanted])
    missing = np.isnan(vectors[:, :, 0]).any(axis=1)
    if missing.any():
        raise UserError(
            "Every sample must have a signature of every block and site",
            found=f"{int(missing.sum())} samples without, for example {sample_ids[int(missing.argmax())]}",
            where="table `signatures`",
            remedy="run `dvc repro`, which rebuilds whichever table is out of date",
        )
    return vectors
