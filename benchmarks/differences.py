"""Effect of each deliberate difference to the released code, on the model of the recordings (docs/method.md).

    python -m benchmarks.differences

Needs the recordings in `../shared/parity`, and says so if they are not there. Every row has one column per target.
Perplexities are those of the recorded test stream (dense: 88.00), with threshold masks; figures of the released code
are the recorded ones. Two runs on one machine print the same. Most of the time goes into two greedy searches with the
published step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray

from benchmarks.parity_model import (
    BINS,
    DENSE_PREFIX,
    PARITY,
    RECORDINGS,
    SCORED,
    WINDOW,
    Counts,
    Run,
    load_parity_model,
    run,
    score_counts,
    thresholds_of,
    window_eligibility,
)
from tests.reference.released_greedy import (
    MODES,
    NAMES,
    SAMPLES,
    STEP,
    ReleasedError,
    dense_prefix,
    icdf,
)
from wina_amp.allocation.calibration.texts import block_inputs
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.allocation.greedy.search import Path
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights
from wina_amp.tokens.samples import TokenizedSample

TARGETS = (0.25, 0.4, 0.5, 0.65)
BLOCKS = 4
MODE = "wina"
DRAWS = 4
JITTER = 1e-3
"""Of the order of the difference between their exact thresholds and our binned ones (at most 2e-3)."""
Allocations = dict[float, Float[ndarray, "blocks projections"]]
Limits = dict[float, torch.Tensor]
"""Target -> thresholds `[1, blocks, projections]`."""


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    loaded = load_parity_model()
    every_token = score_counts(loaded, is_prefix_counted=True)
    counted = score_counts(loaded, is_prefix_counted=False)
    uniform = {target: np.full((BLOCKS, len(NAMES)), target) for target in TARGETS}
    for mode in MODES:
        for allocation in ("uniform", "greedy"):
            _recorded(mode, allocation)

    print("\nUniform:")
    limits = _limits(every_token["wina_released"], uniform)
    exact = _exact_limits()
    _row("wina_released, their exact thresholds", loaded, "wina_released", exact)
    _noise(loaded, exact)
    released = _row("wina_released, our thresholds", loaded, "wina_released", limits)
    _row("the same, first token dense", loaded, "wina_released", limits, window_eligibility(1))
    _row("the same, a window in calls of 512", loaded, "wina_released", limits, _calls(SCORED))
    _row("the same, eligible tokens counted", loaded, "wina_released", _limits(counted["wina_released"], uniform))
    _row("teal, eligible tokens counted", loaded, "teal", _limits(counted["teal"], uniform))
    _row("wina, eligible tokens counted", loaded, "wina", _limits(counted["wina"], uniform))
    _print("realised sparsity, eligible tokens", [result.sparsity for result in released], "{:.4f}")
    _print("realised sparsity, all tokens", [result.sparsity_of_all for result in released], "{:.4f}")

    print("\nIn bfloat16, wina_released, uniform:")
    half = load_parity_model("bfloat16")
    _row("thresholds in float32", half, "wina_released", limits)
    rounded = {target: values.bfloat16().float() for target, values in limits.items()}
    _row("thresholds rounded to bfloat16", half, "wina_released", rounded)

    print("\nGreedy, step 0.025, 2 samples:")
    tables = [RECORDINGS.table(MODE, block) for block in range(BLOCKS)]
    theirs = {target: np.stack([_nearest(one, target) for one in tables]) for target in TARGETS}
    between = {target: np.stack([_between(one, target) for one in tables]) for target in TARGETS}
    released_counts = every_token["wina_released"]
    _row("wina_released, their tables", loaded, "wina_released", _limits(released_counts, theirs))
    ours = _greedy(loaded, "wina_released", released_counts)
    _row("wina_released, our error measure", loaded, "wina_released", _limits(released_counts, ours))
    whole = _greedy(loaded, "wina", counted["wina"])
    _row("wina, our whole pipeline", loaded, "wina", _limits(counted["wina"], whole))

    print("\nOur allocation (wina_released) against theirs:")
    difference = {target: np.abs(ours[target] - between[target]).mean(axis=0) for target in TARGETS}
    for number, name in enumerate(NAMES):
        _print(f"mean |difference| of {name}", [difference[target][number] for target in TARGETS], "{:.3f}")
    _print("mean |nearest row - interpolated|", [np.abs(theirs[t] - between[t]).mean() for t in TARGETS], "{:.4f}")
    by_ours, by_theirs = _block_errors(loaded, released_counts, ours, between, uniform)
    for name, errors in (("our measure", by_ours), ("their measure", by_theirs)):
        _print(f"block error, {name}: ours / theirs", errors[:, 0] / errors[:, 1], "{:.4f}")
        _print(f"block error, {name}: theirs / uniform", errors[:, 1] / errors[:, 2], "{:.4f}")


def _recorded(mode: str, allocation: str) -> None:
    rows = pd.read_csv(PARITY / "ppl_summary.csv")
    wanted = {"repo": "microsoft/wina", "dtype": "float32", "config": mode, "mask_by": "threshold", "alloc": allocation}
    recorded = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)].set_index("sparsity")
    _print(f"released code, {MODES[mode]}, {allocation}", [recorded.loc[target, "ppl"] for target in TARGETS], "{:.2f}")
    if allocation == "uniform":
        reported = [recorded.loc[target, "peer_actual_sparsity"] for target in TARGETS]
        _print("  sparsity it reports", reported, "{:.4f}")


def _row(
    title: str, loaded: LoadedModel, criterion: str, limits: Limits, masked: torch.Tensor | None = None
) -> list[Run]:
    results = [run(loaded, criterion, limits[target], masked) for target in TARGETS]
    _print(title, [result.perplexity for result in results], "{:.2f}")
    return results


def _limits(counts: Counts, allocations: Allocations) -> Limits:
    return {target: thresholds_of(counts, allocation) for target, allocation in allocations.items()}


def _exact_limits() -> Limits:
    """The released code's thresholds of the uniform allocation, from its recorded exact histograms."""
    return {
        target: torch.tensor(
            [[[icdf(RECORDINGS, MODE, block, name, target) for name in NAMES] for block in range(BLOCKS)]]
        )
        for target in TARGETS
    }


