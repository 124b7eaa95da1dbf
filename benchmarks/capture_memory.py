"""Peak memory of stage capture by number of samples, on the embedded reference model.

    python -m benchmarks.capture_memory 1000 10000 100000

Every number is a process of its own, in a temporary folder, on samples of random tokens, a tenth of them train. Prints
the peak of its resident memory before and in the stage.
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
TOKENS = 6
"""Of a sample."""


def main() -> None:
    """Measure every number of samples that the command line names."""
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        return _measure(int(sys.argv[2]))
    for samples in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "WINA_AMP_PROCESSES": "1"}
            command = [sys.executable, "-m", "benchmarks.capture_memory", "--one", samples]
            subprocess.run(command, cwd=folder, env=environment, check=True)


def _measure(samples: int) -> None:
    from pipeline.config import params
    from pipeline.storage.schemas import SAMPLES
    from stages import capture, manifest
    from stages.inputs import paths
    from stages.inputs.model import load_model

    settings = params.load(ROOT / "params.yaml")
    settings = replace(settings, model=replace(settings.model, path=str(ROOT / paths.REFERENCE_MODEL), device="cpu"))
    manifest.main(settings)
    for number, first in enumerate(range(0, samples, 10_000)):
        SAMPLES.write(_rows(first, min(samples, first + 10_000)), f"parts/{number}.parquet")
    _join(paths.SAMPLES)
    load_model(settings.model)  # with it come the libraries
    before = _peak()
    capture.main(settings)
    megabytes = sum(path.stat().st_size for path in Path(paths.HISTOGRAMS).iterdir()) / 1e6
    print(f"{samples} samples, {megabytes:.0f} MB of histograms: {before:.0f} MB before, {_peak():.0f} MB at most")


def _join(path: str) -> None:
    """The parts as one table, whatever that takes in a process of its own."""
    code = (
        "import sys; from pipeline.storage.schemas import SAMPLES; "
        f"SAMPLES.write(SAMPLES.read_parts('parts'), {path!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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


if __name__ == "__main__":
    main()
