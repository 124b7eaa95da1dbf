"""Against outputs recorded from the authors' own code (microsoft/wina, commit 8153dbf, float32, on the CPU).

The recordings stand in `../shared/parity` beside a checkout of the developers; they are not part of this repository,
and without them these tests are skipped. Their README gives the formulas with file and line. Compared are the settings
that both sides have: criterion `teal` and `wina_released`, threshold masks, uniform and greedy allocations, the first
1% of a sequence dense. Deliberate differences are listed in docs/method.md.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.eligibility import eligible
from pipeline.histogram import Bins
from pipeline.models.load import LoadedModel, load
from pipeline.models.projections import projections
from pipeline.observe import Observer
from pipeline.scoring import feature_weights
from pipeline.sparse.install import install
from pipeline.thresholds import thresholds

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recordings of the released code at {PARITY}")

CRITERIA = {"teal": "teal", "wina": "wina_released"}
TAGS = [
    f"threshold|{allocation}|{sparsity}" for allocation in ("uniform", "greedy") for sparsity in (0.25, 0.4, 0.5, 0.65)
]
BINS = Bins(4)
DENSE_PREFIX = 0.01
"""The released code leaves the first S - int(0.99 S) of S tokens dense: for the lengths used here the same tokens."""
WINDOW, SCORED = 2560, 512
"""Their perplexity: windows of 2560 tokens, 512 apart, of which the last 512 are scored."""

NORM_ROUNDING = 1e-5
"""Relative: float32 sums of squares over 64 to 896 rows, in another order."""
HALF = 2.0**-11
"""Relative rounding of the half-precision scores in their histograms."""
SAME_PERPLEXITY = 1e-3
"""Relative; on the machine of the recordings' torch version both sides were equal in all digits that are recorded."""
PERCENTAGE_POINTS = 0.005
"""Largest difference between a sparsity that was asked for and the one our threshold gives."""
DIFFERENT_BITS = 1e-4
"""Share of mask bits that may differ: scores so close to a threshold that the order of a float32 sum decides."""
LOGIT_ROUNDING = 2e-2
"""Relative to the RMS of the recorded logits, for their RMS difference: what few different mask bits lead to."""


@lru_cache(maxsize=1)
def _model() -> LoadedModel:
    return load(PARITY / "model", revision=None, dtype="float32", device="cpu")


@lru_cache(maxsize=2)
def _counts(mode: str) -> dict[tuple[int, str], np.ndarray]:
    """Our score histograms of their calibration sequences; they count every token."""
    loaded = _model()
    sequences = json.loads((PARITY / "data" / "sequences.json").read_text())["calib"]
    total: dict[tuple[int, str], np.ndarray] = {}
    with Observer(loaded, [CRITERIA[mode]], BINS) as observer:
        for sequence in sequences:
            ids = torch.tensor([sequence])
            with observer.batch(torch.zeros_like(ids), torch.full_like(ids, -1)), torch.inference_mode():
                loaded.decoder(input_ids=ids, use_cache=False)
            for one in observer.take():
                for number, (projection, _) in enumerate(one.scorings):
                    key = (one.site.block, projection)
                    total[key] = total.get(key, 0) + one.counts[0, number].astype(np.int64)
    return total


@lru_cache(maxsize=2)
def _recorded(mode: str) -> dict[str, dict]:
    entries = json.loads((PARITY / "float32" / mode / "eval_fixed_input.json").read_text())
    return {entry["tag"]: entry for entry in entries}


def _their_thresholds(mode: str, tag: str) -> torch.Tensor:
    recorded = _recorded(mode)[tag]["threshold"]
    flat = [recorded[f"layer{p.block}.{p.name}"] for p in projections(_model().model)]
    return torch.tensor(flat, dtype=torch.float32).reshape(1, -1, 7)


