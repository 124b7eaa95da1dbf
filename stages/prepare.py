"""prepare: take train and test samples from the benchmark's tasks -> samples."""

from __future__ import annotations

import logging

import pandas as pd

from pipeline.benchmark.samples import sample_rows
from pipeline.benchmark.tasks import choose, load_tasks
from pipeline.config import Settings
from pipeline.models.context import load_context
from pipeline.models.load import load_tokenizer
from pipeline.schemas import SAMPLES
from stages.run import run

SAMPLES_PATH = "data/samples.parquet"

log = logging.getLogger("stages.prepare")


def main(settings: Settings) -> None:
    """Write `samples`."""
    benchmark = settings.benchmark
    path, revision, remote_code = settings.model.path, settings.model.revision, settings.model.remote_code
    tokenizer = load_tokenizer(path, revision=revision, remote_code=remote_code)
    context = load_context(path, revision=revision, remote_code=remote_code)
    counts = {"train": benchmark.train_samples, "test": benchmark.test_samples}
    rows = [
        row
        for views in load_tasks(benchmark.include, benchmark.tasks).values()
        for split, doc_ids in choose(views, counts).items()
        for row in sample_rows(views[split], doc_ids, tokenizer, context)
    ]
    table = pd.DataFrame(rows)
    SAMPLES.write(table, SAMPLES_PATH)
    log.info("%d samples of %d tasks, %d tokens", len(table), table["task"].nunique(), table["n_tokens"].sum())


if __name__ == "__main__":
    run(main)
