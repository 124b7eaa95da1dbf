"""Makes `recording.npz`, a compact part of what the authors' own code wrote, from the full recordings.

    python -m tests.parity.record ../shared/parity

The full recordings (microsoft/wina, commit 8153dbf, float32, on the CPU; their README gives the formulas with file and
line) hold a whole model of 17 MB and belong to the developers. This part is what its FIRST block needs, at under 2 MB,
so that parity is tested in every clone: the block's weights and the embeddings of the tokens that occur (every weight
is exact in bfloat16, and is kept as its two bytes apart, which compresses best), the two calibration sequences of the
greedy search and one input, and of their outputs column norms, the tensor transform's too, exact histograms,
thresholds, greedy tables, and the masks of the first tokens. Logits need all blocks and are not in it;
`python -m benchmarks.parity_model` compares perplexities where the full recordings are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from safetensors.torch import load_file

from tests.parity.recording import FILE, MASKED_TOKENS, WAYS
from tests.reference.released_greedy import MODES, NAMES, SAMPLES, FullRecordings

SPARSITY = 0.5
BLOCK = "model.layers.0."
EMBEDDINGS = "model.embed_tokens.weight"


def main(folder: Path) -> None:
    """Write `recording.npz` from the full recordings in `folder`."""
    weights = load_file(folder / "model" / "model.safetensors")
    sequences = FullRecordings(folder).sequences()[:SAMPLES]
    fixed = np.load(folder / "data" / "fixed_input.npy")[0]
    tokens = np.unique(np.concatenate([*sequences, fixed]))
    arrays: dict[str, Any] = {"config": np.array((folder / "model" / "config.json").read_text())}
    for name, tensor in weights.items():
        if name.startswith(BLOCK) or name == EMBEDDINGS:
            kept = tensor[tokens] if name == EMBEDDINGS else tensor
            arrays |= _bytes_apart(f"weight/{name}", kept)
    for number, sequence in enumerate(sequences):
        arrays[f"sequence/{number}"] = np.searchsorted(tokens, sequence).astype(np.int16)
    arrays["fixed"] = np.searchsorted(tokens, fixed).astype(np.int16)
    for mode in MODES:
        arrays |= {f"{mode}/{name}": array for name, array in _outputs(folder / "float32" / mode, mode)}
    for name in ("k", "gate"):
        for kind in ("wina", "wina_transform"):
            norms = np.load(folder / "float32" / kind / "column_norms.npz")
            arrays[f"norms/{kind}/{name}"] = norms[f"layer0.{name}"]
    np.savez_compressed(FILE, **arrays)


def _bytes_apart(name: str, weight: torch.Tensor) -> dict[str, ndarray]:
    half = weight.to(torch.bfloat16)
    if not torch.equal(half.float(), weight):
        raise ValueError(f"{name} must be exact in bfloat16")
    both = half.view(torch.uint8).numpy().reshape(*weight.shape, 2)
    return {f"{name}/low": both[..., 0], f"{name}/high": both[..., 1]}


def _outputs(folder: Path, mode: str) -> list[tuple[str, ndarray]]:
    histograms = np.load(folder / "histograms.npz")
    arrays = [
        (f"histogram/{name.removeprefix('layer0.')}", array)
        for name, array in histograms.items()
        if name.startswith("layer0.") and (mode == "teal" or ".k." in name or ".gate." in name)
    ]
    table = pd.read_csv(folder / "lookup" / "layer-0" / "results.csv")
    arrays += [(f"table/{column}", table[column].to_numpy()) for column in table.columns]
    thresholds = pd.read_csv(folder / "thresholds.csv").query("layer == 0")
    arrays += [
        (f"thresholds/{name}", thresholds[thresholds["proj"] == name][["sparsity", "threshold"]].to_numpy())
        for name in NAMES
    ]
    masks = np.load(folder / "masks_s0.5_packbits.npz")
    for entry in json.loads((folder / "eval_fixed_input.json").read_text(encoding="utf-8")):
        way, _, sparsity = entry["tag"].rpartition("|")
        if way in WAYS and float(sparsity) == SPARSITY:
            setting = entry[WAYS[way]]
            arrays.append((f"setting/{way}", np.array([setting[f"layer0.{name}"] for name in NAMES])))
            arrays += [(f"mask/{way}/{name}", masks[f"{way}|layer0.{name}"][0, :MASKED_TOKENS]) for name in NAMES]
    return arrays


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the full recordings")
    main(parser.parse_args().folder)
