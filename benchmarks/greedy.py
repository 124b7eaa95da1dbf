"""Block-wise greedy allocation against the procedure of the released code, in one run, on one thread.

    python -m benchmarks.greedy

The model and the settings are those of the recordings (../shared/parity): a step of 0.025, two sequences, thresholds
looked up in the recorded histograms, targets to 0.65. The published procedure is a transcription
(tests/reference/released_greedy.py): every candidate is a forward pass of the whole decoder layer for every sequence,
with seven look-ups of thresholds. All minimise the same error, the relative Frobenius norm of TEAL's Algorithm 1.

A published round costs the same wherever it stands in a search, so `--rounds` of them are timed, spread over the path
and between the complete searches of ours, and multiplied by the number of rounds; `--complete` runs them all. The
"baseline error" that the released code adds to every round is left out. Our seconds hold everything that a search needs
but the layer's inputs, which are given to both. CPU time; medians, lowest and highest in brackets.

Errors are those at the four targets, of the allocations themselves (computed by the transcription), divided by those of
the published procedure's allocations with `--complete`, of the exact search's otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from benchmarks.parity_model import DENSE_PREFIX, RECORDINGS, WINDOW, load_parity_model
from tests.reference.released_greedy import MODES, NAMES, SAMPLES, STEP, PublishedError, icdf
from wina_amp.allocation.calibration.texts import BlockInput, block_inputs
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.lazy import Lazy
from wina_amp.allocation.greedy.search import Exact, Path, search, sparsity_grids
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights
from wina_amp.tokens.samples import TokenizedSample

TARGETS = (0.25, 0.4, 0.5, 0.65)
SEARCHES: dict[str, tuple[Callable[..., Exact | Lazy], float]] = {
    "exact": (Exact, 1),
    "lazy": (Lazy, 1),
    "exact, step 0.05": (Exact, 2),
    "lazy, step 0.05": (Lazy, 2),
    "exact, step 0.1": (Exact, 4),
}
"""Name -> how a round chooses, and its step in published ones."""


@dataclass(frozen=True)
class Case:
    """One block and the inputs of its search."""

    loaded: LoadedModel
    mode: str
    block: int
    inputs: Sequence[BlockInput]

    def search(self, chooser: Callable[..., Exact | Lazy], step: float) -> Path:
        """Our search, thresholds included."""
        own = [p for p in projections(self.loaded.model) if p.block == self.block]
        costs = [p.gated_weights for p in own]
        steps = sparsity_grids(costs, step)
        tried: dict[str, Tensor] = {}
        for p, grid in zip(own, steps, strict=True):
            limits = torch.tensor([icdf(RECORDINGS, self.mode, self.block, p.name, float(s)) for s in grid])
            tried[p.name] = cutoffs(feature_weights(MODES[self.mode], p.module.weight, p.name), limits)
        with BlockError(self.loaded, own, self.inputs, tried) as objective:
            return search(steps, costs, max(TARGETS), objective, chooser)

    def steps(self) -> tuple[list[int], list[Float[ndarray, " levels"]]]:
        """Costs and published grids of the projections."""
        costs = [p.gated_weights for p in projections(self.loaded.model) if p.block == self.block]
        return costs, sparsity_grids(costs, STEP)


def main() -> None:
    """Print the time of every search, and the errors of its allocations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=MODES, default="wina")
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--repeats", type=int, default=3, help="complete searches of ours, of each kind and block")
    parser.add_argument("--rounds", type=int, default=4, help="published rounds that are timed, between two repeats")
    parser.add_argument("--complete", action="store_true", help="run the published procedure to its end as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_parity_model()
    texts = [TokenizedSample(str(number), ids, []) for number, ids in enumerate(RECORDINGS.sequences()[:SAMPLES])]
    inputs = block_inputs(loaded, texts, dense_prefix=DENSE_PREFIX, budget=WINDOW)
    published: list[list[float]] = []
    seconds: dict[str, list[list[float]]] = {name: [] for name in SEARCHES}
    ratios: dict[str, list[Float[ndarray, " targets"]]] = {name: [] for name in SEARCHES}
    Case(loaded, options.mode, 0, inputs[0]).search(Exact, 0.5)  # compiles
    for block in options.blocks:
        case = Case(loaded, options.mode, block, inputs[block])
        rounds, taken, errors = _block(case, options)
        published.append(rounds)
        for name in SEARCHES:
            seconds[name].append(taken[name])
            ratios[name].append(errors[name])
    print(f"\nAll {len(options.blocks)} blocks: published {_spread(_sums(published))} s")
    for name in SEARCHES:
        ours = _sums(seconds[name])
        times = [theirs / own for theirs, own in zip(_sums(published), ours, strict=True)]
        print(f"{name:<20}{_spread(ours)} s, {_spread(times, '.1f')} times as fast, errors {_errors(ratios[name])}")


def _block(
    case: Case, options: argparse.Namespace
) -> tuple[list[float], dict[str, list[float]], dict[str, Float[ndarray, " targets"]]]:
    """Seconds of the published procedure and of every search, one for each repeat, and relative errors."""
    costs, steps = case.steps()
    paths: dict[str, Path] = {}
    published: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in SEARCHES}
    with PublishedError(RECORDINGS, case.loaded, case.mode, case.block, steps) as objective:
        for repeat in range(options.repeats):
            for name, (chooser, factor) in SEARCHES.items():
                start = time.process_time()
                paths[name] = case.search(chooser, factor * STEP)
                taken[name].append(time.process_time() - start)
            states = paths["exact"].sparsity[:-1]
            numbers = [(repeat + n * options.repeats) * len(states) // _all(options) for n in range(options.rounds)]
            each = [_round(objective, states[number], steps) for number in numbers]
            published.append(float(np.mean(each)) * len(states))
        base = paths["exact"]
        if options.complete:
            start = time.process_time()
            base = search(steps, costs, max(TARGETS), objective)
            same = np.abs(base.sparsity - paths["exact"].sparsity).max(axis=1) == 0
            print(f"block {case.block}: complete published search {time.process_time() - start:.1f} s, ", end="")
            print(f"{int(same.sum())} of {len(same)} rows equal to those of the exact search")
        reference = _at_targets(objective, base)
        errors = {name: _at_targets(objective, path) / reference for name, path in paths.items()}
    print(f"block {case.block}: {len(paths['exact'].mean) - 1} rounds, published {_spread(published)} s", end="")
    for name in SEARCHES:
        print(f"; {name} {_spread(taken[name])}", end="")
    print(flush=True)
    return published, taken, errors


def _all(options: argparse.Namespace) -> int:
    return options.repeats * options.rounds


def _round(
    objective: PublishedError, state: Float[ndarray, " projections"], steps: list[Float[ndarray, " levels"]]
) -> float:
    """Seconds of one published round from a state of the exact search."""
    numbers = tuple(int(np.argmin(np.abs(sparsities - s))) for sparsities, s in zip(steps, state, strict=True))
    choices = [
        (*numbers[:p], numbers[p] + 1, *numbers[p + 1 :]) for p in range(len(NAMES)) if numbers[p] + 1 < len(steps[p])
    ]
    start = time.process_time()
    objective.errors(choices)
    return time.process_time() - start


def _at_targets(objective: PublishedError, path: Path) -> Float[ndarray, " targets"]:
    return np.array([objective.error(path.at(target)[0].tolist()) for target in TARGETS])


def _sums(blocks: list[list[float]]) -> list[float]:
    return np.sum(blocks, axis=0).tolist()


def _spread(values: Sequence[float], form: str = ".2f") -> str:
    return f"{np.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def _errors(ratios: list[Float[ndarray, " targets"]]) -> str:
    mean = " ".join(f"{ratio:.4f}" for ratio in np.mean(ratios, axis=0))
    return f"{mean} (single blocks {np.min(ratios):.4f} to {np.max(ratios):.4f})"


if __name__ == "__main__":
    main()
