"""The reference model's card: what it is, how it was made, how well it does what, beside chance."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.reference_model.recipe import Phase, ReferenceSettings
from pipeline.statistics.bootstrap import mean_interval

_REPLICATES = 2000

_TEMPLATE = """---
license: mit
library_name: transformers
tags: [llama, reference-model, activation-sparsity]
---
# WINA-AMP reference model

A small Llama ({parameters:,} parameters) that makes the embedded default a controlled experiment: it was trained from
scratch on procedurally generated items with exact truth, so what it can do, and on what it was never trained, is known.
It answers the embedded benchmark's computations in four wordings and is good for nothing else.

Made by `make reference` (stages/reference_train.py, stages/reference_card.py; settings in data/reference/params.yaml).

## Data
Items of the *model-training* split of the embedded benchmark (`pipeline/tasks/embedded`): 80% of all items by hash of
their content; the train and test splits that profiles are built and evaluated on are the other 20%. Every computation,
four templates, zero to three solved examples. The mixture changes with the phase (fractions are relative to 1; levels
repeat where they are drawn more often; all four, equally, where none are named):

| until token | learning rate, of peak | weight of context tokens | shares | levels |
|---:|---|---:|---|---|
{phases}

## Recipe
| setting | value |
|---|---|
{recipe}

Muon on the matrices of the blocks, AdamW on the rest, fp32; linear warm-up and decay. The loss is taken on the answers'
tokens, and with the small weight above on all others.

## Training run
{steps:,} steps, {tokens:,} tokens (padding included), {minutes:.0f} minutes. {machine}
Mean loss per answer token over the last {tail} logged intervals: {loss:.4f} nats. The log is log.csv.

## Accuracy of the dense model
Test split, {documents} documents a task, 95% bootstrap intervals over documents, measured by lm-eval through
`pipeline/evaluate` on {evaluation_machine}.

| task | default | kind | levels | chance | accuracy |
|---|---|---|---|---:|---:|
{accuracy}

Mean over the default multiple-choice tasks: **{mean:.1f}%**; over those of free generation: **{mean_free:.1f}%**.
Tasks that are not in the default benchmark are listed because the model was trained on them too: what it did not learn
within its budget would sit at chance, where sparsity has nothing to destroy.

SHA-256 of model.safetensors: `{digest}`
"""


def machine() -> str:
    """This machine in words: processor, system, Python."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{len(names) or 1} x {processor}, {platform.system()}, Python {platform.python_version()}"


def table(
    results: pd.DataFrame, samples: pd.DataFrame, levels: Mapping[str, Sequence[int]], default: Collection[str]
) -> pd.DataFrame:
    """Accuracy of every task, in per cent, with chance level and interval.

    Args:
        results: one row a sample with `sample_id` and `score`.
        samples: `schemas.SAMPLES`.
        levels: levels of difficulty of every task.
        default: the tasks of the default benchmark.

    Returns: columns task, is_default, kind, levels, chance, accuracy, low, high; in the order of the samples.
    """
    joined: Any = samples.merge(results[["sample_id", "score"]], on="sample_id", validate="one_to_one")
    rows: list[dict[str, object]] = []
    for task, part in joined.groupby("task", sort=False):
        interval = mean_interval(part["score"].to_numpy(), replicates=_REPLICATES, confidence=0.95, seed=0)
        is_choice = part["kind"].iloc[0] == "choice"
        rows.append(
            {
                "task": task,
                "is_default": task in default,
                "kind": part["kind"].iloc[0],
                "levels": ", ".join(map(str, levels[str(task)])),
                "chance": 100 * float((1 / part["choices"].map(len)).mean()) if is_choice else 0.0,
                "accuracy": 100 * interval.value,
                "low": 100 * interval.low,
                "high": 100 * interval.high,
            }
        )
    return pd.DataFrame(rows)


def render(
    settings: ReferenceSettings,
    log: pd.DataFrame,
    accuracy: pd.DataFrame,
    *,
    weights: Path,
    parameters: int,
    documents: int,
    trained_on: str,
    evaluated_on: str,
) -> str:
    """The card as Markdown with the front matter of a Hugging Face model card."""
    rows: Any = list(accuracy.itertuples())
    last = log.iloc[-1].to_dict()
    losses, tail = log["loss"].to_numpy(dtype=float), 10
    facts = asdict(settings.architecture) | asdict(settings.recipe)
    return _TEMPLATE.format(
        parameters=parameters,
        phases="\n".join(map(_phase, settings.phases)),
        recipe="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        steps=int(last["step"]),
        tokens=int(last["tokens"]),
        minutes=last["seconds"] / 60,
        machine=f"Machine: {trained_on}.",
        tail=tail,
        loss=float(losses[-tail:].mean()),
        documents=documents,
        evaluation_machine=evaluated_on,
        accuracy="\n".join(
            f"| {row.task} | {'yes' if row.is_default else 'no'} | {row.kind} | {row.levels} | {row.chance:.0f}% "
            f"| {row.accuracy:.1f}% ({row.low:.1f} to {row.high:.1f}) |"
            for row in rows
        ),
        mean=_mean(rows, "choice"),
        mean_free=_mean(rows, "generation"),
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )


def _mean(rows: Sequence[Any], kind: str) -> float:
    """Over the default tasks of a kind."""
    accuracies = [row.accuracy for row in rows if row.is_default and row.kind == kind]
    return sum(accuracies) / len(accuracies)


def _phase(phase: Phase) -> str:
    fractions = ", ".join(f"{name} {fraction:g}" for name, fraction in phase.emphasis.items())
    levels = "; ".join(f"{name} {' '.join(map(str, drawn))}" for name, drawn in phase.levels.items())
    rate = f"{phase.rate[0]:.2f} to {phase.rate[1]:.2f}"
    cells = (f"{phase.until:,}", rate, f"{phase.context_weight:g}", fractions or "all 1", levels or "all")
    return f"| {' | '.join(cells)} |"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
