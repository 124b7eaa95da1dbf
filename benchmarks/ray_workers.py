"""Time of the stages capture and evaluate on a Ray cluster of this machine, with one worker and with two.

    python -m benchmarks.ray_workers /tmp/study --model data/reference/model --captured 80 --evaluated 40

The cluster has two nodes of one core and stands before the clock starts. A stage connects, workers start, import and
load the model, and work: prints how long it took as a whole, and from its first worker's start on. Parts are smaller
than a study's, because there are fewer samples, so that both workers have something to do until the end. Digests say
whether both runs have written the same bytes. The folder keeps the samples of the embedded tasks for the next call.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.executors.pool import EXECUTOR, RAY
from pipeline.executors.processes import PROCESSES
from pipeline.executors.ray_pool import ADDRESS, RayPool
from pipeline.storage.scratch import file_digest
from stages import capture, evaluate, manifest, prepare
from stages.inputs import paths
from wina_amp.names import DENSE

ROOT = Path(__file__).resolve().parents[1]
NODE = {"num_cpus": 1, "memory": 4 * 10**9, "object_store_memory": 10**8}
OUTS = {"capture": (paths.HISTOGRAMS, paths.SIGNATURES), "evaluate": (paths.results(DENSE),)}


def main() -> None:
    """Time both stages with one worker and with two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_workers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / paths.REFERENCE_MODEL)
    parser.add_argument("--captured", type=int, required=True, help="samples of every task and split")
    parser.add_argument("--evaluated", type=int, required=True, help="the same for evaluate")
    parser.add_argument("--batch", type=int, default=256, help="`tokens.batch`")
    parser.add_argument("--run", choices=OUTS, help="only this stage, in the current folder, in this environment")
    options = parser.parse_args()
    if options.run:
        return _run(options.run, _settings(options, options.run))
    for stage in OUTS:
        _prepare(options.folder / stage, _settings(options, stage))
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found]

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    cluster: Any = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    for stage in OUTS:
        for workers in (1, 2):
            environment = {EXECUTOR: RAY, ADDRESS: cluster.address, PROCESSES: str(workers)}
            _time(stage, options.folder / stage, workers, environment)
    cluster.shutdown()


def _settings(options: argparse.Namespace, stage: str) -> Settings:
    known = params.load(ROOT / "params.yaml")
    samples = options.captured if stage == "capture" else options.evaluated
    benchmark = replace(
        known.benchmark, include=str(ROOT / paths.BENCHMARK), train_samples=samples, test_samples=samples
    )
    return replace(
        known,
        model=replace(known.model, path=str(options.model.resolve()), device="cpu"),
        benchmark=benchmark,
        tokens=replace(known.tokens, batch=options.batch),
        evaluate=replace(known.evaluate, train_samples=samples, test_samples=None, primary=None),
    )


def _prepare(folder: Path, settings: Settings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        if not Path(paths.SAMPLES).exists():
            manifest.main(settings)
            prepare.main(settings)


def _time(stage: str, folder: Path, workers: int, environment: dict[str, str]) -> None:
    """Print the seconds of a process of its own, which goes on with nothing that another has left."""
    shutil.rmtree(folder / ".scratch", ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.ray_workers", *sys.argv[1:], "--run", stage]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, check=True, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - began
    ready = float(done.stdout.split()[-1])
    digests = " ".join(file_digest(folder / out)[:8] for out in OUTS[stage])
    print(f"{stage}, {workers} workers: {seconds:.1f} s, with a worker {seconds - ready:.1f} s; {digests}", flush=True)


def _run(stage: str, settings: Settings) -> None:
    """The stage; the last line it prints is the time at which its first worker was ready."""
    ready: list[float] = []
    begun = RayPool._begun

    def timed(pool: Any, *arguments: Any) -> None:
        ready.append(time.time() - psutil.Process().create_time())
        begun(pool, *arguments)

    RayPool._begun = timed  # type: ignore[method-assign]
    capture.BATCHES_PER_PART, evaluate.PORTION = 2, 16
    if stage == "capture":
        capture.main(settings)
    else:
        evaluate.main(settings, DENSE)
    print(ready[0])


if __name__ == "__main__":
    main()
