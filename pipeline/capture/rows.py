"""The observations of a batch as rows of the tables `histograms` and `signatures` (`pipeline/storage/schemas.py`).

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

from pipeline.histograms.count_units import in_units
from wina_amp.capture.observe import Observation
from wina_amp.capture.passes import signatures
from wina_amp.histograms.bins import Bins, TrimmedRows
from wina_amp.models.families import SITES


def histogram_table(
    observations: Sequence[Observation], sample_ids: Sequence[str], tokens: Int[ndarray, " samples"], bins: Bins
) -> pa.Table:
    """The histogram of every sample and scoring, in units (`pipeline/histograms/count_units.py`).

    Args:
        sample_ids: the samples whose scores were counted, in the order of `Observation.counts`.
        tokens: how many tokens of each were counted.

    Returns: rows site by site, within a site sample by sample.
    """
    scorings = [(seen.site.block, scoring) for seen in observations for scoring in seen.scorings]
    first_scoring = np.cumsum([0, *(len(seen.scorings) for seen in observations)])
    numbers = [np.arange(*ends) for ends in pairwise(first_scoring)]
    scoring = _joined([np.tile(of_site, len(sample_ids)) for of_site in numbers])
    sample = _joined([np.repeat(np.arange(len(sample_ids)), len(of_site)) for of_site in numbers])
    features = np.repeat([seen.site.features for seen in observations], np.diff(first_scoring))
    rows = _stacked([bins.trim(seen.counts.reshape(-1, bins.count)) for seen in observations])
    rows = in_units(rows, tokens[sample] * features[scoring])
    offsets = pa.array(rows.offsets, pa.int32())
    return pa.table(
        {
            "sample_id": pa.array(sample_ids, pa.string()).take(sample),
            "block": pa.array([block for block, _ in scorings], pa.int16()).take(scoring),
            "projections": pa.array([" ".join(shared.projections) for _, shared in scorings], pa.string()).take(
                scoring
            ),
            "criterion": pa.array([shared.criterion for _, shared in scorings], pa.string()).take(scoring),
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
        sample_ids: all samples of the batch, in the order of `Observation.magnitudes`.
        tokens: how many eligible prompt tokens each has.
        seed, dim: of the projection.
    """
    inputs = [seen for seen in observations if seen.site.name in SITES]
    vectors = signatures(inputs, seed=seed, dim=dim).swapaxes(0, 1)
    sample = np.tile(np.arange(len(sample_ids)), len(inputs))
    site = np.repeat(np.arange(len(inputs)), len(sample_ids))
    offsets = pa.array(np.arange(len(sample) + 1) * dim, pa.int32())
    return pa.table(
        {
            "sample_id": pa.array(sample_ids, pa.string()).take(sample),
            "block": pa.array([seen.site.block for seen in inputs], pa.int16()).take(site),
            "site": pa.array([seen.site.name for seen in inputs], pa.string()).take(site),
            "n_tokens": pa.array(tokens, pa.int32()).take(sample),
            "vector": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32())),
        }
    )


def _stacked(parts: Sequence[TrimmedRows]) -> TrimmedRows:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return TrimmedRows(
        np.concatenate([part.first for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.counts for part in parts]),
    )


def _joined(parts: Sequence[Int[ndarray, " some"]]) -> Int[ndarray, " all"]:
    return np.concatenate([*parts, np.zeros(0, dtype=np.int64)])
