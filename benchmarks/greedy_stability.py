"""How many tokens a greedy path needs: paths of two disjoint calibration draws, as the number of measured tokens grows.

    python -m benchmarks.greedy_stability ../models/gemma-3-270m ../shared/real/data --tokens 256
    python -m benchmarks.greedy_stability ../models/gemma-3-270m ../shared/real/data --tokens 1024 --blocks 1 9 16

Texts are windows of WikiText-2 and items of HellaSwag (context and right ending), cut to `--length` tokens. Thresholds
of all paths are those of one set of pooled score histograms, so that paths differ by what they were measured on only.
For every number of measured tokens, two draws each of WikiText, of HellaSwag, and of both together (`pooled`):

    draws apart     mean absolute difference of the sparsities of two draws' paths, over projections
    from pooled     the same between the first draw's path and the first pooled one of as many tokens
    error           block error on held-out text of the path's own kind over that of the uniform allocation, mean over
                    blocks: the two draws', and the pooled one's
    KL              nats a position on held-out text of that kind, with these blocks masked: uniform, both draws,
                    pooled, and between pooled and the first draw at strengths 1/4, 1/2, 3/4

Real models are not part of this repository; the figures in docs/log.md say of which weights they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.calibration.texts import block_inputs, choose, seeded_order
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.lazy import Lazy
from wina_amp.allocation.greedy.search import Path as GreedyPath
from wina_amp.allocation.greedy.search import search, sparsity_grids
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.capture.passes import group_counts
from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.projections import Projection, projections
from wina_amp.scoring.criteria import projection_weights
from wina_amp.tokens.samples import TokenizedSample

TARGETS = (0.5, 0.65)
CRITERION, BINS, PREFIX, BATCH = "wina", Bins(4), 1, 1024
COUNTED, HELD_OUT = 24, 12
"""Texts of each kind whose scores make the histograms; on which errors and losses are measured."""
READ = 8
"""Positions of a held-out text whose predictions are compared."""

Counts = Mapping[tuple[int, str], ndarray]


@dataclass(frozen=True)
class Texts:
    """Texts of one kind in seeded order: held-out ones, and two draws."""

    held_out: list[TokenizedSample]
    draws: tuple[list[TokenizedSample], list[TokenizedSample]]


def windows(loaded: LoadedModel, data: Path, length: int) -> list[TokenizedSample]:
    """Disjoint windows of WikiText-2 (validation and test)."""
    ids: list[int] = []
    for name in ("valid.txt", "test.txt"):
        ids += loaded.tokenizer((data / "wikitext-2" / name).read_text(encoding="utf-8"))["input_ids"]
    starts = range(0, len(ids) - length, length)
    cut = length - READ
    return [TokenizedSample(f"wiki/{at}", ids[at : at + cut], ids[at + cut : at + length]) for at in starts]


def endings(loaded: LoadedModel, data: Path, length: int) -> list[TokenizedSample]:
    """HellaSwag's contexts with their right endings."""
    rows = json.loads((data / "hellaswag" / "hellaswag.json").read_text(encoding="utf-8"))["dev"]
    samples: list[TokenizedSample] = []
    for row in rows:
        text = f"{row['question']} {row['choices'][row['answer']]}"
        ids = loaded.tokenizer(text)["input_ids"][:length]
        samples.append(TokenizedSample(f"hellaswag/{row['id']}", ids[:-READ], ids[-READ:]))
    return samples


def split(samples: Sequence[TokenizedSample]) -> Texts:
    """Held-out texts, then every other one to each draw."""
    ordered = seeded_order(samples, 0)
    rest = ordered[HELD_OUT:]
    return Texts(ordered[:HELD_OUT], (rest[::2], rest[1::2]))


class Searches:
    """Paths and block errors of a model whose thresholds are those of one set of histograms."""

    def __init__(self, loaded: LoadedModel, counts: Counts, blocks: Sequence[int], step: float) -> None:
        self._loaded, self.blocks = loaded, blocks
        every = projections(loaded.model)
        self._own = {block: [p for p in every if p.block == block] for block in blocks}
        self._grids = {b: sparsity_grids([p.gated_weights for p in own], step) for b, own in self._own.items()}
        self._counts = counts

    def paths(self, texts: Sequence[TokenizedSample]) -> list[GreedyPath]:
        """The lazy search's path of every block."""
        inputs = block_inputs(self._loaded, texts, dense_prefix=PREFIX, budget=BATCH)
        found: list[GreedyPath] = []
        for block in self.blocks:
            own, grids = self._own[block], self._grids[block]
            tried = {p.name: self._cutoffs(p, grid) for p, grid in zip(own, grids, strict=True)}
            costs = [p.gated_weights for p in own]
            with BlockError(self._loaded, own, inputs[block], tried) as objective:
                found.append(search(grids, costs, max(TARGETS), objective, Lazy))
        return found

    def errors(
        self, texts: Sequence[TokenizedSample], allocations: Mapping[str, Float[ndarray, "blocks projections"]]
    ) -> dict[str, Float[ndarray, " blocks"]]:
        """The error of every block of every allocation on these texts."""
        inputs = block_inputs(self._loaded, texts, dense_prefix=PREFIX, budget=BATCH)
        rows: list[list[float]] = []
        for position, block in enumerate(self.blocks):
            own = self._own[block]
            values = np.stack([np.zeros(len(own)), *(allocation[position] for allocation in allocations.values())])
            tried = {p.name: self._cutoffs(p, values[:, n]) for n, p in enumerate(own)}
            with BlockError(self._loaded, own, inputs[block], tried) as objective:
                rows.append(objective.errors([(number,) * len(own) for number in range(1, len(values))]))
        return dict(zip(allocations, np.array(rows).T, strict=True))

    def _cutoffs(self, projection: Projection, sparsities: Float[ndarray, " steps"]) -> Float[Tensor, "steps in"]:
        limits = torch.from_numpy(thresholds(BINS, self._counts[projection.block, projection.name], sparsities))
        return cutoffs(projection_weights(CRITERION, projection), limits)


