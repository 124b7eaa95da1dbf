"""`wina_amp.harness`: lm-eval's model gives what the study's own evaluation gives, request by request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from pipeline.evaluate.choices import ScoringRequest, loglikelihoods
from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import ends_of
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from tests.wina_amp.profile_set.sets import DENSE_PREFIX, profile_set
from wina_amp.errors import UserError
from wina_amp.harness import SparseLM
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import Prefill
from wina_amp.profile_set.generating import SparseCalls
from wina_amp.profile_set.profile_set import ProfileSet

SPARSITY = 0.5
ROUNDING = 1e-4
"""Nats; see tests/pipeline/evaluate/test_choices.py."""


def _model(loaded: LoadedModel, made: ProfileSet, **options: Any) -> SparseLM:
    of_lm_eval = {"pretrained": loaded.model, "tokenizer": loaded.tokenizer, "backend": "causal", "max_length": 128}
    return SparseLM(profile_set=made, sparsity=SPARSITY, **of_lm_eval, **options)


@pytest.fixture
def sparse(tiny_loaded: LoadedModel) -> Iterator[SparseLM]:
    model = _model(tiny_loaded, profile_set(tiny_loaded))
    yield model
    model.sparse.remove()


def _tokens(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(4, 64, count).tolist()


def _groups(sparse: SparseLM, prompts: list[list[int]]) -> list[int]:
    return [int(sparse.sparse.route(torch.tensor([p]), torch.ones(1, len(p), dtype=torch.int64))) for p in prompts]


@pytest.mark.parametrize("is_packed", [True, False], ids=["in one row", "in rows of their own"])
@pytest.mark.parametrize("prefill", ["sparse", "dense"])
def test_likelihoods_and_sparsity_are_those_of_the_studys_evaluation(
    tiny_loaded: LoadedModel, prefill: Prefill, is_packed: bool, monkeypatch: pytest.MonkeyPatch
):
    requests = [
        (
            _tokens(2 + number, number),
            [_tokens(1 + (number + choice) % 4, 50 + 9 * number + choice) for choice in range(3)],
        )
        for number in range(8)
    ]
    flat = [(None, prompt, continuation) for prompt, choices in requests for continuation in choices]
    made = profile_set(tiny_loaded)
    sparse = _model(tiny_loaded, made, prefill=prefill)
    if not is_packed:
        monkeypatch.setattr(SparseCalls, "_widest_row", 0)
    scores = iter(sparse._loglikelihood_tokens(flat, disable_tqdm=True))
    groups = _groups(sparse, [prompt for prompt, _ in requests])
    assert len(set(groups)) == 2, "both groups are used"
    assert sparse.get_model_info()["groups"] == Counter(f"group {group}" for group in groups)
    realised = sparse.realised_sparsity
    sparse.sparse.remove()
    batch = [
        ScoringRequest(number, group, prompt, choices)
        for number, (group, (prompt, choices)) in enumerate(zip(groups, requests, strict=True))
    ]
    tally, prefix = Tally(8, 14), DENSE_PREFIX if prefill == "sparse" else 1000
    with install(tiny_loaded, "wina", made.at(SPARSITY)) as runtime, torch.inference_mode():
        expected = loglikelihoods(Engine(tiny_loaded, runtime, prefix), batch, tally)
    for of_prompt in expected:
        for right, is_right in of_prompt:
            score, is_best = next(scores)
            assert math.isclose(score, right, abs_tol=ROUNDING) and is_best == is_right
    if is_packed:
        outputs = np.array([projection.out_features for projection in projections(tiny_loaded.model)])
        inputs = np.array([projection.in_features for projection in projections(tiny_loaded.model)])
        skipped = 1 - (tally.work.kept.sum(axis=0) @ outputs) / (tally.work.eligible.sum() * (inputs @ outputs))
        assert realised == {"loglikelihood": pytest.approx(skipped), "all": pytest.approx(skipped)}


def test_equal_requests_are_scored_once_and_all_get_the_score(sparse: SparseLM):
    prompt, first, second = _tokens(5, 1), _tokens(2, 2), _tokens(3, 3)
    requests = [(None, prompt, first), (None, prompt, second), (None, prompt, first)]
    scores = sparse._loglikelihood_tokens(requests, disable_tqdm=True)
    assert scores[0] == scores[2] != scores[1] and sum(sparse.groups.values()) == 1


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("length", [pytest.param(0, id="none"), pytest.param(129, id="more than the model takes")])
def test_a_continuation_without_tokens_or_of_too_many_is_refused(sparse: SparseLM, length: int):
    with pytest.raises(UserError, match=rf"at least one token, and at most the 128 .*Found: {length} tokens"):
        sparse._loglikelihood_tokens([(None, _tokens(4, 1), _tokens(length, 2))], disable_tqdm=True)


def _texts(count: int) -> list[Instance]:
    texts = [" ".join(f"w{number}" for number in _tokens(9 + length, length)) for length in range(count)]
    return [Instance("loglikelihood_rolling", {}, (text,), 0, ("texts", 0, 1)) for text in texts]


def test_whole_texts_are_scored_with_the_profile_that_was_chosen(tiny_loaded: LoadedModel):
    made, requests = profile_set(tiny_loaded), _texts(3)
    with pytest.raises(UserError, match=r"no prompt that could be routed.*2 groups.*task texts.*`--group`"):
        model = _model(tiny_loaded, made)
        try:
            model.loglikelihood_rolling(requests, disable_tqdm=True)
        finally:
            model.sparse.remove()
    model = _model(tiny_loaded, made, group=1)
    scores = model.loglikelihood_rolling(requests, disable_tqdm=True)
    ids = [model.tok_encode(request.args[0]) for request in requests]
    wanted = [model.sparse.score([model.prefix_token_id], [tokens])[0][0] for tokens in ids]
    assert scores == wanted and list(model.realised_sparsity) == ["loglikelihood_rolling", "all"]
    model.sparse.remove()


def test_what_does_not_fit_is_left_out_in_front_and_said(sparse: SparseLM, caplog: pytest.LogCaptureFixture):
    prompt, continuation = _tokens(140, 1), _tokens(3, 2)
    score, whole = sparse._loglikelihood_tokens(
        [(None, prompt[-126:], continuation), (None, prompt, continuation)], disable_tqdm=True
    )
    assert score == whole and caplog.messages == ["14 tokens in front of a prompt are left out: the model takes 128"]


def test_generations_are_those_of_the_studys_evaluation(tiny_loaded: LoadedModel, sparse: SparseLM):
    prompts = [_tokens(3 + number, 7 + number) for number in range(4)]
    made = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        row = sparse._model_generate(ids, max_length=len(prompt) + 6, stop=[], attention_mask=torch.ones_like(ids))
        made.append(tiny_loaded.tokenizer.decode(row[0, len(prompt) :], skip_special_tokens=True))
    assert all(made) and len(set(made)) > 1
    groups = _groups(sparse, prompts)
    sparse.sparse.remove()
    requests = [
        GenerationRequest(number, group, prompt, Limits((), 6))
        for number, (group, prompt) in enumerate(zip(groups, prompts, strict=True))
    ]
    with install(tiny_loaded, "wina", profile_set(tiny_loaded).at(SPARSITY)) as runtime, torch.inference_mode():
        engine = Engine(tiny_loaded, runtime, DENSE_PREFIX)
        assert made == generate(engine, requests, Tally(4, 14), ends_of(tiny_loaded))


def test_lm_eval_runs_it_by_its_name(tiny_llama: Path, tiny_loaded: LoadedModel, tiny_tasks: Path, tmp_path: Path):
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    arguments = {"pretrained": str(tiny_llama), "profile_set": str(tmp_path / "set"), "sparsity": SPARSITY}
    results = lm_eval.simple_evaluate(
        "wina-amp",
        model_args={**arguments, "device": "cpu", "dtype": "float32"},
        tasks=["pick", "write"],
        task_manager=TaskManager(include_path=str(tiny_tasks), include_defaults=False),
        limit=4,
        bootstrap_iters=0,
        log_samples=True,
    )
    assert {name: len(samples) for name, samples in results["samples"].items()} == {"pick": 4, "write": 4}
    facts = results["config"]
    assert facts["profile_set"] == "made_up" and facts["sparsity"] == SPARSITY and sum(facts["groups"].values()) == 8
    assert set(facts["realised_sparsity"]) == {"loglikelihood", "generate_until", "all"}


def test_a_sparsity_that_the_set_lacks_is_refused_before_a_model_is_loaded(tiny_loaded: LoadedModel):
    with pytest.raises(UserError, match=r"must be one that the profile set has"):
        SparseLM(profile_set=replace(profile_set(tiny_loaded)), sparsity=0.3, pretrained="nowhere")
