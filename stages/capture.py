"""capture: one dense pass over all samples -> score histograms of the train samples, signatures of all.

Batches are done in parts that survive a crash, by as many processes as there is room for; a rerun continues with the
parts that are missing. Histograms stay a folder of parts, because no later stage needs them all in memory at once;
signatures are small and become one file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import HISTOGRAMS, SAMPLES, SIGNATURES
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import model_workers
from stages.run import start_logging
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

if TYPE_CHECKING:
    from pipeline.capture.capture import Part

BATCHES_PER_PART = 8
_COLUMNS = ("sample_id", "split", "prompt_ids", "answer_ids")

log = logging.getLogger("stages.capture")


def main(settings: Settings) -> None:
    """Read `samples`, write `histograms` and `signatures`."""
    table = SAMPLES.read(paths.SAMPLES, columns=_COLUMNS)
    train = frozenset(table["sample_id"][table["split"] == "train"])
    samples = _as_read(table)
    lengths, ids = [sample.length for sample in samples], [sample.sample_id for sample in samples]
    planned = [[samples[i] for i in batch] for batch in batches(lengths, ids, settings.tokens.batch)]
    parts = [planned[i : i + BATCHES_PER_PART] for i in range(0, len(planned), BATCHES_PER_PART)]
    fingerprint = Fingerprint(settings, "capture")
    with fingerprint.scratch() as scratch:
        histograms, signatures = scratch.below(HISTOGRAMS.name), scratch.below(SIGNATURES.name)
        tasks = [Task(f"{number:05d}.parquet", batches) for number, batches in enumerate(parts)]
        names = [task.part for task in tasks]
        _write_parts(settings, fingerprint, tasks, train, histograms, signatures)
        tables = [SIGNATURES.read_arrow(signatures.path(name)) for name in names]
        SIGNATURES.write(pa.concat_tables(tables), paths.SIGNATURES)
        histograms.publish(paths.HISTOGRAMS, names)
        scratch.clear()


def _as_read(samples: pd.DataFrame) -> list[TokenizedSample]:
    """The tokens that capture reads: of train samples prompt and answer, of all others the prompt."""
    is_train = samples["split"] == "train"
    return [
        sample.as_read if train else replace(sample, answer_ids=[])
        for sample, train in zip(tokenized_samples(samples), is_train, strict=True)
    ]


@dataclass(frozen=True)
class Task:
    """One part: the name of its files, and its batches."""

    part: str
    batches: Sequence[Sequence[TokenizedSample]]


class Worker:
    """A process that captures: the model, the samples that get histograms, and the folders that its parts go to."""

    def __init__(self, settings: Settings, train: frozenset[str], histograms: Parts, signatures: Parts) -> None:
        start_logging()
        self.settings, self.train, self.histograms, self.signatures = settings, train, histograms, signatures
        self.loaded = load_model(settings.model)


def _write_parts(
    settings: Settings,
    fingerprint: Fingerprint,
    tasks: Sequence[Task],
    train: frozenset[str],
    histograms: Parts,
    signatures: Parts,
) -> None:
    missing = [task for task in tasks if not (histograms.has(task.part) and signatures.has(task.part))]
    if len(missing) < len(tasks):
        log.info("resuming: %d of %d parts are finished", len(tasks) - len(missing), len(tasks))
    total = sum(len(batch) for task in missing for batch in task.batches)
    make_worker = partial(Worker, settings, train, histograms, signatures)
    with (
        model_workers(make_worker, fingerprint, settings.model, len(missing)) as pool,
        tqdm(total=total, desc="capture", unit="sample") as progress,
    ):
        pool.map(_capture, missing, progress.update)


def _capture(worker: Worker, task: Task, advance: Advance) -> None:
    """Write one part of both tables."""
    from pipeline.capture.capture import capture

    settings = worker.settings
    rows: list[Part] = []
    captured = capture(
        worker.loaded,
        task.batches,
        histograms_of=worker.train,
        criteria=settings.capture.criteria,
        mantissa_bits=settings.capture.mantissa_bits,
        signature_dim=settings.capture.signature_dim,
        dense_prefix=settings.tokens.dense_prefix,
        seed=settings.seed,
    )
    for part in captured:
        rows.append(part)
        advance(part.samples)
    worker.histograms.write(task.part, HISTOGRAMS.to_bytes(pa.concat_tables([part.histograms for part in rows])))
    worker.signatures.write(task.part, SIGNATURES.to_bytes(pa.concat_tables([part.signatures for part in rows])))
