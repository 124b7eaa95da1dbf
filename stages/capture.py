"""capture: one dense pass over all samples -> score histograms of the train samples, signatures of all.

Batches are finished in parts that survive a crash; a rerun continues with the first part that is missing. Histograms
stay a folder of parts, because no later stage needs them all in memory at once; signatures are small and become one
file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from pipeline.capture.capture import Part, capture
from pipeline.config.params import Settings
from pipeline.storage.schemas import HISTOGRAMS, SAMPLES, SIGNATURES
from pipeline.storage.scratch import Parts, Scratch, file_digest
from pipeline.tokens.batching import batches
from pipeline.tokens.samples import TokenizedSample
from stages.inputs.model import load_model, model_identity
from stages.run import run

SAMPLES_PATH = "data/samples.parquet"
HISTOGRAMS_PATH = "data/histograms"
SIGNATURES_PATH = "data/signatures.parquet"

BATCHES_PER_PART = 8
_COLUMNS = ("sample_id", "split", "prompt_ids", "answer_ids")

log = logging.getLogger("stages.capture")


def main(settings: Settings) -> None:
    """Read `samples`, write `histograms` and `signatures`."""
    table = SAMPLES.read(SAMPLES_PATH, columns=_COLUMNS)
    train = set(table["sample_id"][table["split"] == "train"])
    samples = _as_read(table)
    lengths, ids = [sample.length for sample in samples], [sample.sample_id for sample in samples]
    planned = [[samples[i] for i in batch] for batch in batches(lengths, ids, settings.tokens.batch)]
    parts = [planned[i : i + BATCHES_PER_PART] for i in range(0, len(planned), BATCHES_PER_PART)]
    fingerprint = {
        "samples": file_digest(SAMPLES_PATH),
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "capture": asdict(settings.capture),
        "seed": settings.seed,
    }
    with (
        Scratch("capture", fingerprint | {"table": HISTOGRAMS.name}) as histograms,
        Scratch("capture", fingerprint | {"table": SIGNATURES.name}) as signatures,
    ):
        _write_parts(settings, parts, train, histograms, signatures)
        SIGNATURES.write(pa.concat_tables(list(SIGNATURES.parts(signatures.folder))), SIGNATURES_PATH)
        histograms.publish(HISTOGRAMS_PATH)
        histograms.clear()
        signatures.clear()


def _as_read(samples: pd.DataFrame) -> list[TokenizedSample]:
    """The tokens that capture reads: of train samples prompt and answer, of all others the prompt."""
    # The last token of an answer is predicted, never read: no evaluation puts it through the model.
    return [
        TokenizedSample(
            str(row.sample_id), row.prompt_ids.tolist(), row.answer_ids.tolist()[:-1] if row.split == "train" else []
        )
        for row in cast(Any, samples).itertuples()
    ]


def _write_parts(
    settings: Settings,
    parts: Sequence[Sequence[Sequence[TokenizedSample]]],
    train: set[str],
    histograms: Parts,
    signatures: Parts,
) -> None:
    names = [f"{number:05d}.parquet" for number in range(len(parts))]
    missing = [number for number, name in enumerate(names) if not (histograms.has(name) and signatures.has(name))]
    if len(missing) < len(parts):
        log.info("resuming: %d of %d parts are finished", len(parts) - len(missing), len(parts))
    if not missing:
        return
    todo = [batch for number in missing for batch in parts[number]]
    rows = _captured(settings, todo, train)
    for number in missing:
        part = [next(rows) for _ in parts[number]]
        with histograms.writing(names[number]) as path:
            HISTOGRAMS.write(pa.concat_tables([one.histograms for one in part]), path)
        with signatures.writing(names[number]) as path:
            SIGNATURES.write(pa.concat_tables([one.signatures for one in part]), path)


def _captured(settings: Settings, todo: Sequence[Sequence[TokenizedSample]], train: set[str]) -> Iterator[Part]:
    loaded = load_model(settings.model)
    rows = capture(
        loaded,
        todo,
        histograms_of=train,
        criteria=settings.capture.criteria,
        mantissa_bits=settings.capture.mantissa_bits,
        signature_dim=settings.capture.signature_dim,
        dense_prefix=settings.tokens.dense_prefix,
        seed=settings.seed,
    )
    with tqdm(total=sum(len(batch) for batch in todo), desc="capture", unit="sample") as progress:
        for batch, part in zip(todo, rows, strict=True):
            yield part
            progress.update(len(batch))


if __name__ == "__main__":
    run(main)
