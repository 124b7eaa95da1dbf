"""Complete greedy searches from the dense block against the tables that the released code wrote.

    python -m benchmarks.greedy_tables

Our search with the transcribed error measure of the released code, as in tests/parity/test_greedy_tables.py, which does
not search to the end because one block takes about 50 seconds of a CPU core. A tie that rounding decides the other way
shows in all rows until the other choice catches up.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.parity_model import RECORDINGS, load_parity_model
from tests.reference.released_greedy import MODES, NAMES, STEP, ReleasedError
from wina_amp.allocation.greedy.search import search, sparsity_grids
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections

SAME = 1e-9
"""Sums of up to 93 steps in float64, far below a step."""


def main() -> None:
    """Print one line per criterion and block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 1, 2, 3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_parity_model()
    for mode in MODES:
        for block in options.blocks:
            print(f"{MODES[mode]:<14} block {block}: {_compare(loaded, mode, block)}", flush=True)


def _compare(loaded: LoadedModel, mode: str, block: int) -> str:
    recorded = RECORDINGS.table(mode, block)
    costs = [p.gated_weights for p in projections(loaded.model) if p.block == block]
    steps = sparsity_grids(costs, STEP)
    with ReleasedError(RECORDINGS, loaded, mode, block, steps) as objective:
        path = search(steps, costs, recorded["Effective Sparsity"].iloc[-1], objective)
    difference = np.abs(path.sparsity[1:] - recorded[list(NAMES)].to_numpy())
    errors = path.error[1:] / recorded["Activation Error"].to_numpy()
    equal = int((difference.max(axis=1) < SAME).sum())
    return (
        f"{equal} of {len(recorded)} rows equal, sparsities at most {difference.max():.3f} and on average "
        f"{difference.mean():.5f} apart, errors at most {100 * np.abs(errors - 1).max():.2f}%"
    )


if __name__ == "__main__":
    main()
