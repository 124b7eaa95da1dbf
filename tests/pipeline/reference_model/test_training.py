"""Training the reference model: the schedule, and resuming to the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.reference_model import training
from pipeline.reference_model.recipe import Architecture, Phase, Recipe
from pipeline.storage.parts import Parts
from pipeline.tasks.embedded.tokenizer import build as build_tokenizer

ARCHITECTURE = Architecture(hidden=16, blocks=2, heads=2, kv_heads=1, intermediate=24, context=256)
RECIPE = Recipe(seed=3, batch_tokens=1024, muon_lr=0.01, adam_lr=0.01, weight_decay=0.0, warmup=1000)
PHASES = (
    Phase(4000, (1.0, 0.5), 0.1, {"addition": 2.0}, {}),
    Phase(9000, (0.8, 0.02), 0.02, {}, {"sorting": (1, 1, 2)}),
)


class Stopped(Exception):
    """Stands for a crash."""


def trained(folder: Path, *, stop_after: int | None = None) -> tuple[dict[str, torch.Tensor], list[training.Progress]]:
    tokenizer = build_tokenizer(ARCHITECTURE.context)
    model = training.build(ARCHITECTURE, tokenizer, RECIPE.seed)

    def report(line: training.Progress) -> None:
        if stop_after is not None and line.step >= stop_after:
            raise Stopped

    log = training.train(model, tokenizer, RECIPE, PHASES, report, Parts(folder))
    return model.state_dict(), [replace(line, seconds=0.0) for line in log]


def test_an_interrupted_run_resumes_to_the_weights_and_the_log_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_REPORT_EVERY", 1)
    monkeypatch.setattr(training, "_SAVE_EVERY", 2)
    whole, log = trained(tmp_path / "whole")
    with pytest.raises(Stopped):
        trained(tmp_path / "part", stop_after=5)
    assert Parts(tmp_path / "part").has(training.CHECKPOINT)
    resumed, own_log = trained(tmp_path / "part")
    assert own_log == log and [line.step for line in log] == list(range(1, len(log) + 1))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.tried("damage", "recomputed")
def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SAVE_EVERY", 2)
    whole, _ = trained(tmp_path)
    checkpoint = tmp_path / training.CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    again, _ = trained(tmp_path)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_learning_rate_rises_then_follows_the_phases() -> None:
    def rate(tokens: int) -> float:
        return training.schedule(tokens, 1000, PHASES)

    assert rate(0) == 0.01 and rate(500) == pytest.approx(0.5)
    assert rate(2000) == pytest.approx(0.75) and rate(3999) == pytest.approx(0.5, abs=1e-3)
    assert rate(4000) == pytest.approx(0.8) and rate(9000) == pytest.approx(0.02) == rate(9500)


def test_the_loss_of_the_answers_falls() -> None:
    tokenizer = build_tokenizer(256)
    model = training.build(ARCHITECTURE, tokenizer, 0)
    lines: list[training.Progress] = []
    training.train(
        model, tokenizer, RECIPE, [Phase(60_000, (1.0, 0.1), 0.1, {}, {})], lines.append, Parts(Path("unused"))
    )
    assert lines[-1].tokens >= 60_000 and lines[-1].loss < lines[0].loss