def at(paths: Sequence[GreedyPath], target: float) -> Float[ndarray, "blocks projections"]:
    """The allocation of all blocks."""
    return np.stack([path.at(target)[0] for path in paths])


def apart(one: Float[ndarray, "blocks projections"], other: Float[ndarray, "blocks projections"]) -> float:
    """Mean absolute difference."""
    return float(np.abs(one - other).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--blocks", type=int, nargs="+", help="these blocks only; the others stay dense")
    parser.add_argument("--kinds", nargs="+", default=["wikitext", "hellaswag"], choices=["wikitext", "hellaswag"])
    parser.add_argument("--step", type=float, default=0.2)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    loaded = load(options.model, revision=None, dtype="float32", device="cpu")
    with torch.inference_mode():
        measure(loaded, options)


def measure(loaded: LoadedModel, options: argparse.Namespace) -> None:
    """All rows, each printed as soon as it is known."""
    kinds = {
        "wikitext": split(windows(loaded, options.data, options.length)),
        "hellaswag": split(endings(loaded, options.data, options.length)),
    }
    counted = [text for texts in kinds.values() for text in texts.draws[0][:COUNTED]]
    (counts,) = group_counts(
        loaded,
        counted,
        np.zeros(len(counted), np.int64),
        criterion=CRITERION,
        bins=BINS,
        dense_prefix=PREFIX,
        budget=BATCH,
    )
    blocks = options.blocks or list(range(len(loaded.layers)))
    searches = Searches(loaded, counts, blocks, options.step)
    losses = {kind: divergence(loaded, counts, kinds[kind].held_out) for kind in options.kinds}
    for tokens in options.tokens:
        found: dict[tuple[str, int], list[GreedyPath]] = {}
        for kind in ("pooled", *options.kinds):
            for draw in (0, 1):
                began = time.perf_counter()
                measured = [*kinds] if kind == "pooled" else [kind]
                found[kind, draw] = searches.paths(
                    [
                        text
                        for part in measured
                        for text in choose(
                            kinds[part].draws[draw], tokens=tokens // len(measured), dense_prefix=PREFIX, seed=0
                        )
                    ]
                )
                say(f"{tokens} {kind} draw {draw}: {time.perf_counter() - began:.0f} s")
        for target in TARGETS:
            compare(searches, {kind: kinds[kind] for kind in options.kinds}, found, losses, target, tokens)


def compare(
    searches: Searches,
    kinds: Mapping[str, Texts],
    found: Mapping[tuple[str, int], list[GreedyPath]],
    losses: Mapping[str, Divergence],
    target: float,
    tokens: int,
) -> None:
    """The rows of one target."""
    allocation = {key: at(paths, target) for key, paths in found.items()}
    first, second = allocation["pooled", 0], allocation["pooled", 1]
    say(f"{tokens} {target} pooled: draws apart {apart(first, second):.3f}")
    for kind, texts in kinds.items():
        own, other = allocation[kind, 0], allocation[kind, 1]
        tried = {"uniform": np.full_like(own, target), "own": own, "other": other, "pooled": first, "pooled_b": second}
        errors = searches.errors(texts.held_out, tried)
        ratios = {name: float((error / errors["uniform"]).mean()) for name, error in errors.items()}
        say(
            f"{tokens} {target} {kind}: draws apart {apart(own, other):.3f} from pooled {apart(own, first):.3f} "
            + " ".join(f"{name} {ratio:.4f}" for name, ratio in ratios.items())
        )
        between = {f"strength {s}": (1 - s) * first + s * own for s in (0.25, 0.5, 0.75)}
        values = {name: nats(losses[kind], value, searches.blocks) for name, value in (tried | between).items()}
        say(f"{tokens} {target} {kind}: KL " + " ".join(f"{name} {value:.4f}" for name, value in values.items()))


def nats(divergence: Divergence, allocation: Float[ndarray, "blocks projections"], blocks: Sequence[int]) -> float:
    """The loss where these blocks are masked, in nats per position."""
    sparsity = np.zeros((len(divergence.fractions) // allocation.shape[1], allocation.shape[1]))
    sparsity[blocks] = allocation
    return float(divergence.losses(sparsity.ravel()).mean()) / READ


def divergence(loaded: LoadedModel, counts: Counts, texts: Sequence[TokenizedSample]) -> Divergence:
    """The loss of complete allocations on these texts."""
    return Divergence(LossInputs(loaded, texts, counts, BINS, CRITERION, PREFIX, BATCH))


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
