"""prepare: take the samples of every split from the benchmark's tasks -> samples, sample_counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from pipeline.config import protocol
from pipeline.config.params import Settings
from pipeline.storage.schemas import SAMPLE_COUNTS, SAMPLES
from pipeline.tasks.repeats import CONTRADICTING, IN_BOTH, repeats
from pipeline.tasks.samples import sample_rows, too_long
from pipeline.tasks.selection import Selection, select_documents
from stages.inputs import paths
from stages.inputs.checkpoint import checked_folder
from stages.inputs.tasks import counts, load_benchmark
from wina_amp.models.context import load_config, load_context
from wina_amp.models.load import load_tokenizer

log = logging.getLogger("stages.prepare")


def main(settings: Settings) -> None:
    """Write `samples` and `sample_counts`."""
    benchmark = settings.benchmark
    path, revision, remote_code = settings.model.path, settings.model.revision, settings.model.remote_code
    checked_folder(path, revision, remote_code=remote_code, listed=paths.TOKENIZER)
    tokenizer = load_tokenizer(path, revision=revision, remote_code=remote_code)
    context = load_context(path, revision=revision, remote_code=remote_code)
    embeddings = int(load_config(path, revision=revision, remote_code=remote_code).vocab_size)
    refused = partial(too_long, tokenizer=tokenizer, context=context) if benchmark.too_long == "leave_out" else None
    tasks = load_benchmark(benchmark)
    wanted = {name: counts(benchmark, views["train"]) for name, views in tasks.items()}
    salt = protocol.load(protocol.file_of(settings.study)).salt if benchmark.confirmation_samples else ""
    chosen = {name: select_documents(views, wanted[name], refused, salt=salt) for name, views in tasks.items()}
    rows = [
        row
        for name, by_split in chosen.items()
        for split, choice in by_split.items()
        for row in sample_rows(tasks[name][split], choice.doc_ids, tokenizer, context, embeddings=embeddings)
    ]
    table = pd.DataFrame(rows)
    SAMPLES.write(table, paths.SAMPLES)
    SAMPLE_COUNTS.write(_counts(table, chosen, wanted), paths.SAMPLE_COUNTS)
    log.info("%d samples of %d tasks, %d tokens", len(table), table["task"].nunique(), table["n_tokens"].sum())


def _counts(
    table: pd.DataFrame,
    chosen: Mapping[str, Mapping[str, Selection]],
    wanted: Mapping[str, Mapping[str, int]],
) -> pd.DataFrame:
    rows: list[tuple[str, str, int, int, int]] = []
    for name, by_split in chosen.items():
        for split, choice in by_split.items():
            if choice.left_out:
                log.warning("%s/%s: %d items left out, longer than the model's context", name, split, choice.left_out)
            rows.append((name, split, wanted[name][split], len(choice.doc_ids), choice.left_out))
    counts = pd.DataFrame(rows, columns=["task", "split", "wanted", "taken", "too_long"])
    repeated = repeats(table)
    for name, meaning in ((IN_BOTH, "stands in two splits"), (CONTRADICTING, "has another right answer elsewhere")):
        samples = [str(sample_id) for sample_id in table["sample_id"][repeated[name]]]
        if samples:
            log.warning("%d samples whose question %s, for example %s", len(samples), meaning, samples[0])
    number: Any = (
        table[["task", "split"]].join(repeated.astype("int32")).groupby(["task", "split"], as_index=False).sum()
    )
    return counts.merge(number, on=["task", "split"], how="left", validate="one_to_one")
