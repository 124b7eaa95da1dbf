"""Where WINA is better or worse than TEAL: one kind of projection masked at a time, on a real model and real text.

    python -m benchmarks.criteria_by_projection --model ../gemma-3-270m --data ../shared/real/data --sparsity 0.65

Texts as in `benchmarks.calibration`, half calibrated on, half scored. Every projection of a kind is masked at the same
sparsity, at thresholds of the dense model's scores; the others run dense. WINA's score has the smaller error of the
projection's own output by construction, so what differs is what the rest of the model makes of that error. Nats a text,
WINA minus TEAL, 95% bootstrap over texts: above 0 WINA is better.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.calibration import BINS, dense_counts, evaluate, read_texts
from pipeline.statistics.bootstrap import mean_interval
from wina_amp.histograms.thresholds import thresholds
from wina_amp.models.load import load
from wina_amp.models.projections import projections
from wina_amp.names import TEAL, WINA


def main() -> None:
    """Print a line for every kind of projection, for all but `o` and `down`, and for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sparsity", type=float, default=0.65)
    parser.add_argument("--tokens", type=int, default=1024, help="of each source, calibrated on and scored")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    loaded = load(options.model, revision=None, dtype=options.dtype, device="cpu")
    calibration, held_out = read_texts(loaded, options.data, options.tokens)
    counts = dense_counts(loaded, calibration)
    names = [projection.name for projection in projections(loaded.model)]
    kinds = list(dict.fromkeys(names))
    shape = (len(loaded.layers), len(kinds))
    sparsity = np.full(shape, options.sparsity)
    values = {
        criterion: thresholds(BINS, np.stack(list(counts[criterion].values())).reshape(*shape, BINS.count), sparsity)
        for criterion in (TEAL, WINA)
    }
    dense = evaluate(loaded, held_out, TEAL, np.zeros(shape, dtype=np.float32)).loglikelihood
    for masked in ([kind] for kind in kinds), ([kind for kind in kinds if kind not in ("o", "down")], kinds):
        for own in masked:
            is_masked = np.isin(kinds, own)
            runs = {
                criterion: evaluate(loaded, held_out, criterion, np.where(is_masked, limits, 0).astype(np.float32))
                for criterion, limits in values.items()
            }
            gain = mean_interval(
                runs[WINA].loglikelihood - runs[TEAL].loglikelihood, replicates=2000, confidence=0.95, seed=0
            )
            lost = {criterion: float((dense - run.loglikelihood).mean()) for criterion, run in runs.items()}
            sys.stdout.write(
                f"{' '.join(own)}: lost {lost[TEAL]:.2f} (teal), {lost[WINA]:.2f} (wina); "
                f"wina - teal {gain.value:+.2f} [{gain.low:.2f}, {gain.high:.2f}]\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
