"""`wina_amp.harness`: lm-eval's model gives what the study's own evaluation gives, request by request."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import lm_eval
import numpy as np
import pytest
import torch
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

SPARSITY = 0.5
ROUNDING = 1e-4
"""Nats; see tests/pipeline/evaluate/test_choices.py."""


@pytest.fixture
def sparse(tiny_loaded: LoadedModel) -> SparseLM:
    options = {"pretrained": tiny_loaded.model, "tokenizer": tiny_loaded.tokenizer, "backend": "causal"}
    model = SparseLM(profile_set=profile_set(tiny_loaded), sparsity=SPARSITY, max_length=128, **options)
    yield model
    model.sparse.remove()


def _tokens(count: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(4, 64, count).tolist()


def test_likelihoods_are_those_of_the_studys_evaluation(tiny_loaded: LoadedModel, sparse: SparseLM):
    requests = [(_tokens(2 + number, number), _tokens(1 + number % 4, 50 + number)) for number in range(8)]
    scores = sparse._loglikelihood_tokens([(None, *request) for request in requests], disable_tqdm=True)
    groups = [
        int(sparse.sparse.route(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.int64)))
        for prompt, _ in requests
    ]
    assert len(set(groups)) == 2, "both groups are used"
    assert sparse.get_model_info()["groups"] == {
        f"group {group}": groups.count(group) for group in dict.fromkeys(groups)
    }
    sparse.sparse.remove()
    batch = [
        ScoringRequest(number, group, prompt, [continuation])
        for number, (group, (prompt, continuation)) in enumerate(zip(groups, requests, strict=True))
    ]
    thresholds = profile_set(tiny_loaded).at(SPARSITY)
    with install(tiny_loaded, "wina", thresholds) as runtime, torch.inference_mode():
        expected = loglikelihoods(Engine(tiny_loaded, runtime, DENSE_PREFIX), batch, Tally(8, 14))
    for (score, is_best), [(right, is_right)] in zip(scores, expected, strict=True):
        assert math.isclose(score, right, abs_tol=ROUNDING) and is_best == is_right


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
    groups = [int(sparse.sparse.route(torch.tensor([p]), torch.ones(1, len(p), dtype=torch.int64))) for p in prompts]
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
    assert facts["profile_set"] == "made_up" and facts["sparsity"] == SPARSITY and sum(facts["groups"].values()) > 8


def test_a_sparsity_that_the_set_lacks_is_refused_before_a_model_is_loaded(tiny_loaded: LoadedModel):
    with pytest.raises(UserError, match=r"must be one that the profile set has"):
        SparseLM(profile_set=replace(profile_set(tiny_loaded)), sparsity=0.3, pretrained="nowhere")
