"""`pipeline.capture.capture`: rows equal those of samples run alone, obey the schema, and count exactly what is
eligible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.capture.capture import capture
from pipeline.histograms import count_units
from pipeline.histograms.aggregate import dense_counts
from pipeline.storage.schemas import HISTOGRAMS, SIGNATURES
from tests.reference import capture as reference
from tests.wina_amp.allocation.blocks import CHANGING_ROPE, CONFIGS, random_model
from tests.wina_amp.tokens.memory import room_for
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.models.projections import projections
from wina_amp.tokens.samples import TokenizedSample

TRAIN = ("task/train/1", "task/train/3", "task/train/5")
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
SETTINGS = {
    "histograms_of": TRAIN,
    "criteria": ("teal", "wina"),
    "mantissa_bits": 4,
    "signature_dim": 8,
    "dense_prefix": 1,
    "seed": 0,
}
BATCHED = 1e-4
"""A matrix product over another number of rows rounds differently: relative change of a signature, float32."""
MOVED = 0.01
"""Fraction of a histogram's scores that may change bins for the same reason."""


def _samples():
    """Six samples, those of the train split with an answer."""
    generator = np.random.default_rng(0)
    return [
        TokenizedSample(
            f"task/{'train' if i % 2 else 'test'}/{i}", generator.integers(3, 64, 4 + 3 * i).tolist(), answer
        )
        for i, answer in enumerate([[], [7, 8], [], [9], [], [10, 11, 12]])
    ]


def _captured(loaded, batches, **changes):
    parts = list(capture(loaded, batches, **SETTINGS | changes))
    histograms = pa.concat_tables([part.histograms for part in parts]).to_pandas()
    signatures = pa.concat_tables([part.signatures for part in parts]).to_pandas()
    return (
        histograms.sort_values(list(HISTOGRAMS.key), ignore_index=True),
        signatures.sort_values(list(SIGNATURES.key), ignore_index=True),
    )


def test_rows_obey_the_schemas_and_cover_every_sample_projection_and_criterion(tiny_loaded, tmp_path):
    samples = _samples()
    (part,) = capture(tiny_loaded, [samples], **SETTINGS)
    HISTOGRAMS.write(part.histograms, tmp_path / "h.parquet")
    SIGNATURES.write(part.signatures, tmp_path / "s.parquet")
    histograms, signatures = HISTOGRAMS.read(tmp_path / "h.parquet"), SIGNATURES.read(tmp_path / "s.parquet")
    assert set(histograms.sample_id) == set(TRAIN) and len(histograms) == len(TRAIN) * 2 * (4 + 7)
    assert set(signatures.sample_id) == {sample.sample_id for sample in samples}
    assert len(signatures) == len(samples) * 2 * 4
    assert {len(vector) for vector in signatures.vector} == {8}


@pytest.mark.parametrize("dense_prefix", [0, 1, 3, 0.3])
def test_counts_add_up_to_eligible_tokens_times_features(tiny_loaded, dense_prefix):
    samples = {sample.sample_id: sample for sample in _samples()}
    histograms, signatures = _captured(tiny_loaded, [list(samples.values())], dense_prefix=dense_prefix)
    features = {(p.block, p.name): p.in_features for p in projections(tiny_loaded.model)}
    for row in histograms.itertuples():
        sample = samples[row.sample_id]
        prefix = dense_prefix if dense_prefix >= 1 else int(np.ceil(dense_prefix * len(sample.prompt_ids)))
        assert row.counts.sum() == (sample.length - prefix) * features[row.block, row.projections.split()[0]]
    for row in signatures.itertuples():
        prompt = len(samples[row.sample_id].prompt_ids)
        assert row.n_tokens == prompt - (dense_prefix if dense_prefix >= 1 else int(np.ceil(dense_prefix * prompt)))


