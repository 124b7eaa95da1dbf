"""route: the train samples' groups of a learned scheme -> a fitted router, and the route of every sample.

The router is fitted again without each task, and without each template, and routes the samples of those.
"""

from __future__ import annotations

from typing import Any, cast

import pandas as pd
from numpy import ndarray
from torch import nn

from pipeline.compute.routing import embedding_flops, neighbour_flops, scores_flops
from pipeline.config.params import Settings
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.routing.held_out import ask_labels, held_out
from pipeline.storage.schemas import HELD_OUT, ROUTES, SAMPLES, SIGNATURES
from stages.inputs import paths
from stages.inputs.groups import groups_of
from stages.inputs.model import load_model
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.models.rotation import rotated_widths
from wina_amp.routing.router import embedding_features, neighbour_features, save_router
from wina_amp.routing.router_fit import fit_router

_EMBEDDED = {"embedding": (embedding_features, embedding_flops), "neighbours": (neighbour_features, neighbour_flops)}
"""Routers that read token embeddings: their features, and the operations of reading and routing."""

_COLUMNS = ("sample_id", "split", "task", "template", "prompt_ids", "n_tokens")


def main(settings: Settings, name: str) -> None:
    """Write the weights of router `name`, its `routes` and `held_out`."""
    chosen = settings.route.routers[name]
    samples: Any = SAMPLES.read(paths.SAMPLES, columns=_COLUMNS)
    groups = groups_of(samples, chosen.groups_from)["group"].to_numpy()
    loaded = load_model(settings.model)
    number = int(groups.max()) + 1
    if chosen.reads in _EMBEDDED:
        features, counted = _EMBEDDED[chosen.reads]
        table = cast(nn.Embedding, loaded.model.get_input_embeddings()).weight
        inputs = features(table, samples["prompt_ids"].tolist())
        flops = counted(samples["n_tokens"].to_numpy(), table.shape[1], number)
        facts = {"router": chosen.reads}
    else:
        blocks = settings.route.blocks
        vectors = signature_vectors(SIGNATURES.parts(paths.SIGNATURES), samples["sample_id"].tolist(), blocks)
        inputs = vectors.reshape(len(vectors), -1)
        flops = _scores_flops(loaded, samples, blocks, vectors.shape[3], number)
        facts = {
            "router": chosen.reads,
            "blocks": str(blocks),
            "dim": str(vectors.shape[3]),
            "seed": str(settings.seed),
        }
    train = (samples["split"] == "train").to_numpy()
    router = fit_router(inputs[train], groups[train], weight_decay=settings.route.weight_decay)
    probabilities = router.probabilities(inputs)
    rows = pd.DataFrame({"router": name, "sample_id": samples["sample_id"], "group": probabilities.argmax(axis=1)})
    ROUTES.write(rows.assign(probabilities=list(probabilities), flops=flops), paths.routes(name))
    ask = ask_labels(inputs, groups, weight_decay=settings.route.weight_decay)
    HELD_OUT.write(held_out(samples, ask), paths.held_out(name))
    save_router(router, paths.router_weights(name), facts)


def _scores_flops(loaded: LoadedModel, samples: Any, blocks: int, dim: int, groups: int) -> ndarray:
    read: Any = SIGNATURES.read_parts(paths.SIGNATURES, columns=("sample_id", "n_tokens"))
    eligible = read.groupby("sample_id")["n_tokens"].first().reindex(samples["sample_id"])
    return scores_flops(
        samples["n_tokens"].to_numpy(),
        eligible.to_numpy(),
        [projection for projection in projections(loaded.model) if projection.block < blocks],
        dim=dim,
        groups=groups,
        rotations=rotated_widths(loaded, blocks),
    )
