"""Training the reference model: what counts in the loss, the schedule, and resuming to the same weights."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.benchmark.surfaces import END
from pipeline.benchmark.tokenizer import build as build_tokenizer
from pipeline.reference import training
from pipeline.reference.batches import batches
from pipeline.reference.recipe import Architecture, Recipe

ARCHITECTURE = Architecture(hidden=16, blocks=2, heads=2, kv_heads=1, intermediate=24, context=256)
RECIPE = Recipe(
    seed=3, tokens=9000, batch_tokens=1024, muon_lr=0.01, adam_lr=0.01, weight_decay=0.0, context_weight=0.1, warmup=0.1
)


class Stopped(Exception):
    """Stands for a crash."""


def trained(path: Path, *, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    tokenizer = build_tokenizer(ARCHITECTURE.context)
    model = training.build(ARCHITECTURE, tokenizer, RECIPE.seed)

    def report(line: training.Progress) -> None:
        if stop_after is not None and line.step >= stop_after:
            raise Stopped

    training.train(model, tokenizer, RECIPE, {"addition": 2.0}, report, path)
    return model.state_dict()


def test_an_interrupted_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_REPORT_EVERY", 1)
    monkeypatch.setattr(training, "_SAVE_EVERY", 2)
    whole = trained(tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        trained(tmp_path / "part.pt", stop_after=5)
    assert (tmp_path / "part.pt").exists()
    resumed = trained(tmp_path / "part.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_answers_count_fully_context_a_little_and_padding_never() -> None:
    tokenizer = build_tokenizer(256)
    batch = next(batches(tokenizer, RECIPE, {}))
    assert batch.ids.shape == batch.weights.shape
    assert batch.weights[batch.ids == tokenizer.pad_token_id].eq(0).all()
    assert batch.weights[batch.ids == tokenizer.bos_token_id].eq(0).all()
    end = tokenizer.convert_tokens_to_ids("▁" + END)
    assert batch.weights[batch.ids == end].eq(1).all(), "the end mark is part of every answer"
    counted = (batch.weights == 1).float().mean()
    assert 0.05 < float(counted) < 0.4, "answers are a small part of the text"


def test_emphasis_draws_a_computation_more_often() -> None:
    tokenizer = build_tokenizer(256)

    def share(emphasis: dict[str, float]) -> float:
        plus = tokenizer.convert_tokens_to_ids("▁swap")
        rows = [row for batch in itertools.islice(batches(tokenizer, RECIPE, emphasis), 40) for row in batch.ids]
        return sum(bool((row == plus).any()) for row in rows) / len(rows)

    assert share({"tracking": 6.0}) > 2 * share({})


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [training.schedule(progress / 100, 0.1) for progress in range(101)]
    assert rates[10] == pytest.approx(1.0) and rates[5] == pytest.approx(0.5) and rates[100] == pytest.approx(0.02)
    assert rates == sorted(rates[:11]) + sorted(rates[11:], reverse=True)


def test_the_loss_of_the_answers_falls() -> None:
    tokenizer = build_tokenizer(256)
    model = training.build(ARCHITECTURE, tokenizer, 0)
    lines: list[training.Progress] = []
    training.train(model, tokenizer, replace(RECIPE, tokens=60_000), {}, lines.append, Path("unused"))
    assert lines[-1].tokens >= 60_000 and lines[-1].loss < lines[0].loss
