"""Labels of the samples that clusters may follow.

A label with one value for all samples (a benchmark without templates or subjects) is left out. `length` (prompt tokens,
in quarters of the samples) is always a candidate, because length shifts activation patterns and can pass for structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

TITLES = {
    "computation": "computation",
    "template": "template",
    "shots": "solved examples in front",
    "length": "prompt length (tokens)",
    "kind": "answer format",
    "subject": "subject",
    "task": "task",
}
COMPOUNDS = ("task",)
"""Labels that combine others (a task is a computation and a format): shown, but no candidates for an explanation."""
QUARTERS = 4


@dataclass(frozen=True)
class Label:
    """One label of the samples: `codes[i]` indexes `values`."""

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " samples"]

    @property
    def title(self) -> str:
        return TITLES[self.name]


def labels(samples: pd.DataFrame) -> dict[str, Label]:
    """Every label with at least two values among `samples`, in the order of `TITLES`."""
    every = [_length(samples) if name == "length" else _column(name, samples[name].to_numpy()) for name in TITLES]
    return {label.name: label for label in every if len(label.values) > 1}


def candidates(among: dict[str, Label]) -> list[str]:
    """The labels that may explain clusters: all but compounds, unless nothing else describes the content."""
    has_content = any(name in among for name in ("computation", "subject", "template"))
    return [name for name in among if name not in COMPOUNDS or not has_content]


def _column(name: str, values: np.ndarray) -> Label:
    kinds, codes = np.unique(values.astype(np.int64 if name == "shots" else np.str_), return_inverse=True)
    return Label(name, tuple(str(kind) or "none" for kind in kinds), codes)


def _length(samples: pd.DataFrame) -> Label:
    tokens = samples["n_tokens"].to_numpy()
    cuts = np.unique(np.quantile(tokens, np.arange(1, QUARTERS) / QUARTERS))
    codes = np.searchsorted(cuts, tokens, side="left")
    present = np.unique(codes)
    names = tuple(f"{tokens[codes == code].min()}\N{EN DASH}{tokens[codes == code].max()}" for code in present)
    return Label("length", names, np.searchsorted(present, codes))
