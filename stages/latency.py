"""latency: decode every method at every target beside the dense model -> timings, and the facts about the run.

Where sparse decoding cannot win (`pipeline/latency/refusal.py`) nothing is timed: the table has no rows, and
`facts.json` the reason, equal bytes every time. The reference model, whose weights fit in a cache, is such a case.

No two runs agree in timings. DVC looks at the inputs: the stage runs again when profiles, groups, routers, settings,
the checkpoint or its code have changed, and not because the machine is another one or slower today. `facts.json` names
the machine; `dvc repro --force --single-item latency` times again. Every method at every target is a part of its own,
kept until the table is written: a crash costs one part, and a forced run makes all parts anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from pipeline.config.params import Settings
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import SAMPLES, TIMINGS
from pipeline.storage.scratch import array_digest, file_digest
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_checkpoint, load_model
from stages.latency_inputs import (
    Key,
    Timed,
    check_contexts,
    decoded_work,
    profiled_methods,
    what_is_timed,
)
from wina_amp.atomic import replacing
from wina_amp.names import NO_TRANSFORM

if TYPE_CHECKING:
    from pipeline.latency.timing import Dense, Profiled, Work

TABLE, FACTS = "timings.parquet", "facts.json"
PART = "timings.parquet"

log = logging.getLogger("stages.latency")


def main(settings: Settings) -> None:
    """Write the folder `latency`.

    Raises:
        UserError: a context is longer than the model's; a table is out of date.
    """
    timed = what_is_timed(settings)
    if timed.reason is not None:
        log.info("nothing is timed: %s", timed.reason)
        _write(TIMINGS.arrow_schema.empty_table(), {"reason": timed.reason, "skipped": timed.skipped})
        return
    check_contexts(settings)
    samples: Any = SAMPLES.read(paths.SAMPLES, columns=("sample_id", "split", "prompt_ids"))
    samples = samples[samples["split"] == "test"].reset_index(drop=True)
    work = decoded_work(settings, samples, timed.cache or 0)
    methods = profiled_methods(settings, samples, timed.methods)
    facts = _facts(settings, timed)
    fingerprint = Fingerprint(settings, "latency")
    with ExitStack() as stack:
        parts = {
            key: stack.enter_context(_scratch(settings, fingerprint, samples, key, profiled, facts))
            for key, profiled in methods.items()
        }
        missing = {key: profiled for key, profiled in methods.items() if not parts[key].has(PART)}
        dense = _time(settings, work, missing, parts)
        rows = pd.concat([TIMINGS.read(part.path(PART)) for part in parts.values()], ignore_index=True)
        _write(rows, {"reason": None, "skipped": timed.skipped, **facts, "dense": dense})
        for part in parts.values():
            part.clear()


def _time(
    settings: Settings, work: Work, missing: Mapping[Key, Profiled], parts: Mapping[Key, Parts]
) -> list[dict[str, Any]]:
    """Time the missing methods and return the dense baselines that they were compared with."""
    import torch

    from pipeline.latency.timing import Dense, time_method

    if not missing:
        return []
    loaded = load_model(settings.model)
    plain = loaded if settings.model.transform == NO_TRANSFORM else load_checkpoint(settings.model)
    torch.set_num_threads(settings.latency.threads)  # both sides' on a CPU; loading set the pipeline's own number
    with Dense(plain, work) as dense:
        for number, (key, profiled) in enumerate(missing.items(), start=1):
            rows = pd.DataFrame(time_method(loaded, dense, profiled, work)).assign(method=key[0], target=key[1])
            with parts[key].writing(PART) as path:
                TIMINGS.write(rows, path)
            log.info("%s at %g: %s (%d of %d)", *key, _summary(rows), number, len(missing))
        return _baselines(dense)


def _summary(rows: Any) -> str:
    return ", ".join(f"{row.ms_per_token:.2f} ms a token, {row.speedup:.2f}x" for row in rows.itertuples())


def _baselines(dense: Dense) -> list[dict[str, Any]]:
    """The dense baseline of every batch and context, as JSON."""
    return [
        {
            "batch": batch,
            "context": context,
            "ms": {way: round(1e3 * seconds.median, 4) for way, seconds in baseline.tried.items()},
            "chosen": baseline.way,
            "failed": baseline.failed,
        }
        for (batch, context), baseline in dense.cells.items()
    ]


def _facts(settings: Settings, timed: Timed) -> dict[str, Any]:
    from pipeline.latency.machine import machine

    return {
        "machine": machine(timed.device, settings.latency.threads),
        "dtype": settings.model.dtype,
        "weights_mb": timed.weights / 1e6,
        "cache_mb": (timed.cache or 0) / 1e6,
        "steps": settings.latency.steps,
        "answer_tokens": settings.latency.answer_tokens,
    }


def _scratch(
    settings: Settings, fingerprint: Fingerprint, samples: Any, key: Key, profiled: Profiled, facts: Mapping[str, Any]
) -> AbstractContextManager[Parts]:
    """The timings of one method at one target, on this machine."""
    method, target = key
    texts = json.dumps([list(map(int, ids)) for ids in samples["prompt_ids"]])
    router = paths.router_weights(settings.methods[method].groups)
    return fingerprint.scratch(
        {
            "methods": method,
            "evaluate.targets": target,
            "latency": {**vars(settings.latency), "methods": None, "facts": facts},
            "profiles": profiled.criterion,
            "data/samples.parquet": hashlib.sha256(texts.encode()).hexdigest(),
            "data/assignments": array_digest(profiled.groups),
            "data/profiles": array_digest(profiled.thresholds.numpy()),
            "data/routes": None if profiled.router is None else file_digest(router),
        }
    )


def _write(rows: pd.DataFrame | pa.Table, facts: Mapping[str, Any]) -> None:
    with replacing(paths.LATENCY) as temporary:
        Path(temporary).mkdir()
        TIMINGS.write(rows, Path(temporary) / TABLE)
        (Path(temporary) / FACTS).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