def test_histograms_of_long_samples_are_those_of_the_transcription_in_larger_units(tiny_loaded, monkeypatch):
    exact, signatures = _captured(tiny_loaded, [_samples()], criteria=("teal", "wina", "cats"))
    monkeypatch.setattr(count_units, "UNITS_BITS", 5)
    in_units, same_signatures = _captured(tiny_loaded, [_samples()], criteria=("teal", "wina", "cats"))
    bins = Bins(4)
    expected = [reference.in_units(row, bits=5) for row in dense_counts(exact, bins)]
    assert np.array_equal(dense_counts(in_units, bins), expected)
    assert not np.array_equal(expected, dense_counts(exact, bins))
    assert np.array_equal(np.stack(signatures.vector), np.stack(same_signatures.vector))


def test_a_sample_gets_the_same_rows_alone_as_in_a_padded_batch(tiny_loaded):
    samples = _samples()
    together, alone = _captured(tiny_loaded, [samples]), _captured(tiny_loaded, [[sample] for sample in samples])
    bins = Bins(4)
    for in_batch, by_itself in zip(dense_counts(together[0], bins), dense_counts(alone[0], bins), strict=True):
        assert np.abs(in_batch - by_itself).sum() / 2 <= MOVED * in_batch.sum()
    np.testing.assert_allclose(np.stack(together[1].vector), np.stack(alone[1].vector), rtol=BATCHED, atol=BATCHED)


@pytest.mark.tried("memory", "warned")
@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_batch_that_does_not_fit_into_memory_gives_the_rows_of_smaller_ones(tiny_loaded, most: int):
    whole = _captured(tiny_loaded, [_samples()])
    with room_for(tiny_loaded, most):
        halves = _captured(tiny_loaded, [_samples()])
    bins = Bins(4)
    for in_one, in_parts in zip(dense_counts(whole[0], bins), dense_counts(halves[0], bins), strict=True):
        assert np.abs(in_one - in_parts).sum() / 2 <= MOVED * in_one.sum()
    np.testing.assert_allclose(np.stack(whole[1].vector), np.stack(halves[1].vector), rtol=BATCHED, atol=BATCHED)
    with room_for(tiny_loaded, 0), pytest.raises(UserError, match="single sample must fit into memory"):
        _captured(tiny_loaded, [_samples()])


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize("kind", [*CONFIGS, *CHANGING_ROPE])
def test_a_sample_as_long_as_the_context_leaves_the_rows_of_its_neighbours_alone(kind: str):
    loaded, rng = random_model(kind), np.random.default_rng(1)
    samples = [
        TokenizedSample(f"task/train/{number}", rng.integers(3, 64, length).tolist(), [7, 8])
        for number, length in enumerate((2, 3, loaded.context - 3, loaded.context - 2))
    ]
    together, alone = _captured(loaded, [samples]), _captured(loaded, [[sample] for sample in samples])
    np.testing.assert_allclose(np.stack(together[1].vector), np.stack(alone[1].vector), rtol=BATCHED, atol=BATCHED)
    for in_batch, by_itself in zip(dense_counts(together[0], Bins(4)), dense_counts(alone[0], Bins(4)), strict=True):
        assert np.abs(in_batch - by_itself).sum() / 2 <= MOVED * in_batch.sum()
    too_long = replace(samples[-1], prompt_ids=[*samples[-1].prompt_ids, 9])
    with pytest.raises(UserError, match=f"context of {loaded.context} tokens"):
        _captured(loaded, [[*samples, too_long]])


def test_two_runs_give_identical_rows(tiny_loaded):
    batches = [_samples()[:3], _samples()[3:]]
    for first, second in zip(_captured(tiny_loaded, batches), _captured(tiny_loaded, batches), strict=True):
        assert all(
            np.array_equal(np.concatenate(first[name]), np.concatenate(second[name]))
            for name in {"counts", "vector"} & set(first.columns)
        )


