"""`wina_amp.masks.prompt`: thresholds are quantiles of the prompt's own scores, and continuations keep them."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.evaluate.choices import ScoringRequest, loglikelihoods
from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import ends_of
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from tests.reference.sparse import threshold_mask
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.masks.prompt import PromptMasker
from wina_amp.models.load import LoadedModel
from wina_amp.scoring.criteria import scores

X = torch.randn(3, 6, 10, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand(10, generator=torch.Generator().manual_seed(1)) + 0.5
PROMPTS, TOTALS = torch.tensor([4, 1, 6]), torch.tensor([6, 3, 6])
COUNTED = eligible(PROMPTS, TOTALS, 6, 1)
GROUPS = torch.tensor([1, 0, 0])
SPARSITY = torch.tensor([0.3, 0.6], dtype=torch.float64)


def test_masks_equal_the_transcription_and_prompts_meet_their_sparsity_to_one_score():
    kept = torch.zeros(3, dtype=torch.int64)
    masked = PromptMasker(WEIGHTS, SPARSITY)(X, GROUPS, COUNTED, kept, prompts=PROMPTS)
    thresholds = []
    for row in range(3):
        own = [
            score
            for token in range(int(PROMPTS[row]))
            if COUNTED[row, token]
            for score in scores(X[row, token], WEIGHTS).tolist()
        ]
        count = math.floor(round(float(SPARSITY[GROUPS[row]]) * len(own), 6))
        thresholds.append(sorted(own)[count - 1] if count else 0.0)
        inside = COUNTED[row, : PROMPTS[row]].sum() * 10
        assert (masked[row, : PROMPTS[row]] == 0).sum() == count and abs(count - SPARSITY[GROUPS[row]] * inside) < 1
    wanted, wanted_kept = threshold_mask(X, WEIGHTS, torch.tensor(thresholds), COUNTED)
    assert torch.equal(masked, wanted) and torch.equal(kept, wanted_kept)
    assert thresholds[1] == 0, "a prompt whose only token stays dense"


def test_later_passes_keep_the_thresholds_of_the_prompts():
    masker, kept = PromptMasker(WEIGHTS, SPARSITY), torch.zeros(3, dtype=torch.int64)
    whole = masker(X, GROUPS, COUNTED, kept, prompts=PROMPTS)
    for token in range(6):
        step = masker(X[:, token : token + 1], GROUPS, COUNTED[:, token : token + 1], kept)
        assert torch.equal(step, whole[:, token : token + 1])


def test_a_pass_without_prompts_is_refused_before_any_were_read():
    kept = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="need the prompts' own pass first"):
        PromptMasker(WEIGHTS, SPARSITY)(X, GROUPS, COUNTED, kept)


@pytest.fixture
def engine(tiny_loaded: LoadedModel):
    sparsity = torch.full((1, 2, 7), 0.5, dtype=torch.float64)
    with install(tiny_loaded, "wina", sparsity, "prompt") as runtime, torch.inference_mode():
        yield Engine(tiny_loaded, runtime, 1)


def _prompts() -> list[list[int]]:
    draw = torch.Generator().manual_seed(2)
    return [torch.randint(4, 64, (length,), generator=draw).tolist() for length in (2, 9, 14)]


def test_scores_do_not_depend_on_what_a_prompt_is_batched_with_and_prompts_realise_the_target(engine: Engine):
    requests = [ScoringRequest(number, 0, prompt, [[5], [6, 7]]) for number, prompt in enumerate(_prompts())]
    tally = Tally(3, 14)
    together = loglikelihoods(engine, requests, tally)
    for request, scored in zip(requests, together, strict=True):
        assert [value for value, _ in loglikelihoods(engine, [request], Tally(3, 14))[0]] == pytest.approx(
            [value for value, _ in scored], abs=1e-4
        )
    kept = tally.work.kept / (tally.work.eligible[:, None] * 32)
    assert abs(kept[2, 0] - 0.5) < 0.05, "13 of 14 eligible tokens are the prompt's own"


def test_decoded_texts_do_not_depend_on_the_batch_either(engine: Engine, tiny_loaded: LoadedModel):
    requests = [GenerationRequest(number, 0, prompt, Limits((), 5)) for number, prompt in enumerate(_prompts())]
    ends = ends_of(tiny_loaded)
    together = generate(engine, requests, Tally(3, 14), ends)
    assert together == [generate(engine, [request], Tally(3, 14), ends)[0] for request in requests]
