"""One dense pass over the samples: per-sample score histograms and signatures, as rows of their tables.

The pass is `wina_amp/capture/passes.py`. Histograms of long samples are stored in larger units
(`pipeline/histograms/count_units.py`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.capture.rows import histogram_table, signature_table
from wina_amp.capture.passes import observed
from wina_amp.histograms.bins import Bins
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Part:
    """Rows of the tables `histograms` and `signatures` (`pipeline/storage/schemas.py`), in no particular order, of so
    many samples."""

    histograms: pa.Table
    signatures: pa.Table
    samples: int


def capture(
    loaded: LoadedModel,
    batches: Iterable[Sequence[TokenizedSample]],
    *,
    histograms_of: Container[str],
    criteria: Sequence[str],
    mantissa_bits: int,
    signature_dim: int,
    dense_prefix: int | float,
    seed: int,
) -> Iterator[Part]:
    """Run the decoder over every batch and yield its rows.

    Args:
        loaded, batches, histograms_of, criteria, dense_prefix: see `observed`.
        mantissa_bits: resolution of the histograms.
        signature_dim, seed: of the projection of the signatures.

    Guarantee: see `observed`; histograms of fewer than 2^17 scores are exact, others as `count_units` says.

    Raises:
        UserError: see `observed`.
    """
    bins = Bins(mantissa_bits)
    for batch in observed(
        loaded, batches, histograms_of=histograms_of, criteria=criteria, bins=bins, dense_prefix=dense_prefix
    ):
        yield Part(
            histograms=histogram_table(batch.observations, batch.counted_ids, batch.counted_tokens, bins),
            signatures=signature_table(
                batch.observations, batch.sample_ids, batch.prompt_tokens, seed=seed, dim=signature_dim
            ),
            samples=len(batch.sample_ids),
        )
