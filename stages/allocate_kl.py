"""The `kl` allocations of stage allocate: of every group by itself, from equal sparsities.

Targets are independent of each other. Several processes, each with a model of its own, work on these first
(`pipeline/executors/processes.py`); the search of every group that follows finds all of it kept, as it would after an
interruption.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.config.profiles import AllocateSettings, ProfileSettings
from pipeline.executors.pool import Advance
from pipeline.storage.parts import Parts
from stages.inputs.allocation import Costs, allocation_scratch
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.loss_worker import LossWorker, site_table
from stages.inputs.workers import model_workers
from wina_amp.allocation.calibration.cost import Cost

if TYPE_CHECKING:
    from wina_amp.allocation.kl.plan import Plan
    from wina_amp.allocation.loss import descent
    from wina_amp.allocation.loss.divergence import Divergence


def kl(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Rows of `allocations` without the profile's name, and what each group took."""
    from wina_amp.allocation.kl.kl import work

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
                pool.map(_end, all_targets, progress.update)
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

    def _group(self, group: int) -> tuple[Plan, Divergence, descent.LossGradients]:
        """The loss of a group on the texts of the comparison, and its gradients on mini-batches of all."""
        from wina_amp.allocation.kl.plan import pooled_plan
        from wina_amp.allocation.loss.divergence import Divergence
        from wina_amp.allocation.loss.gradients import LossGradients

        inputs = self.inputs(group, self.profile.scheme, group)
        plan = pooled_plan(inputs.mean_length, **budget(self.settings.allocate))
        gradients = LossGradients(inputs).on_minibatches(range(len(inputs.texts)), plan.batch, self.settings.seed)
        return plan, Divergence(inputs.on(inputs.texts[-plan.compared :])), gradients


def budget(allocate: AllocateSettings) -> dict[str, Any]:
    """What a plan is made of (`wina_amp.allocation.kl.plan`)."""
    return {"steps": allocate.kl_steps, "tokens": allocate.kl_tokens, "rate": allocate.kl_rate}


def _search(worker: Worker, group: int, advance: Advance) -> tuple[pd.DataFrame, Cost]:
    """Allocate a group: rows of `allocations`, and what they took."""
    from wina_amp.allocation.kl.kl import kl

    (plan, validation, gradients), store = worker.group(group), worker.store(group)
    allocations = kl(
        validation.losses,
        gradients,
        validation.fractions,
        worker.settings.evaluate.targets,
        store,
        steps=plan.steps,
        rate=plan.rate,
        advance=advance,
    )
    sites = site_table(validation.keys)
    rows = [
        sites.assign(sparsity=allocated.sparsity, predicted_error=allocated.loss, group=group, target=allocated.target)
        for allocated in allocations
    ]
    return pd.concat(rows, ignore_index=True), store.cost


def _choose(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    from wina_amp.allocation.kl.kl import choose

    group, target = task
    ends = {each: _end(worker, (group, each), lambda _done: None) for each in worker.settings.evaluate.targets}
    _, validation, _ = worker.group(group)
    choose(validation.losses, ends, target, validation.fractions, worker.store(group), advance)


def _end(worker: Worker, task: tuple[int, float], advance: Advance) -> np.ndarray:
    """The end of the descent of one target, computed or stored."""
    from wina_amp.allocation.kl.kl import end_at

    group, target = task
    (plan, validation, gradients), store = worker.group(group), worker.store(group)
    return end_at(gradients, validation.fractions, target, store, steps=plan.steps, rate=plan.rate, advance=advance)
