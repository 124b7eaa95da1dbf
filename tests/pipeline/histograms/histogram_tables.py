"""Rows of the histogram tables made from known scores, for the tests of the stages that need no model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.storage.schemas import HISTOGRAMS
from wina_amp.histograms.bins import Bins, TrimmedRows

PROJECTIONS = ("q", "k", "down")
BLOCKS = 2
BINS = Bins(4)


def sample_scores(sample: int, block: int, projection: str) -> np.ndarray:
    """40 scores whose scale depends on the sample, so that groups differ."""
    rng = np.random.default_rng([sample, block, PROJECTIONS.index(projection)])
    scores = rng.lognormal(sample % 3, 1, 40).astype(np.float32)
    scores[: sample % 4] = 0
    return scores


def histogram_rows(samples: int, criteria: tuple[str, ...] = ("teal", "wina")) -> pd.DataFrame:
    """Rows of the table `histograms` for samples s0, s1, ...; wina scores are twice the teal scores."""
    rows = []
    for sample in range(samples):
        for block in range(BLOCKS):
            for projection in PROJECTIONS:
                for factor, criterion in enumerate(criteria, start=1):
                    counts = BINS.histogram(factor * sample_scores(sample, block, projection))
                    first, *_, last = np.flatnonzero(counts)
                    rows.append((f"s{sample}", block, projection, criterion, first, counts[first : last + 1]))
    return pd.DataFrame(rows, columns=["sample_id", "block", "projections", "criterion", "first_bin", "counts"])


def histogram_part(rows: pd.DataFrame) -> pa.Table:
    """The rows as a part of the table `histograms`."""
    return pa.Table.from_pandas(rows, schema=HISTOGRAMS.arrow_schema, preserve_index=False)


def histogram_table(rows: TrimmedRows) -> pa.Table:
    """Trimmed histograms as rows of the table `histograms`, each of a sample of its own."""
    number = len(rows.first)
    offsets = pa.array(rows.offsets, pa.int32())
    columns = {
        "sample_id": [f"s{row:05d}" for row in range(number)],
        "block": [0] * number,
        "projections": ["q"] * number,
        "criterion": ["wina"] * number,
        "first_bin": rows.first,
        "counts": pa.ListArray.from_arrays(offsets, pa.array(rows.counts, pa.int32())),
    }
    return pa.table(columns, schema=HISTOGRAMS.arrow_schema)
