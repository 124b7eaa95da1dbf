"""The parity model of the recordings, run by this library: score histograms, perplexity, realised sparsity.

Perplexity is that of the released code (utils/eval_ppl.py): exp of the mean, over windows of 2,560 tokens that start
512 apart, of the mean loss of each window's last 512 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from benchmarks.calibration import BINS, dense_counts
from tests.reference.released_greedy import FullRecordings
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.projections import projections
from wina_amp.tokens.samples import TokenizedSample

PARITY = Path(__file__).resolve().parents[2] / "shared" / "parity"
"""The full recordings of the released code (`tests/parity/record.py`), beside a checkout of the developers."""
RECORDINGS = FullRecordings(PARITY)

CRITERIA = ("teal", "wina", "wina_released")
DENSE_PREFIX = 0.01
"""The released code leaves the first S - int(0.99 S) of S tokens dense: for the lengths used here the same tokens."""
WINDOW, SCORED = 2560, 512

Counts = dict[tuple[int, str], Int[ndarray, " count"]]


@dataclass(frozen=True)
class Run:
    """Perplexity, and the fraction of features that was zeroed, weighted by the weights they gate: among the eligible
    tokens, and among all tokens."""

    perplexity: float
    sparsity: float
    sparsity_of_all: float


def load_parity_model(dtype: str = "float32") -> LoadedModel:
    """The model in `../shared/parity`, on the CPU.

    Raises:
        SystemExit: the recordings are not there.
    """
    if not PARITY.is_dir():
        raise SystemExit(f"The recordings of the released code must be at {PARITY}; they belong to the developers.")
    return load(PARITY / "model", revision=None, dtype=dtype, device="cpu")


def stored_sequences(name: str) -> list[list[int]]:
    """Token ids in data/sequences.json, in the stored order."""
    return json.loads((PARITY / "data" / "sequences.json").read_text(encoding="utf-8"))[name]


def score_counts(loaded: LoadedModel, *, is_prefix_counted: bool) -> dict[str, Counts]:
    """Criterion -> (block, projection) -> score histogram of the 20 calibration sequences.

    Args:
        is_prefix_counted: whether the dense prefix is counted, as the released code does.
    """
    texts = [TokenizedSample(str(number), ids, []) for number, ids in enumerate(stored_sequences("calib"))]
    return dense_counts(loaded, texts, CRITERIA, 0 if is_prefix_counted else DENSE_PREFIX, budget=1)  # a batch each


def thresholds_of(
    counts: Counts, sparsity: Float[ndarray, "blocks projections"]
) -> Float[Tensor, "1 blocks projections"]:
    """Our thresholds at an allocation, for `run`."""
    flat = np.stack([counts[key] for key in counts]).reshape(*sparsity.shape, BINS.count)
    return torch.from_numpy(thresholds(BINS, flat, sparsity))[None]


def window_eligibility(dense_prefix: int | float = DENSE_PREFIX) -> Bool[Tensor, "1 window"]:
    """Whether each token of a window is masked."""
    length = torch.tensor([WINDOW])
    return eligible(length, length, WINDOW, dense_prefix)


def windows() -> Sequence[Int[Tensor, "1 window"]]:
    """The windows of the test stream whose last tokens are scored."""
    stream = torch.from_numpy(np.load(PARITY / "data" / "test_stream.npy"))
    starts = range(0, len(stream) // SCORED * SCORED - WINDOW + 1, SCORED)
    return [stream[start : start + WINDOW][None] for start in starts]


def run(
    loaded: LoadedModel,
    criterion: str,
    values: Float[Tensor, "1 blocks projections"],
    masked: Bool[Tensor, "1 window"] | None = None,
    kind: str = "threshold",
) -> Run:
    """Run the test stream with these masks.

    Args:
        values: of one group, as `wina_amp.masks.install.install` takes them: thresholds, or for `topk` sparsities.
        kind: which masks.
        masked: which tokens of a window are eligible; `window_eligibility()` if None.
    """
    masked = window_eligibility() if masked is None else masked
    losses: list[float] = []
    kept = 0
    with install(loaded, criterion, values, kind) as runtime:
        for ids in windows():
            with runtime.rows(torch.zeros(1, dtype=torch.int64), masked) as counts, torch.inference_mode():
                logits = loaded.model(input_ids=ids, logits_to_keep=SCORED + 1).logits[0, :-1].float()
            losses.append(float(torch.nn.functional.cross_entropy(logits, ids[0, -SCORED:])))
            kept = kept + counts.kept[0].numpy()
    every = projections(loaded.model)
    outputs = np.array([p.out_features for p in every])
    offered = len(losses) * float(sum(p.gated_weights for p in every))
    lost = offered * int(masked.sum()) - float(np.dot(cast(ndarray, kept), outputs))
    return Run(float(np.exp(np.mean(losses))), lost / (offered * int(masked.sum())), lost / (offered * WINDOW))
