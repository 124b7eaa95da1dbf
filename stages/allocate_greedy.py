"""The `greedy` allocations of stage allocate: of every group by itself, from its own text and histograms.

Shares of a group's blocks are the tasks of a worker pool. Their paths are stored and do not depend on the targets, so a
crash loses at most the shares that were on the way, and a new target below the highest costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import JsonParts
from pipeline.storage.schemas import GROUP_HISTOGRAMS
from stages.inputs import paths
from stages.inputs.allocation import Costs, allocation_scratch, counts_of, group_texts
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import run_tasks
from wina_amp.allocation.calibration.cost import Meter, MeteredStore
from wina_amp.allocation.greedy.search import Path
from wina_amp.histograms.bins import Bins
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel

Paths = list[dict[str, Any]]
"""Of every block: its number, its projections and its path, as JSON."""

SHARES = 4
"""Tasks that a group's blocks are spread over, so that one group keeps several processes busy. Each makes a dense pass
over the calibration text of its own."""


def greedy(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Every group by itself: rows of `allocations` without the profile's name, and what each group took."""
    groups = sorted(set(histograms["group"].tolist()))
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    fingerprint = Fingerprint(settings, "allocate", name)
    with allocation_scratch(fingerprint, settings) as parts:
        stored = JsonParts(parts)
        tasks = [(group, share) for group in groups for share in range(SHARES)]
        missing = [task for task in tasks if stored.get(_part(*task)) is None]
        search = partial(_search, settings, name, stored, tokens_of_group(settings, len(groups)))
        load = partial(load_model, settings.model)
        run_tasks(load, search, missing, fingerprint, f"greedy, {len(groups)} groups", "part")
        for group in groups:
            store = MeteredStore(stored, Meter())
            blocks: Paths = [block for share in range(SHARES) for block in store.get(_part(group, share))]
            blocks.sort(key=lambda block: block["block"])
            rows.append(pd.DataFrame(_rows(blocks, group, settings.evaluate.targets)))
            costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def _search(
    settings: Settings,
    name: str,
    stored: JsonParts,
    tokens: int,
    loaded: LoadedModel,
    task: tuple[int, int],
    advance: Advance,
) -> None:
    """Keep the paths of a share of one group's blocks, measured on so many tokens."""
    (group, share), profile = task, settings.profiles[name]
    histograms: Any = GROUP_HISTOGRAMS.read(paths.group_histograms(profile.scheme))
    own = histograms[(histograms["criterion"] == profile.criterion) & (histograms["group"] == group)]
    counts = counts_of(own, Bins(settings.capture.mantissa_bits))
    texts = group_texts(profile.scheme, group, settings.seed)
    meter = Meter()
    store = MeteredStore(stored, meter)
    blocks = range(share, len(set(own["block"])), SHARES)
    block_paths = greedy_paths(settings, profile.criterion, loaded, texts, counts, tokens, meter, blocks)
    store.put(_part(group, share), block_paths)
    advance(1)


def _part(group: int, share: int) -> str:
    return f"{group:05d}.{share}"


def greedy_paths(
    settings: Settings,
    criterion: str,
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    counts: Mapping[tuple[int, str], np.ndarray],
    tokens: int,
    meter: Meter,
    blocks: Collection[int] | None = None,
) -> Paths:
    """The path of every block, or of those that are named, measured on so many tokens of the texts."""
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
        blocks=blocks,
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
