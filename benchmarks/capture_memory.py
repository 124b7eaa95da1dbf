"""Peak memory of stage capture by number of samples, on the embedded reference model.

    python -m benchmarks.capture_memory 1000 10000 100000

Every number is a process of its own, in a temporary folder, on samples of random tokens, a tenth of them train. Prints
the peak of its resident memory before and in the stage. It is the driver and does the work, too; with
`WINA_AMP_PROCESSES=2` workers do that, and the peak is the driver's.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
TOKENS = 24
"""Of a sample."""


def main() -> None:
    """Measure every number of samples that the command line names."""
    if sys.argv[1:] and sys.argv[1] in STEPS:
        return STEPS[sys.argv[1]](int(sys.argv[2]))
    for samples in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"WINA_AMP_PROCESSES": "1", **os.environ, "PYTHONPATH": str(ROOT)}
            for step in STEPS:
                command = [sys.executable, "-m", "benchmarks.capture_memory", step, samples]
                subprocess.run(command, cwd=folder, env=environment, check=True)


def _write(samples: int) -> None:
    from pipeline.storage.schemas import SAMPLES
    from stages.inputs import paths

    for first in range(0, samples, 10_000):
        SAMPLES.write(_rows(first, min(samples, first + 10_000)), f"parts/{first:07d}.parquet")
    SAMPLES.write(SAMPLES.read_parts("parts"), paths.SAMPLES)


def _measure(samples: int) -> None:
    from pipeline.config import params
    from stages import capture, manifest
    from stages.inputs import paths
    from stages.inputs.model import load_model

    settings = params.load(ROOT / "params.yaml")
    settings = replace(settings, model=replace(settings.model, path=str(ROOT / paths.REFERENCE_MODEL), device="cpu"))
    manifest.main(settings)
    if os.environ["WINA_AMP_PROCESSES"] == "1":
        load_model(settings.model)  # with it come the libraries
    before = _peak()
    capture.main(settings)
    megabytes = sum(path.stat().st_size for path in Path(paths.HISTOGRAMS).iterdir()) / 1e6
    print(f"{samples} samples, {megabytes:.0f} MB of histograms: {before:.0f} MB before, {_peak():.0f} MB at most")


def _peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rows(first: int, end: int) -> pd.DataFrame:
    draw, count = np.random.default_rng(first), end - first
    texts = {name: "" for name in ("subject", "computation", "template", "prompt")}
    return pd.DataFrame(
        {
            "sample_id": [f"task/{number:07d}" for number in range(first, end)],
            "task": "task",
            "split": ["test" if number % 10 else "train" for number in range(first, end)],
            "doc_id": range(first, end),
            "doc_hash": [str(number) for number in range(first, end)],
            "kind": "choice",
            **texts,
            "shots": 0,
            "choices": [["a", "b"]] * count,
            "target": 0,
            "answer": "a",
            "prompt_ids": list(draw.integers(3, 200, (count, TOKENS)).astype(np.int32)),
            "answer_ids": [np.array([5], dtype=np.int32)] * count,
            "n_tokens": TOKENS,
        }
    )


STEPS = {"write": _write, "measure": _measure}
"""Each a process of its own."""

if __name__ == "__main__":
    main()