def _sparse_run(mode: str, tag: str) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Our logits and masks with their thresholds: `[2, 300, vocabulary]`, and `[2, 300, features]` by projection."""
    loaded = _model()
    ids = torch.from_numpy(np.load(PARITY / "data" / "fixed_input.npy"))
    lengths = torch.full((len(ids),), ids.shape[1])
    masks: dict[str, np.ndarray] = {}
    handles = []
    with install(loaded, CRITERIA[mode], _their_thresholds(mode, tag)) as runtime:
        for p in projections(loaded.model):

            def record(_module, args, key=f"layer{p.block}.{p.name}"):
                masks[key] = (args[0] != 0).numpy()

            handles.append(p.module.register_forward_pre_hook(record))
        counted = eligible(lengths, lengths, ids.shape[1], DENSE_PREFIX)
        with runtime.rows(torch.zeros(len(ids), dtype=torch.int64), counted), torch.inference_mode():
            logits = loaded.model(input_ids=ids).logits
    for handle in handles:
        handle.remove()
    return logits, masks


def test_column_norms_are_those_of_the_released_code():
    recorded = np.load(PARITY / "float32" / "wina" / "column_norms.npz")
    for p in projections(_model().model):
        found = feature_weights("wina_released", p.module.weight, p.name).numpy()
        np.testing.assert_allclose(
            found, np.broadcast_to(recorded[f"layer{p.block}.{p.name}"], found.shape), NORM_ROUNDING
        )


@pytest.mark.parametrize("mode", CRITERIA)
def test_thresholds_agree_within_a_bin_and_hit_their_sparsity(mode: str):
    table = pd.read_csv(PARITY / "float32" / mode / "thresholds.csv")
    exact = np.load(PARITY / "float32" / mode / "histograms.npz")
    counts = _counts(mode)
    for row in table.itertuples():
        ours = float(thresholds(BINS, counts[row.layer, row.proj], np.array(row.sparsity)))
        assert ours == pytest.approx(row.threshold, rel=BINS.relative_error + HALF), row
        part = "self_attn" if row.proj in "qkvo" else "mlp"
        centers, weight = (exact[f"layer{row.layer}.{part}.{row.hist_key}.{name}"] for name in ("centers", "counts"))
        masked = weight[centers.astype(np.float32) <= ours].sum() / weight.sum()
        assert masked == pytest.approx(row.sparsity, abs=PERCENTAGE_POINTS), row


@pytest.mark.parametrize("allocation", ["uniform", "greedy"])
@pytest.mark.parametrize("mode", CRITERIA)
def test_masks_are_those_of_the_released_code_bit_for_bit_but_for_ties_of_rounding(mode: str, allocation: str):
    recorded = np.load(PARITY / "float32" / mode / "masks_s0.5_packbits.npz")
    _, masks = _sparse_run(mode, f"threshold|{allocation}|0.5")
    different, total = 0, 0
    for key, mask in masks.items():
        theirs = np.unpackbits(recorded[f"threshold|{allocation}|{key}"], axis=-1)[..., : mask.shape[-1]].astype(bool)
        different += int((mask != theirs).sum())
        total += mask.size
    assert different <= DIFFERENT_BITS * total


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("mode", CRITERIA)
def test_logits_are_those_of_the_released_code(mode: str, tag: str):
    recorded = np.load(PARITY / "float32" / mode / "logits.npz")
    logits, _ = _sparse_run(mode, tag)
    theirs = recorded[tag]
    ours = logits[:, recorded["positions"]].numpy()
    assert np.sqrt(np.mean((ours - theirs) ** 2)) <= LOGIT_ROUNDING * np.sqrt(np.mean(theirs**2))


def _perplexity(mode: str, tag: str) -> float:
    """exp of the mean, over windows, of the mean loss of each window's last tokens (their utils/eval_ppl.py)."""
    loaded = _model()
    stream = torch.from_numpy(np.load(PARITY / "data" / "test_stream.npy"))
    length = torch.tensor([WINDOW])
    counted = eligible(length, length, WINDOW, DENSE_PREFIX)
    losses = []
    with install(loaded, CRITERIA[mode], _their_thresholds(mode, tag)) as runtime:
        for begin in range(0, len(stream) // SCORED * SCORED - WINDOW + 1, SCORED):
            ids = stream[begin : begin + WINDOW][None]
            with runtime.rows(torch.zeros(1, dtype=torch.int64), counted), torch.inference_mode():
                logits = loaded.model(input_ids=ids, logits_to_keep=SCORED + 1).logits[0, :-1]
            losses.append(float(torch.nn.functional.cross_entropy(logits, ids[0, -SCORED:])))
    return float(np.exp(np.mean(losses)))


@pytest.mark.parametrize("allocation", ["uniform", "greedy"])
@pytest.mark.parametrize("mode", CRITERIA)
def test_perplexities_are_those_of_the_released_code(mode: str, allocation: str):
    table = pd.read_csv(PARITY / "ppl_summary.csv")
    wanted = {"repo": "microsoft/wina", "dtype": "float32", "config": mode, "mask_by": "threshold", "alloc": allocation}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1) & (table["sparsity"] == 0.5)]
    assert len(rows) == 1
    assert _perplexity(mode, f"threshold|{allocation}|0.5") == pytest.approx(rows["ppl"].item(), rel=SAME_PERPLEXITY)
