"""`pipeline.evaluate.choices`: sharing a prompt between its continuations changes nothing but the cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.compute.operations import attended
from pipeline.evaluate.choices import ScoringRequest, loglikelihoods
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from tests.reference.evaluation import kept_by, loglikelihood
from tests.wina_amp.allocation.blocks import CHANGING_ROPE, CONFIGS, random_model
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel

ROUNDING = 1e-4
"""Nats. Float32 sums in another order differ by about 1e-6 per logit; a feature masked differently would differ by far
more, and at this seed no score lies so close to its threshold."""

THRESHOLDS = torch.rand(3, 2, 7, generator=torch.Generator().manual_seed(4))


def _requests(longest: int) -> list[ScoringRequest]:
    rng = np.random.default_rng(5)

    def tokens(count):
        return rng.integers(4, 64, count).tolist()

    return [
        ScoringRequest(
            sample, sample % 3, tokens(rng.integers(1, 15)), [tokens(rng.integers(1, longest + 1)) for _ in range(4)]
        )
        for sample in range(9)
    ]


@pytest.mark.parametrize("longest", [1, 4], ids=["one token each", "several tokens"])
def test_dense_scores_equal_separate_full_passes(tiny_loaded: LoadedModel, longest: int):
    requests = _requests(longest)
    tally = Tally(9, 14)
    with torch.inference_mode():
        results = loglikelihoods(Engine(tiny_loaded, None, 1), requests, tally)
    for request, scores in zip(requests, results, strict=True):
        for continuation, (value, is_greedy) in zip(request.continuations, scores, strict=True):
            wanted = loglikelihood(tiny_loaded, None, 0, request.prompt, continuation)
            assert value == pytest.approx(wanted[0], abs=ROUNDING)
            assert is_greedy == wanted[1]
    assert not tally.work.eligible.any() and not tally.work.kept.any()


@pytest.mark.parametrize("prefix", [0, 2, 0.5])
@pytest.mark.parametrize("longest", [1, 4], ids=["one token each", "several tokens"])
def test_masked_scores_and_counts_equal_separate_full_passes(tiny_loaded: LoadedModel, longest: int, prefix: float):
    requests = _requests(longest)
    tally = Tally(9, 14)
    with install(tiny_loaded, "wina", THRESHOLDS) as runtime:
        with torch.inference_mode():
            results = loglikelihoods(Engine(tiny_loaded, runtime, prefix), requests, tally)
        for request, scores in zip(requests, results, strict=True):
            case = (tiny_loaded, runtime, request.group, request.prompt)
            for continuation, (value, is_greedy) in zip(request.continuations, scores, strict=True):
                wanted = loglikelihood(*case, continuation, prefix)
                assert value == pytest.approx(wanted[0], abs=ROUNDING)
                assert is_greedy == wanted[1]
            kept = kept_by(*case, request.continuations, prefix)
            assert tally.work.kept[request.sample].tolist() == kept.tolist()


def test_the_tally_counts_a_shared_prompt_once(tiny_loaded: LoadedModel):
    request = ScoringRequest(1, 0, [1, 8, 9, 10, 11], [[5], [6, 7, 8], [9, 4]])
    tally = Tally(2, 14)
    with install(tiny_loaded, "teal", THRESHOLDS) as runtime, torch.inference_mode():
        loglikelihoods(Engine(tiny_loaded, runtime, 2), [request], tally)
    # Five prompt tokens; the continuations run without their last token: none, two, one.
    assert tally.work.tokens.tolist() == [0, 8]
    assert tally.work.eligible.tolist() == [0, 6]
    assert tally.work.attended.tolist() == [0, attended(0, 5) + attended(5, 2) + attended(5, 1)]
    # Predictions: behind the prompt (shared), behind each token that ran.
    assert tally.work.predicted.tolist() == [0, 4]


def test_a_question_is_scored_the_same_alone_and_in_a_batch(tiny_loaded: LoadedModel):
    requests = _requests(3)
    with install(tiny_loaded, "wina", THRESHOLDS) as runtime, torch.inference_mode():
        engine = Engine(tiny_loaded, runtime, 1)
        together = loglikelihoods(engine, requests, Tally(9, 14))
        alone = [loglikelihoods(engine, [request], Tally(9, 14))[0] for request in requests]
    for first, second in zip(together, alone, strict=True):
        assert [value for value, _ in first] == pytest.approx([value for value, _ in second], abs=ROUNDING)


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize("kind", [*CONFIGS, *CHANGING_ROPE])
def test_scores_alone_and_in_batches_of_awkward_lengths_are_those_of_transformers_alone(kind: str):
    """Lengths up to the context; rows, which hold several continuations, are longer than it and than any window."""
    loaded, rng = random_model(kind), np.random.default_rng(9)
    most = min(loaded.context, 40)
    lengths = [(1, 1), (most - 1, 1), (1, most - 1), (most // 2, most - most // 2)]
    requests = [
        ScoringRequest(number, 0, rng.integers(4, 64, read).tolist(), rng.integers(4, 64, (3, scored)).tolist())
        for number, (read, scored) in enumerate(lengths)
    ]
    with torch.inference_mode():
        engine = Engine(loaded, None, 1)
        alone = [loglikelihoods(engine, [request], Tally(4, 0))[0] for request in requests]
        for batch in (range(4), (3, 1)):
            together = loglikelihoods(engine, [requests[number] for number in batch], Tally(4, 0))
            for number, scores in zip(batch, together, strict=True):
                assert np.allclose(scores, alone[number], rtol=0, atol=ROUNDING)
    for request, scores in zip(requests, alone, strict=True):
        wanted = [loglikelihood(loaded, None, 0, request.prompt, tokens) for tokens in request.continuations]
        assert np.allclose(scores, wanted, rtol=0, atol=ROUNDING)
