"""The `greedy` allocations of stage allocate: of every group by itself, from its own text and histograms.

Paths are stored per group and do not depend on the targets, so a crash loses at most one group and a new target below
the highest costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.storage.parts import JsonParts
from stages.inputs.allocation import Costs, allocation_scratch, counts_of, group_texts
from stages.inputs.model import load_model
from wina_amp.allocation.calibration.cost import Meter, MeteredStore
from wina_amp.allocation.greedy.search import Path
from wina_amp.histograms.bins import Bins
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel

log = logging.getLogger("stages.allocate")

Paths = list[dict[str, Any]]
"""Of every block: its number, its projections and its path, as JSON."""


def greedy(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Every group by itself: rows of `allocations` without the profile's name, and what each group took."""
    histograms = histograms[histograms["criterion"] == profile.criterion]
    groups = sorted(set(histograms["group"].tolist()))
    loaded: LoadedModel | None = None
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    meter = Meter()
    with allocation_scratch(settings, name) as scratch:
        for group in groups:
            part = f"{group:05d}"
            store = MeteredStore(JsonParts(scratch, ""), meter)
            paths = store.get(part)
            if paths is None:
                loaded = loaded or load_model(settings.model)
                store.leave_out()
                log.info("greedy: group %d of %d", group + 1, len(groups))
                own = histograms[histograms["group"] == group]
                counts = counts_of(own, Bins(settings.capture.mantissa_bits))
                texts = group_texts(profile.scheme, group, settings.seed)
                tokens = tokens_of_group(settings, len(groups))
                paths = greedy_paths(settings, profile.criterion, loaded, texts, counts, tokens, meter)
                store.put(part, paths)
            rows.append(pd.DataFrame(_rows(paths, group, settings.evaluate.targets)))
            costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def greedy_paths(
    settings: Settings,
    criterion: str,
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    counts: Mapping[tuple[int, str], np.ndarray],
    tokens: int,
    meter: Meter,
) -> Paths:
    """The path of every block, measured on so many tokens of the texts."""
    from wina_amp.allocation.calibration.texts import choose
    from wina_amp.allocation.greedy.blockwise import block_paths

    prefix = settings.tokens.dense_prefix
    by_block = block_paths(
        loaded,
        choose(texts, tokens=tokens, dense_prefix=prefix, seed=settings.seed),
        counts,
        bins=Bins(settings.capture.mantissa_bits),
        criterion=criterion,
        stop=max(settings.evaluate.targets),
        step=settings.allocate.greedy_step,
        dense_prefix=prefix,
        budget=settings.tokens.batch,
        is_lazy=settings.allocate.greedy_search == "lazy",
        meter=meter,
    )
    return [{"block": own.block, "projections": own.projections, "path": own.path.to_lists()} for own in by_block]


def tokens_of_group(settings: Settings, groups: int) -> int:
    """Measured tokens of one of so many groups: a profile set costs the same, however many there are."""
    return max(1, settings.allocate.greedy_tokens // groups)


def _rows(paths: Paths, group: int, targets: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    for block in paths:
        path = Path.from_lists(block["path"])
        for target in targets:
            sparsity, error = path.at(target)
            for projection, value in zip(block["projections"], sparsity.tolist(), strict=True):
                yield {
                    "group": group,
                    "target": target,
                    "block": block["block"],
                    "projection": projection,
                    "sparsity": value,
                    "predicted_error": error,
                }
