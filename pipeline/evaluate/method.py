"""Evaluate one method at one target: every sample's score, margin, realised sparsity and operations.

Scores are lm-eval's own, sample by sample; lm-eval's averages are not used, because the report pairs samples between
methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import lm_eval.evaluator
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pipeline.compute.operations import Shape, dense_flops, flops, realised_sparsity, sparsity_by_block
from pipeline.evaluate.engine import running
from pipeline.evaluate.model import ProfiledLM
from pipeline.evaluate.tally import Tally
from pipeline.profiles.profile import Profiles
from pipeline.tasks.repeatable import fixed_randomness
from pipeline.tasks.task_view import TaskView, quiet
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.projections import projections
from wina_amp.models.rotation import rotated_widths
from wina_amp.scoring.criteria import criterion_row


def evaluate(
    loaded: LoadedModel,
    views: Sequence[TaskView],
    samples: pd.DataFrame,
    profiles: Profiles | None,
    *,
    dense_prefix: int | float,
    batch_tokens: int,
    router_flops: NDArray[np.float64] | float = 0.0,
    advance: Callable[[int], object] = lambda _requests: None,
) -> pd.DataFrame:
    """Run lm-eval over the samples and collect a row for each.

    Args:
        loaded: the model; masks are put on it for the time of the call.
        views: tasks and splits that the samples come from.
        samples: rows of `schemas.SAMPLES` with a column `group`, the group whose profile each sample uses (0 where the
            model runs dense); only these samples are evaluated.
        profiles: None runs the model dense.
        dense_prefix: see `eligibility.eligible`.
        batch_tokens: tokens per forward pass, padding included. Batches depend on the samples alone, so every method
            runs the same ones.
        router_flops: operations of the router, per sample; added to `flops`.
        advance: called with the number of requests of each batch, after it.

    Returns: the columns of `schemas.RESULTS` except `method` and `target`, in the order of `samples`.

    Raises:
        UserError: a sample's document is not in its task any more, or its prompt is another; a task returns no usable
            score; NaN in the model.
    """
    table = samples.reset_index(drop=True)
    shape = shape_of(loaded, None if profiles is None else profiles.criterion)
    tally = Tally(len(table), len(shape.features))
    with torch.inference_mode(), running(loaded, profiles, dense_prefix) as engine:
        model = ProfiledLM(engine, table, views[0].today, batch_tokens, tally, advance)
        logged = _run(model, views, table)
    scored = [_scored(logged[row.sample_id], row) for row in cast(Any, table).itertuples()]
    return pd.DataFrame(scored).assign(
        group=table["group"],
        realised_sparsity=realised_sparsity(shape, tally.work),
        sparsity_by_block=list(sparsity_by_block(shape, tally.work).astype(np.float32)),
        flops=flops(shape, tally.work, router_flops),
        dense_flops=dense_flops(shape, tally.work),
    )


def shape_of(loaded: LoadedModel, criterion: str | None) -> Shape:
    """The sizes that compute is counted from: those of a model and of a criterion's masks on it (None: dense)."""
    projs = projections(loaded.model)
    masks = [] if criterion is None else mask_sites(loaded.model, criterion_row(criterion).reads)
    config: Any = loaded.model.config
    return Shape(
        weights=sum(proj.gated_weights for proj in projs),
        features=tuple(site.projection.in_features for site in masks),
        gated=tuple(site.gated for site in masks),
        blocks=projs[-1].block + 1,
        queries=next(proj.in_features for proj in projs if proj.name == "o"),
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        rotations=rotated_widths(loaded),
    )


def _run(model: ProfiledLM, views: Sequence[TaskView], table: pd.DataFrame) -> dict[str, Mapping[str, Any]]:
    """lm-eval's record of every sample, by sample_id; with its score as `score`."""
    doc_ids = {
        str(key): sorted(int(doc_id) for doc_id in ids)
        for key, ids in table.groupby(table["task"] + "/" + table["split"], sort=False)["doc_id"]
    }
    used = [view for view in views if view.key in doc_ids]
    is_chat = any(view.is_chat for view in used)  # text tasks ignore it, all others agree
    with quiet(), fixed_randomness():
        evaluation: Any = lm_eval.evaluator.evaluate(
            lm=model,
            task_dict={"tasks": {view.key: view.only(doc_ids[view.key]) for view in used}},
            log_samples=True,
            bootstrap_iters=0,
            apply_chat_template=is_chat,
            fewshot_as_multiturn=is_chat,
        )
    logged: dict[str, Mapping[str, Any]] = {}
    for view in used:
        # A task with several filters has several records per document; the first filter is the strict one.
        for record in evaluation["samples"][view.key]:
            doc_id = doc_ids[view.key][record["doc_id"]]
            logged.setdefault(f"{view.key}/{doc_id}", {**record, "score": record[view.score]})
    return logged


def _scored(record: Mapping[str, Any], row: Any) -> dict[str, Any]:
    # lm-eval's metric for text is its log-likelihood: text is never right or wrong.
    score = float(record["score"]) if row.kind != "text" else np.nan
    result = {
        "split": row.split,
        "sample_id": row.sample_id,
        "score": score,
        "correct": score == 1.0,
        "loglikelihood": np.nan,
        "margin": np.nan,
    }
    if row.kind == "text":
        result["loglikelihood"] = float(record["score"])
    if row.kind == "choice":
        # Responses beyond the choices are lm-eval's own extras (unconditional log-likelihoods).
        values = [float(response[0]) for response in record["filtered_resps"]][: len(row.choices)]
        right = values.pop(row.target)
        result |= {"loglikelihood": right, "margin": right - max(values) if values else np.nan}
    return result
