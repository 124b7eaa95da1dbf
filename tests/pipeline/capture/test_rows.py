"""`pipeline.capture.rows`: every row of a batch says what its site, sample and scoring counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.capture.rows import histogram_table, signature_table
from pipeline.storage.schemas import HISTOGRAMS, SIGNATURES
from tests.reference import capture as reference
from wina_amp.capture.observe import Observation, Scoring
from wina_amp.histograms.bins import Bins
from wina_amp.scoring.signature import project

BINS = Bins(2)
SAMPLES = ["a", "b", "c"]
TOKENS = np.array([3, 1, 40_000])
SITES = [
    (0, "qkv", 5, [("q k v", "teal"), ("q", "wina"), ("k v", "wina")]),
    (0, "down", 7, [("down", "teal")]),
    (1, "gate_up", 5, []),
    (1, "activated_gate", 7, [("down", "cats")]),
]


@pytest.fixture
def observations():
    """Sites of unequal numbers of scorings; the third sample has more than 2^17 scores in every histogram."""
    rng, observed = np.random.default_rng(0), []
    for block, name, features, scorings in SITES:
        counts = np.zeros((len(SAMPLES), len(scorings), BINS.count), np.int32)
        for sample, tokens in enumerate(TOKENS):
            for number in range(len(scorings)):
                low = rng.integers(10, 90)
                counts[sample, number, low : low + 50] = rng.multinomial(tokens * features, np.full(50, 1 / 50))
        magnitudes = rng.random((0 if name == "activated_gate" else len(SAMPLES), features)).astype(np.float32)
        site = SimpleNamespace(block=block, name=name, features=features)
        rows = tuple(Scoring(tuple(names.split()), criterion) for names, criterion in scorings)
        observed.append(Observation(site, rows, counts, magnitudes))  # pyright: ignore[reportArgumentType]
    return observed


def test_histograms_are_those_of_their_site_sample_and_scoring(observations, tmp_path) -> None:
    table = histogram_table(observations, SAMPLES, TOKENS, BINS)
    HISTOGRAMS.write(table, tmp_path / "h.parquet")
    rows = {
        (row.sample_id, row.block, row.projections, row.criterion): (row.first_bin, row.counts.tolist())
        for row in table.to_pandas().itertuples()
    }
    expected = {}
    for seen in observations:
        for sample, sample_id in enumerate(SAMPLES):
            for number, scoring in enumerate(seen.scorings):
                dense = np.array(reference.in_units(seen.counts[sample, number]))
                first, *_, last = np.flatnonzero(dense)
                key = (sample_id, seen.site.block, " ".join(scoring.projections), scoring.criterion)
                expected[key] = (first, dense[first : last + 1].tolist())
    assert rows == expected and len(rows) == 3 * 5


def test_signatures_are_the_projections_of_all_sites_but_activated_gates(observations, tmp_path) -> None:
    table = signature_table(observations, SAMPLES, TOKENS, seed=3, dim=4)
    SIGNATURES.write(table, tmp_path / "s.parquet")
    rows = {(row.sample_id, row.block, row.site): row for row in table.to_pandas().itertuples()}
    assert len(rows) == 3 * 3
    for seen in observations[:3]:
        vectors = project(seen.magnitudes, seed=3, block=seen.site.block, site=seen.site.name, dim=4)
        for sample_id, tokens, vector in zip(SAMPLES, TOKENS, vectors, strict=True):
            row = rows[sample_id, seen.site.block, seen.site.name]
            assert row.n_tokens == tokens and np.array_equal(row.vector, vector)


def test_a_batch_of_no_counted_samples_has_no_histograms(observations) -> None:
    empty = [Observation(seen.site, seen.scorings, seen.counts[:0], seen.magnitudes) for seen in observations]
    assert histogram_table(empty, [], np.zeros(0, np.int64), BINS).num_rows == 0


def test_one_wrong_number_of_tokens_is_refused(observations) -> None:
    with pytest.raises(ValueError, match=r"histogram \d+ must count"):
        histogram_table(observations, SAMPLES, TOKENS + np.array([0, 0, 1]), BINS)
