"""capture: one dense pass over all samples -> score histograms of the train samples, signatures of all.

Batches are done in parts that survive a crash, by as many processes as there is room for; a rerun continues with the
parts that are missing. Both tables stay folders of parts, and the samples wait in a file of the scratch folder: memory
holds of every sample its length and its place there.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.config.params import Settings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import Parts
from pipeline.storage.records import Records
from pipeline.storage.schemas import HISTOGRAMS, SAMPLES, SIGNATURES
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import run_tasks
from wina_amp.names import TRAIN
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import tokenized_samples

if TYPE_CHECKING:
    from pipeline.capture.capture import Part
    from wina_amp.models.load import LoadedModel

BATCHES_PER_PART = 8
_COLUMNS = ("sample_id", "split", "prompt_ids", "answer_ids")

log = logging.getLogger("stages.capture")


def main(settings: Settings) -> None:
    """Read `samples`, write `histograms` and `signatures`."""
    fingerprint = Fingerprint(settings, "capture")
    with fingerprint.scratch() as scratch:
        samples = Records(scratch.folder / SAMPLES.name)
        histograms, signatures = scratch.below(HISTOGRAMS.name), scratch.below(SIGNATURES.name)
        tasks = _planned(samples, settings.tokens.batch)
        missing = [task for task in tasks if not (histograms.has(task.part) and signatures.has(task.part))]
        if len(missing) < len(tasks):
            log.info("resuming: %d of %d parts are finished", len(tasks) - len(missing), len(tasks))
        capture = partial(_capture, settings, samples, histograms, signatures)
        total = sum(len(batch) for task in missing for batch in task.batches)
        run_tasks(partial(load_model, settings.model), capture, missing, fingerprint, "capture", "sample", total)
        names = [task.part for task in tasks]
        signatures.publish(paths.SIGNATURES, names)
        histograms.publish(paths.HISTOGRAMS, names)
        scratch.clear()


@dataclass(frozen=True)
class Task:
    """One part: the name of its files, and of every batch the places of its samples."""

    part: str
    batches: Sequence[Sequence[int]]


def _planned(samples: Records, budget: int) -> list[Task]:
    """Write every sample, as it is read, with whether it gets histograms: of train samples prompt and answer are read,
    of all others the prompt."""
    places, lengths = array("q"), array("q")  # 8 bytes for a number, where a list takes 40
    with samples.writing() as add:
        for rows in SAMPLES.stream(paths.SAMPLES, _COLUMNS):
            table = rows.to_pandas()
            for sample, split in zip(tokenized_samples(table), table["split"], strict=True):
                read = sample.as_read if split == TRAIN else replace(sample, answer_ids=[])
                places.append(add((read, split == TRAIN)))
                lengths.append(read.length)
    # The table is in the order of its key, so that numbers break ties as ids would.
    numbers = batches(lengths, range(len(lengths)), budget)
    planned = [array("q", [places[number] for number in batch]) for batch in numbers]
    parts = [planned[first : first + BATCHES_PER_PART] for first in range(0, len(planned), BATCHES_PER_PART)]
    return [Task(f"{number:05d}.parquet", part) for number, part in enumerate(parts)]


def _capture(
    settings: Settings,
    samples: Records,
    histograms: Parts,
    signatures: Parts,
    loaded: LoadedModel,
    task: Task,
    advance: Advance,
) -> None:
    """Write one part of both tables."""
    from pipeline.capture.capture import capture

    read = [samples.read(places) for places in task.batches]
    rows: list[Part] = []
    captured = capture(
        loaded,
        [[sample for sample, _ in batch] for batch in read],
        histograms_of={sample.sample_id for batch in read for sample, is_train in batch if is_train},
        criteria=settings.capture.criteria,
        mantissa_bits=settings.capture.mantissa_bits,
        signature_dim=settings.capture.signature_dim,
        dense_prefix=settings.tokens.dense_prefix,
        seed=settings.seed,
    )
    for part in captured:
        rows.append(part)
        advance(part.samples)
    histograms.write(task.part, HISTOGRAMS.to_bytes(pa.concat_tables([part.histograms for part in rows])))
    signatures.write(task.part, SIGNATURES.to_bytes(pa.concat_tables([part.signatures for part in rows])))
