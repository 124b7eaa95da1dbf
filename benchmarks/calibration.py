"""Thresholds of the dense model against thresholds of the model as it runs, on a real model and real text.

    python -m benchmarks.calibration --model ../gemma-3-270m --data ../shared/real/data --out calibration.json

Half of the text is calibrated on, the other half held out: windows of WikiText-2 (validation and test file), PIQA and
HellaSwag (question and right answer), as many tokens of each. For every criterion, allocation, calibration and target:
what each mask really zeroes, on both halves, and the log-likelihood of the held-out texts, all tokens after the first.
Pairs are compared at equal realised sparsity, on straight lines between the targets (and the dense model), with 95%
bootstrap intervals over texts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch.nn import functional

from pipeline.statistics.bootstrap import mean_interval
from wina_amp.allocation.calibration.texts import choose
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.capture.passes import group_counts
from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.projections import projections
from wina_amp.models.transform import block_bases, rotate_block
from wina_amp.thresholds.as_run import thresholds_as_run
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

TARGETS = (0.4, 0.5, 0.65)
CRITERIA = ("teal", "wina")
BINS, PREFIX, BUDGET, WINDOW = Bins(4), 1, 512, 128
GREEDY_TOKENS, GREEDY_STEP = 512, 0.2

Counts = dict[str, dict[tuple[int, str], ndarray]]


@dataclass(frozen=True)
class Run:
    """What masks do to texts: the fraction that each mask zeroes, of all weights, and every text's log-likelihood."""

    masked: ndarray
    sparsity: float
    loglikelihood: ndarray


def main() -> None:
    """Measure, print as it goes, write everything to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=2048, help="of each source, calibrated on and held out")
    parser.add_argument("--allocations", nargs="+", default=["uniform"], choices=["uniform", "greedy"])
    parser.add_argument("--transform", action="store_true", help="rotate inputs first (model.transform: orthogonal)")
    options = parser.parse_args()
    loaded = load(options.model, revision=None, dtype="float32", device="cpu")
    if options.transform:
        for block in range(len(loaded.layers)):
            rotate_block(loaded, block, block_bases(loaded, block))
    calibration, held_out = read_texts(loaded, options.data, options.tokens)
    rows: list[dict[str, Any]] = []
    for row in measure(loaded, calibration, held_out, options.allocations):
        rows.append(row)
        options.out.write_text(json.dumps(rows), encoding="utf-8")
    for line in differences(rows):
        sys.stdout.write(line + "\n")


def measure(
    loaded: LoadedModel,
    calibration: Sequence[TokenizedSample],
    held_out: Sequence[TokenizedSample],
    allocations: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """A row for the dense model, and one for every criterion, allocation, calibration and target."""
    counts = dense_counts(loaded, calibration)
    shape = (len(loaded.layers), len(projections(loaded.model)) // len(loaded.layers))
    zeros = np.zeros(shape, dtype=np.float32)
    yield _row("dense", "", "", 0.0, evaluate(loaded, held_out, "teal", zeros), None)
    for criterion in CRITERIA:
        by_projection = np.stack(list(counts[criterion].values())).reshape(*shape, BINS.count)
        for allocation in allocations:
            for target, sparsity in allocate(loaded, calibration, counts[criterion], criterion, allocation, shape):
                dense = thresholds(BINS, by_projection, sparsity)
                as_run = thresholds_as_run(
                    loaded, calibration, sparsity, criterion=criterion, dense_prefix=PREFIX, budget=BUDGET
                )
                for name, values in (("dense", dense), ("masked", as_run)):
                    train = evaluate(loaded, calibration, criterion, values, is_scored=False)
                    run = evaluate(loaded, held_out, criterion, values)
                    yield _row(criterion, allocation, name, target, run, np.abs(train.masked - sparsity).max())
                    for half, each in (("train", train), ("held out", run)):
                        means = " ".join(f"{100 * value:.1f}" for value in each.masked.mean(axis=1))
                        sys.stdout.write(f"  by block, {half}: {means}\n")


def allocate(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    counts: dict[tuple[int, str], ndarray],
    criterion: str,
    allocation: str,
    shape: tuple[int, int],
) -> Iterator[tuple[float, ndarray]]:
    """The sparsity of every projection at every target."""
    if allocation == "uniform":
        yield from ((target, np.full(shape, target)) for target in TARGETS)
        return
    chosen = choose(texts, tokens=GREEDY_TOKENS, dense_prefix=PREFIX, seed=0)
    paths = list(
        block_paths(
            loaded,
            chosen,
            counts,
            bins=BINS,
            criterion=criterion,
            stop=max(TARGETS),
            step=GREEDY_STEP,
            dense_prefix=PREFIX,
            budget=BUDGET,
            is_lazy=True,
        )
    )
    yield from ((target, np.stack([path.path.at(target)[0] for path in paths])) for target in TARGETS)


def dense_counts(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    criteria: Sequence[str] = CRITERIA,
    dense_prefix: int | float = PREFIX,
    budget: int = BUDGET,
) -> Counts:
    """Criterion -> (block, projection), in canonical order -> histogram of the dense model's scores."""
    one_group, total = np.zeros(len(texts), np.int64), Counts()
    for criterion in criteria:
        (counts,) = group_counts(
            loaded, texts, one_group, criterion=criterion, bins=BINS, dense_prefix=dense_prefix, budget=budget
        )
        keys = [(projection.block, projection.name) for projection in projections(loaded.model)]
        total[criterion] = {key: counts[key] for key in keys}
    return total


