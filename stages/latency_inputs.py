"""What the stage `latency` times: text of the test samples, and every method with its thresholds, groups and router.

Not a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config import Settings
from pipeline.errors import UserError
from pipeline.profile import profile_array
from pipeline.schemas import ASSIGNMENTS, PROFILES, ROUTES

if TYPE_CHECKING:
    from pipeline.latency.timing import Profiled, Work

SAMPLES_PATH = "data/samples.parquet"

Key = tuple[str, float]
"""Method and target."""


def what_is_decoded(settings: Settings, samples: Any, cache: int) -> Work:
    """The text of the test samples, in the contexts and batches of the settings.

    Args:
        settings: all of them.
        samples: rows of `samples`, of the test split.
        cache: bytes of the last-level cache.

    Raises:
        UserError: there are no samples.
    """
    from pipeline.latency.timing import Work

    if samples.empty:
        raise UserError(
            "The text that is decoded comes from test samples",
            found="none",
            where=SAMPLES_PATH,
            remedy="run `dvc repro`, which rebuilds the table",
        )
    latency = settings.latency
    return Work(
        prompts=samples["prompt_ids"].tolist(),
        contexts=latency.contexts,
        batches=latency.batches,
        steps=latency.steps,
        answer_tokens=latency.answer_tokens,
        cache=cache,
        dense_prefix=settings.tokens.dense_prefix,
    )


def profiled_methods(
    settings: Settings, samples: Any, chosen: Sequence[str], targets: Sequence[float]
) -> dict[Key, Profiled]:
    """Every method at every target, with what it needs to run.

    Args:
        settings: all of them.
        samples: those of `what_is_decoded`.
        chosen: names of methods.
        targets: which profiles.

    Raises:
        UserError: a table or a router is out of date.
    """
    import torch

    from pipeline.latency.timing import Profiled
    from pipeline.routing import load_router

    found: dict[Key, Profiled] = {}
    for name in chosen:
        method = settings.methods[name]
        profile, source = str(method.profile), str(method.groups_from)
        table: Any = PROFILES.read(f"data/profiles/{profile}.parquet")
        groups = _groups(samples, source)
        router = load_router(f"data/{source}.safetensors") if source.startswith("routes/") else None
        for target in targets:
            thresholds = torch.from_numpy(profile_array(table, target, "threshold"))
            found[name, target] = Profiled(settings.profiles[profile].criterion, thresholds, groups, router)
    return found


def check_contexts(settings: Settings) -> None:
    """Refuse contexts that the model cannot hold.

    Raises:
        UserError: the longest one and the steps behind it are more tokens than the model takes.
    """
    from pipeline.latency.turns import WARM
    from pipeline.models.context import load_context

    latency, model = settings.latency, settings.model
    longest = max(latency.contexts) + WARM + latency.steps
    limit = load_context(model.path, revision=model.revision, remote_code=model.remote_code)
    if longest > limit:
        raise UserError(
            f"A context with {WARM + latency.steps} decoded tokens behind it must fit the model's {limit} tokens",
            found=f"{max(latency.contexts)} + {WARM + latency.steps}",
            where="`latency.contexts` in params.yaml",
            remedy="name shorter contexts, or fewer `latency.steps`",
        )


def _groups(samples: Any, source: str) -> np.ndarray:
    path = f"data/{source}.parquet"
    table = ROUTES if source.startswith("routes/") else ASSIGNMENTS
    rows: Any = table.read(path, columns=("sample_id", "group"))
    groups = rows.set_index("sample_id")["group"].reindex(samples["sample_id"])
    lost = int(groups.isna().sum())
    if lost:
        raise UserError(
            "Every sample must have a group",
            found=f"none for {lost} samples",
            where=path,
            remedy="run `dvc repro`, which rebuilds the table",
        )
    return groups.to_numpy(dtype=np.int64)
