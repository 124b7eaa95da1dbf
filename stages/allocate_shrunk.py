"""The allocations of stage allocate of groups that shrink towards a pooled allocation, of `greedy` or of `kl`.

Groups, and the targets of `kl`, are independent of each other. Several processes, each with a model of its own, work on
them; what they measure is kept, over interruptions too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import ALLOCATIONS
from stages.allocate_greedy import greedy_paths, tokens_of_group
from stages.allocate_kl import budget
from stages.inputs import paths
from stages.inputs.allocation import Costs, allocation_scratch
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.loss_worker import LossWorker
from stages.inputs.workers import model_workers
from wina_amp.allocation.calibration.cost import Cost, Meter, Store
from wina_amp.allocation.greedy.search import Path
from wina_amp.names import GLOBAL, KL
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.allocation.shrinkage import Group

log = logging.getLogger("stages.allocate")


def shrunk(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Rows of `allocations` without the profile's name, and what each group took; one more group, the last, is the
    pooled allocation itself."""
    targets = settings.evaluate.targets
    groups = sorted(set(histograms["group"].tolist()))
    rows = [_pooled_rows(profile).drop(columns="profile").assign(group=len(groups), strength=0.0)]
    costs: Costs = {len(groups): Cost()}
    fingerprint = Fingerprint(settings, "allocate", name)
    with allocation_scratch(fingerprint, settings) as parts:
        make_worker = partial(Worker, parts, settings, name, tokens_of_group(settings, len(groups)))
        with (
            model_workers(make_worker, fingerprint, settings.model) as pool,
            tqdm(total=len(groups) * len(targets), desc=f"{len(groups)} groups of `{name}`", unit="target") as progress,
        ):
            if profile.allocation == KL and pool.processes > 1:
                pool.map(_candidates, [(group, target) for group in groups for target in targets], progress.update)
                progress.update(-progress.n)  # what follows finds all of it, and counts it again
            for number, (allocated, cost) in zip(groups, pool.map(_shrink, groups, progress.update), strict=True):
                log.info("group %d of %d: strength %g", number + 1, len(groups), allocated["strength"].iloc[0])
                rows.append(allocated)
                costs[number] = cost
    return pd.concat(rows, ignore_index=True), costs


class Worker(LossWorker):
    """A process that allocates groups; for other arguments see `LossWorker`.

    Args:
        greedy_tokens: that `greedy` measures block errors on, in each group.
    """

    def __init__(self, parts: Parts, settings: Settings, name: str, greedy_tokens: int) -> None:
        super().__init__(parts, settings, name)
        self._greedy_tokens = greedy_tokens
        self.member = lru_cache(maxsize=1)(self._member)

    def _member(self, number: int) -> Group:
        """A group with pooled thresholds."""
        from wina_amp.allocation.shrinking_group import shrinking_group

        inputs, targets = self.inputs(number, GLOBAL, 0), self.settings.evaluate.targets
        rows: Any = _pooled_rows(self.profile).set_index(["target", "block", "projection"])["sparsity"]
        pooled = {target: rows[target].loc[self.keys].to_numpy() for target in targets}
        greedy = None if self.profile.allocation == KL else partial(self._paths, inputs.counts)
        return shrinking_group(inputs, pooled, budget(self.settings.allocate), self.settings.seed, greedy)

    def _paths(
        self, counts: Mapping[tuple[int, str], np.ndarray], texts: Sequence[TokenizedSample], store: Store
    ) -> list[Path]:
        """The group's path of `greedy`."""
        stored = store.get("path")
        if stored is None:
            meter, criterion = Meter(), self.profile.criterion
            with self.meter.uncounted():  # the other one counts all of it
                stored = greedy_paths(self.settings, criterion, self.loaded, texts, counts, self._greedy_tokens, meter)
            self.meter.spent(meter.cost)
            store.put("path", stored)
        return [Path.from_lists(block["path"]) for block in stored]


def _shrink(worker: Worker, number: int, advance: Advance) -> tuple[pd.DataFrame, Cost]:
    """Allocate a group: rows of `allocations`, and what they took."""
    from wina_amp.allocation.shrinkage import shrink

    group, store = worker.member(number), worker.store(number)
    rows = [
        worker.sites.assign(
            sparsity=allocated.sparsity,
            predicted_error=allocated.loss,
            strength=allocated.strength,
            group=number,
            target=allocated.target,
        )
        for allocated in shrink(group, store, advance)
    ]
    return pd.concat(rows, ignore_index=True), store.cost


def _candidates(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    from wina_amp.allocation.shrinkage import candidates_at

    number, target = task
    candidates_at(worker.member(number), target, worker.store(number), advance)


def _pooled_rows(profile: ProfileSettings) -> pd.DataFrame:
    return ALLOCATIONS.read(paths.table(profile.starts_from))