def evaluate(
    loaded: LoadedModel, texts: Sequence[TokenizedSample], criterion: str, values: ndarray, *, is_scored: bool = True
) -> Run:
    """Run the texts under masks; without scores their log-likelihoods are left out."""
    kept, tokens, scores = 0, 0, list[float]()
    with install(loaded, criterion, torch.from_numpy(values)[None]) as runtime, torch.inference_mode():
        for ids, counted in _batches(texts):
            with runtime.rows(torch.zeros(len(ids), dtype=torch.int64), counted) as counts:
                hidden = loaded.decoder(input_ids=ids, use_cache=False).last_hidden_state
            kept, tokens = kept + counts.kept.sum(dim=0).numpy(), tokens + int(counts.tokens.sum())
            if is_scored:
                loss = -functional.cross_entropy(
                    loaded.model.lm_head(hidden[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none"
                )
                scores += (loss * counted[:, 1:]).sum(dim=1).tolist()
    every = projections(loaded.model)
    masked = 1 - kept / (tokens * np.array([projection.in_features for projection in every]))
    sparsity = np.average(masked, weights=[projection.gated_weights for projection in every])
    return Run(masked.reshape(values.shape), float(sparsity), np.array(scores))


def differences(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Pairs at equal realised sparsity: nats per text, first minus second."""
    dense, *sparse = rows
    curves: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sparse:
        curves.setdefault((row["criterion"], row["allocation"], row["calibration"]), [dense]).append(row)
    for first, second in ((a, b) for a in curves for b in curves):
        if sum(one != other for one, other in zip(first, second, strict=True)) != 1 or first <= second:
            continue
        for target, one, other in zip(TARGETS, curves[first][1:], curves[second][1:], strict=True):
            at = min(one["sparsity"], other["sparsity"])
            difference = _at(curves[first], at) - _at(curves[second], at)
            interval = mean_interval(difference, replicates=2000, confidence=0.95, seed=0)
            yield (
                f"{' '.join(first)} - {' '.join(second)}, target {target:g}, at realised {at:.3f}: "
                f"{interval.value:+.2f} [{interval.low:.2f}, {interval.high:.2f}] nats a text"
            )


def read_texts(loaded: LoadedModel, data: Path, tokens: int) -> tuple[list[TokenizedSample], list[TokenizedSample]]:
    """Texts to calibrate on and others, `tokens` of each source in each."""
    encode = loaded.tokenizer.encode
    piqa = [json.loads(line) for line in (data / "piqa/official/valid.jsonl").open(encoding="utf-8")]
    labels = (data / "piqa/official/valid-labels.lst").read_text(encoding="utf-8").split()
    questions = [
        f"Question: {row['goal']}\nAnswer: {row['sol1' if label == '0' else 'sol2']}"
        for row, label in zip(piqa, labels, strict=True)
    ]
    hellaswag = json.loads((data / "hellaswag/hellaswag.json").read_text(encoding="utf-8"))["dev"]
    endings = [f"{row['question']} {row['choices'][row['answer']]}" for row in hellaswag]
    halves: list[list[TokenizedSample]] = []
    for half, file in enumerate(("valid.txt", "test.txt")):
        words = (data / "wikitext-2" / file).read_text(encoding="utf-8").split()
        windows = (" ".join(words[start : start + WINDOW]) for start in range(0, len(words), WINDOW))
        sources = {"wiki": windows, "piqa": questions[half::2], "hellaswag": endings[half::2]}
        halves.append([text for name, texts in sources.items() for text in _taken(name, texts, encode, tokens)])
    return halves[0], halves[1]


def _taken(name: str, texts: Any, encode: Any, tokens: int) -> Iterator[TokenizedSample]:
    total = 0
    for number, text in enumerate(texts):
        if total >= tokens:
            return
        ids = encode(text)
        total += len(ids)
        yield TokenizedSample(f"{name}/{number:05d}", ids, ())


def _batches(texts: Sequence[TokenizedSample]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for batch in batches([text.length for text in texts], [text.sample_id for text in texts], BUDGET):
        ids, totals = right_padded([texts[number].ids for number in batch])
        yield ids, eligible(totals, totals, ids.shape[1], PREFIX)


def _at(curve: Sequence[dict[str, Any]], sparsity: float) -> ndarray:
    """Every text's log-likelihood on the straight line between the two runs about a realised sparsity."""
    values = np.array([row["loglikelihood"] for row in curve])
    places = [row["sparsity"] for row in curve]
    return np.array([np.interp(sparsity, places, text) for text in values.T])


def _row(criterion: str, allocation: str, calibration: str, target: float, run: Run, worst: Any) -> dict[str, Any]:
    sys.stdout.write(
        f"{criterion} {allocation} {calibration} {target:g}: realised {run.sparsity:.4f}, "
        f"{run.loglikelihood.mean():.3f} nats a text, worst projection on train off by "
        f"{'-' if worst is None else f'{100 * worst:.2f} points'}\n"
    )
    sys.stdout.flush()
    return {
        "criterion": criterion,
        "allocation": allocation,
        "calibration": calibration,
        "target": target,
        "sparsity": run.sparsity,
        "masked": run.masked.tolist(),
        "loglikelihood": run.loglikelihood.tolist(),
    }


if __name__ == "__main__":
    main()
