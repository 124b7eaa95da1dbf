"""Time of the stages capture and evaluate on a Ray cluster of this machine, with one worker and with two.

    python -m benchmarks.ray_workers /tmp/study capture --model data/reference/model --samples 80

The cluster has two nodes of one core and stands before the clock starts; what a stage takes as a whole is timed: it
connects, workers start, import and load the model, and work. The folder keeps the samples of the embedded tasks between
calls. The digest says that both runs have written the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.executors.pool import EXECUTOR, RAY
from pipeline.executors.processes import PROCESSES
from pipeline.executors.ray_pool import ADDRESS
from pipeline.storage.scratch import file_digest
from stages import capture, evaluate, manifest, prepare
from stages.inputs import paths
from wina_amp.names import DENSE

ROOT = Path(__file__).resolve().parents[1]
NODE = {"num_cpus": 1, "memory": 4 * 10**9, "object_store_memory": 10**8}
OUTS = {"capture": (paths.HISTOGRAMS, paths.SIGNATURES), "evaluate": (paths.results(DENSE),)}


def main() -> None:
    """Time the stage with one worker and with two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_workers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("stage", choices=OUTS)
    parser.add_argument("--model", type=Path, default=ROOT / paths.REFERENCE_MODEL)
    parser.add_argument("--samples", type=int, required=True, help="of every task and split")
    parser.add_argument("--batch", type=int, default=1024, help="`tokens.batch`")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings = _settings(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)
    if options.one:
        return capture.main(settings) if options.stage == "capture" else evaluate.main(settings, DENSE)
    if not Path(paths.SAMPLES).exists():
        manifest.main(settings)
        prepare.main(settings)
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found]

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    for workers in (1, 2):
        seconds = _timed(options.stage, {EXECUTOR: RAY, ADDRESS: cluster.address, PROCESSES: str(workers)})
        written = [file_digest(out)[:8] for out in OUTS[options.stage]]
        print(f"{options.stage}, {workers} workers: {seconds:.1f} s, {' '.join(written)}", flush=True)
    cluster.shutdown()


def _settings(options: argparse.Namespace) -> Settings:
    known = params.load(ROOT / "params.yaml")
    benchmark = replace(
        known.benchmark,
        include=str(ROOT / paths.BENCHMARK),
        train_samples=options.samples,
        test_samples=options.samples,
    )
    return replace(
        known,
        model=replace(known.model, path=str(options.model.resolve()), device="cpu"),
        benchmark=benchmark,
        tokens=replace(known.tokens, batch=options.batch),
        evaluate=replace(known.evaluate, train_samples=options.samples, test_samples=None, primary=None),
    )


def _timed(stage: str, environment: dict[str, str]) -> float:
    """The seconds of a process of its own, which goes on with nothing that another has left."""
    shutil.rmtree(".scratch", ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.ray_workers", ".", stage, *sys.argv[3:], "--one"]
    began = time.perf_counter()
    subprocess.run(command, env=os.environ | environment, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