def _noise(loaded: LoadedModel, limits: Limits) -> None:
    """How far perplexity moves by chance: every threshold times a number of standard deviation `JITTER` around 1."""
    generator = torch.Generator().manual_seed(0)
    perplexities = np.zeros((DRAWS, len(TARGETS)))
    for draw in range(DRAWS):
        for number, target in enumerate(TARGETS):
            factors = 1 + JITTER * torch.randn(limits[target].shape, generator=generator)
            perplexities[draw, number] = run(loaded, "wina_released", limits[target] * factors).perplexity
    _print(f"  {DRAWS} times with thresholds off by {JITTER:.1%}: from", perplexities.min(axis=0), "{:.2f}")
    _print("  to", perplexities.max(axis=0), "{:.2f}")


def _calls(length: int) -> torch.Tensor:
    """What the released code masks if a window goes through the model `length` tokens at a time, with a cache."""
    return (torch.arange(WINDOW) % length >= dense_prefix(length))[None]


def _nearest(recorded: pd.DataFrame, target: float) -> Float[ndarray, " projections"]:
    """Their look-up: the row whose effective sparsity is nearest."""
    row = (recorded["Effective Sparsity"] - target).abs().argmin()
    return recorded[list(NAMES)].to_numpy()[row]


def _between(recorded: pd.DataFrame, target: float) -> Float[ndarray, " projections"]:
    """Our look-up in their table."""
    sparsity = np.concatenate([np.zeros((1, len(NAMES))), recorded[list(NAMES)].to_numpy()])
    mean = np.concatenate([[0.0], recorded["Effective Sparsity"].to_numpy()])
    return Path(sparsity, mean, np.zeros(len(mean))).at(target)[0]


def _texts() -> list[TokenizedSample]:
    return [TokenizedSample(str(number), ids, []) for number, ids in enumerate(RECORDINGS.sequences()[:SAMPLES])]


def _greedy(loaded: LoadedModel, criterion: str, counts: Counts) -> Allocations:
    paths = block_paths(
        loaded,
        _texts(),
        counts,
        bins=BINS,
        criterion=criterion,
        stop=max(TARGETS),
        step=STEP,
        dense_prefix=DENSE_PREFIX,
        budget=WINDOW,
    )
    blocks = [block.path for block in paths]
    return {target: np.stack([path.at(target)[0] for path in blocks]) for target in TARGETS}


def _block_errors(
    loaded: LoadedModel, counts: Counts, *allocations: Allocations
) -> tuple[Float[ndarray, "targets allocations"], Float[ndarray, "targets allocations"]]:
    """Mean over blocks of the block error of every allocation, by our measure and by theirs."""
    inputs = block_inputs(loaded, _texts(), dense_prefix=DENSE_PREFIX, budget=WINDOW)
    by_ours, by_theirs = np.zeros((2, len(TARGETS), len(allocations)))
    for block in range(len(loaded.layers)):
        own = [p for p in projections(loaded.model) if p.block == block]
        # One step for every target and allocation; step 0 is dense.
        tried = [np.zeros(len(NAMES)), *(allocation[target][block] for target in TARGETS for allocation in allocations)]
        limits = {
            p.name: torch.from_numpy(thresholds(BINS, counts[block, p.name], np.array(tried)[:, number]))
            for number, p in enumerate(own)
        }
        weights = {p.name: feature_weights("wina_released", p.module.weight, p.name) for p in own}
        with BlockError(
            loaded, own, inputs[block], {name: cutoffs(weights[name], limits[name]) for name in limits}
        ) as objective:
            errors = objective.errors([(step,) * len(own) for step in range(1, len(tried))])
        by_ours += np.reshape(errors, by_ours.shape) / BLOCKS
        with ReleasedError(RECORDINGS, loaded, MODE, block) as objective:
            by_theirs += np.reshape([objective.error(list(one)) for one in tried[1:]], by_ours.shape) / BLOCKS
    return by_ours, by_theirs


def _print(title: str, values: Sequence[float] | ndarray, form: str) -> None:
    print(f"{title:<45}" + "".join(f"{form.format(value):>10}" for value in values), flush=True)


if __name__ == "__main__":
    main()
