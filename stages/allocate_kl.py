"""The `kl` allocations of stage allocate: of every group by itself, from equal sparsities.

Targets are independent of each other. Several processes, each with a model of its own, work on these first
(`pipeline/executors/processes.py`); the search of every group that follows finds all of it kept, as it would after an
interruption.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.config.profiles import AllocateSettings, ProfileSettings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import Parts
from stages.inputs.allocation import Costs, allocation_scratch
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.loss_worker import LossWorker
from stages.inputs.workers import model_workers
from wina_amp.allocation.calibration.cost import Cost
from wina_amp.allocation.kl.kl import Group, choose, end_at, work
from wina_amp.allocation.kl.kl import kl as search


def kl(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Rows of `allocations` without the profile's name, and what each group took."""
    targets = settings.evaluate.targets
    groups = sorted(set(histograms["group"].tolist()))
    total = len(groups) * sum(work(len(targets), settings.allocate.kl_steps))
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    fingerprint = Fingerprint(settings, "allocate", name)
    with allocation_scratch(fingerprint, settings) as parts:
        make_worker = partial(Worker, parts, settings, name)
        with (
            model_workers(make_worker, fingerprint, settings.model) as pool,
            tqdm(total=total, desc=f"kl, {len(groups)} groups", unit="pass") as progress,
        ):
            if pool.processes > 1:
                all_targets = [(group, target) for group in groups for target in targets]
                pool.map(_descend, all_targets, progress.update)
                pool.map(_choose, all_targets, progress.update)
                progress.update(-progress.n)  # what follows finds all of it, and counts it again
            for group, (allocated, cost) in zip(groups, pool.map(_search, groups, progress.update), strict=True):
                rows.append(allocated)
                costs[group] = cost
    return pd.concat(rows, ignore_index=True), costs


class Worker(LossWorker):
    """A process that allocates groups by themselves; for arguments see `LossWorker`."""

    def __init__(self, parts: Parts, settings: Settings, name: str) -> None:
        super().__init__(parts, settings, name)
        self.group = lru_cache(maxsize=1)(self._group)

    def _group(self, number: int) -> Group:
        from wina_amp.allocation.shrinking_group import kl_group

        inputs = self.inputs(number, self.profile.scheme, number)
        return kl_group(inputs, budget(self.settings.allocate), self.settings.seed)


def budget(allocate: AllocateSettings) -> dict[str, Any]:
    """What a plan is made of (`wina_amp.allocation.kl.plan`)."""
    return {"steps": allocate.kl_steps, "tokens": allocate.kl_tokens, "rate": allocate.kl_rate}


def _search(worker: Worker, number: int, advance: Advance) -> tuple[pd.DataFrame, Cost]:
    """Allocate a group: rows of `allocations`, and what they took."""
    group, store = worker.group(number), worker.store(number)
    rows = [
        worker.sites.assign(
            sparsity=allocated.sparsity, predicted_error=allocated.loss, group=number, target=allocated.target
        )
        for allocated in search(group, worker.settings.evaluate.targets, store, advance)
    ]
    return pd.concat(rows, ignore_index=True), store.cost


def _descend(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    number, target = task
    end_at(worker.group(number), target, worker.store(number), advance)


def _choose(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    number, target = task
    group, store = worker.group(number), worker.store(number)
    ends = {each: end_at(group, each, store) for each in worker.settings.evaluate.targets}
    choose(group, ends, target, store, advance)
