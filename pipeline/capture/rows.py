"""What a batch did, as rows of the tables `histograms` and `signatures` (`pipeline/storage/schemas.py`).

All sites of a batch become one table at a time: for small models the columns of twenty small tables, and putting them
together, took longer than filling them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from numpy import ndarray

from pipeline.capture.observe import Observation
from pipeline.histograms.bins import Bins, TrimmedRows
from pipeline.histograms.count_units import in_units
from wina_amp.models.families import SITES
from wina_amp.scoring.signature import project


def histogram_table(
    observations: Sequence[Observation], sample_ids: Sequence[str], tokens: Int[ndarray, " samples"], bins: Bins
) -> pa.Table:
    """The histogram of every sample and scoring, in units (`pipeline/histograms/count_units.py`).

    Args:
        observations: of one batch.
        sample_ids: the samples whose scores were counted, in the order of `Observation.counts`.
        tokens: how many tokens of each were counted.
        bins: what they were counted in.

    Returns: rows site by site, within a site sample by sample.
    """
    scorings = [(one.site.block, scoring) for one in observations for scoring in one.scorings]
    first_scoring = np.cumsum([0, *(len(one.scorings) for one in observations)])
    numbers = [np.arange(*ends) for ends in pairwise(first_scoring)]
    scoring = _joined([np.tile(of_site, len(sample_ids)) for of_site in numbers])
    sample = _joined([np.repeat(np.arange(len(sample_ids)), len(of_site)) for of_site in numbers])
    features = np.repeat([one.site.features for one in observations], np.diff(first_scoring))
    rows = _stacked([bins.trim(one.counts.reshape(-1, bins.count)) for one in observations])
    rows = in_units(rows, tokens[sample] * features[scoring])
    offsets = pa.array(rows.offsets, pa.int32())
    return pa.table(
        {
            "sample_id": pa.array(sample_ids, pa.string()).take(sample),
            "block": pa.array([block for block, _ in scorings], pa.int16()).take(scoring),
            "projections": pa.array([" ".join(one.projections) for _, one in scorings], pa.string()).take(scoring),
            "criterion": pa.array([one.criterion for _, one in scorings], pa.string()).take(scoring),
            "first_bin": pa.array(rows.first, pa.int16()),
            "counts": pa.ListArray.from_arrays(offsets, pa.array(rows.counts, pa.int32())),
        }
    )


def signature_table(
    observations: Sequence[Observation],
    sample_ids: Sequence[str],
    tokens: Int[ndarray, " samples"],
    *,
    seed: int,
    dim: int,
) -> pa.Table:
    """The signature of every sample and site; activated gates have none.

    Args:
        observations: of one batch.
        sample_ids: all samples of the batch, in the order of `Observation.profiles`.
        tokens: how many eligible prompt tokens each has.
        seed: of the projection.
        dim: numbers per signature.
    """
    seen = [one for one in observations if one.site.name in SITES]
    vectors = [
        project(one.profiles, seed=seed, block=one.site.block, site=one.site.name, dim=dim).ravel() for one in seen
    ]
    sample = np.tile(np.arange(len(sample_ids)), len(seen))
    site = np.repeat(np.arange(len(seen)), len(sample_ids))
    offsets = pa.array(np.arange(len(sample) + 1) * dim, pa.int32())
    return pa.table(
        {
            "sample_id": pa.array(sample_ids, pa.string()).take(sample),
            "block": pa.array([one.site.block for one in seen], pa.int16()).take(site),
            "site": pa.array([one.site.name for one in seen], pa.string()).take(site),
            "n_tokens": pa.array(tokens, pa.int32()).take(sample),
            "vector": pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(vectors), pa.float32())),
        }
    )


def _stacked(parts: Sequence[TrimmedRows]) -> TrimmedRows:
    lengths = np.concatenate([np.diff(one.offsets) for one in parts])
    return TrimmedRows(
        np.concatenate([one.first for one in parts]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([one.counts for one in parts]),
    )


def _joined(parts: Sequence[Int[ndarray, " some"]]) -> Int[ndarray, " all"]:
    return np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