def test_signatures_do_not_see_the_answer(tiny_loaded):
    samples = _samples()
    changed = [TokenizedSample(s.sample_id, s.prompt_ids, [63] * len(s.answer_ids)) for s in samples]
    (counts, signatures), (changed_counts, same_signatures) = (
        _captured(tiny_loaded, [batch]) for batch in (samples, changed)
    )
    assert np.array_equal(np.stack(signatures.vector), np.stack(same_signatures.vector))
    assert any(not np.array_equal(a, b) for a, b in zip(counts.counts, changed_counts.counts, strict=True))


def test_projections_with_the_same_scores_have_one_row(tiny_loaded):
    histograms, _ = _captured(tiny_loaded, [_samples()])
    names = {key: sorted(rows) for key, rows in histograms.groupby(["sample_id", "block", "criterion"])["projections"]}
    assert len(names) == 3 * 2 * 2
    for (_, _, criterion), together in names.items():
        assert together == (["down", "gate up", "o", "q k v"] if criterion == "teal" else sorted(PROJECTIONS))


@pytest.mark.parametrize("criteria", [("teal", "wina", "cats"), ("cats",)])
def test_cats_adds_a_histogram_a_block_and_leaves_all_other_rows_alone(tiny_loaded, criteria):
    without, signatures = _captured(tiny_loaded, [_samples()])
    captured, same_signatures = _captured(tiny_loaded, [_samples()], criteria=criteria)
    cats = captured[captured.criterion == "cats"]
    assert set(zip(cats.sample_id, cats.block, cats.projections, strict=True)) == {
        (sample_id, block, "down") for sample_id in TRAIN for block in (0, 1)
    }
    others = captured[captured.criterion != "cats"].reset_index(drop=True)
    expected = without[without.criterion.isin(criteria)].reset_index(drop=True)
    for rows, wanted in ((others, expected), (same_signatures, signatures)):
        assert rows.map(str).equals(wanted.map(str)) and len(rows) == len(wanted)
        for name in {"counts", "vector"} & set(rows.columns):
            assert all(np.array_equal(a, b) for a, b in zip(rows[name], wanted[name], strict=True))


def test_a_batch_without_calibration_samples_has_signatures_only(tiny_loaded):
    (part,) = capture(tiny_loaded, [_samples()[::2]], **SETTINGS)
    assert part.histograms.num_rows == 0 and part.signatures.num_rows == 3 * 2 * 4


def test_hooks_are_removed_when_the_rows_are_not_read_to_the_end(tiny_loaded):
    rows = capture(tiny_loaded, [_samples()[:2], _samples()[2:]], **SETTINGS)
    next(rows)
    assert any(module._forward_pre_hooks for module in tiny_loaded.model.modules())
    rows.close()
    assert not any(module._forward_pre_hooks for module in tiny_loaded.model.modules())


def test_what_a_batch_allocates_does_not_depend_on_how_many_batches_there_are(tiny_loaded, monkeypatch):
    sizes = []
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: sizes.append(out := zeros(*a, **k)) or out)
    for _ in capture(tiny_loaded, [_samples()] * 3, **SETTINGS):
        sizes.append(None)
    batches = " ".join("|" if s is None else str(s.numel()) for s in sizes).split("|")
    assert batches[0].split() == batches[1].split() == batches[2].split() != []


def test_a_sample_longer_than_the_context_is_named(tiny_loaded):
    long = TokenizedSample("task/test/9", [5] * 127, [5, 5])
    with pytest.raises(UserError, match=r"context of 128 tokens.*129 tokens.*task/test/9"):
        list(capture(tiny_loaded, [[long]], **SETTINGS))


def test_a_prompt_that_is_all_dense_prefix_is_named(tiny_loaded):
    with pytest.raises(UserError, match=r"behind the dense prefix.*dense_prefix: 4.*task/test/0"):
        list(capture(tiny_loaded, [_samples()], **SETTINGS | {"dense_prefix": 4}))
