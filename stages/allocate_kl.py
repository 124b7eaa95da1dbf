"""The `kl` allocations of stage allocate: of a group by itself, and of groups that start from a pooled allocation.

Curves and targets are independent of each other. Several processes, each with a model of its own, work on these
first (`pipeline/executors/processes.py`); the search of every group that follows finds all of it kept, as it would
after an interruption.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.executors.processes import Advance, WorkerPool
from pipeline.storage.parts import JsonParts, Parts
from pipeline.storage.schemas import ALLOCATIONS, GROUP_HISTOGRAMS
from stages.inputs import paths
from stages.inputs.allocation import Costs, allocation_scratch, counts_of, group_texts
from stages.inputs.model import load_model, model_processes
from stages.run import start_logging
from wina_amp.allocation.calibration.cost import Cost, Meter, MeteredStore
from wina_amp.histograms.bins import Bins

if TYPE_CHECKING:
    from wina_amp.allocation.kl.kl import Descent
    from wina_amp.allocation.kl.shrinkage import Group
    from wina_amp.allocation.loss import descent
    from wina_amp.allocation.loss.divergence import Divergence
    from wina_amp.allocation.loss.loss_inputs import LossInputs

log = logging.getLogger("stages.allocate")


def alone(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Every group by itself: rows of `allocations` without the profile's name, and what each group took."""
    from wina_amp.allocation.kl.kl import work

    targets = settings.evaluate.targets
    groups = sorted(set(histograms["group"].tolist()))
    projections = len(histograms[["block", "projection"]].drop_duplicates())
    total = len(groups) * sum(work(projections, len(targets), settings.allocate.kl_steps))
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    with allocation_scratch(settings, name) as parts:
        make_worker = partial(Worker, parts, settings, name)
        with (
            WorkerPool(make_worker, model_processes(settings.model)) as pool,
            tqdm(total=total, desc=f"kl, {len(groups)} groups", unit="pass") as progress,
        ):
            if pool.processes > 1:
                all_curves = [(group, number) for group in groups for number in range(projections)]
                all_targets = [(group, target) for group in groups for target in targets]
                pool.map(_curve, all_curves, progress.update)
                pool.map(_target, all_targets, progress.update)
                pool.map(_choose, all_targets, progress.update)
                progress.update(-progress.n)  # what follows finds all of it, and counts it again
            for group, (allocated, cost) in zip(groups, pool.map(_search, groups, progress.update), strict=True):
                rows.append(allocated)
                costs[group] = cost
    return pd.concat(rows, ignore_index=True), costs


def from_pooled(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Groups that start from a pooled allocation; one more group, the last, is the pooled allocation itself."""
    from wina_amp.allocation.kl.shrinkage import work

    targets = settings.evaluate.targets
    groups = sorted(set(histograms["group"].tolist()))
    total = len(groups) * sum(work(len(targets), settings.allocate.kl_group_steps))
    rows = [_pooled_rows(profile).drop(columns="profile").assign(group=len(groups), strength=0.0)]
    costs: Costs = {len(groups): Cost()}
    with allocation_scratch(settings, name) as parts:
        make_worker = partial(Worker, parts, settings, name)
        with (
            WorkerPool(make_worker, model_processes(settings.model)) as pool,
            tqdm(total=total, desc=f"kl from `{profile.parent}`, {len(groups)} groups", unit="pass") as progress,
        ):
            if pool.processes > 1:
                all_targets = [(group, target) for group in groups for target in targets]
                pool.map(_candidates, all_targets, progress.update)
                progress.update(-progress.n)
            for number, (allocated, cost) in zip(groups, pool.map(_shrink, groups, progress.update), strict=True):
                log.info("group %d of %d: strength %g", number + 1, len(groups), allocated["strength"].iloc[0])
                rows.append(allocated)
                costs[number] = cost
    return pd.concat(rows, ignore_index=True), costs


class Worker:
    """A process that allocates a profile set: a model, a meter of its work, and the losses of a group.

    Args:
        parts: the folder that all measurements are kept in.
        settings: all of them.
        name: of the profile set.
    """

    def __init__(self, parts: Parts, settings: Settings, name: str) -> None:
        start_logging()
        self.settings, self.profile = settings, settings.profiles[name]
        self._parts = parts
        self._loaded = load_model(settings.model)
        layers = attrgetter(self._loaded.family.layers)(self._loaded.model)
        self._hooks = ExitStack()  # for as long as the process has the model
        self._meter = self._hooks.enter_context(Meter().watching(layers))
        self.alone = lru_cache(maxsize=1)(self._alone)
        self.validation = lru_cache(maxsize=1)(self._validation)
        self.member = lru_cache(maxsize=1)(self._member)

    def store(self, group: int) -> MeteredStore:
        """The kept values of a group; those that are added are charged with the work from now on."""
        return MeteredStore(JsonParts(self._parts, f"{group:05d}-"), self._meter)

    def _alone(self, group: int) -> tuple[Divergence, descent.LossGradients]:
        """The loss of a group that is allocated by itself, and its gradients on mini-batches."""
        from wina_amp.allocation.loss.divergence import Divergence
        from wina_amp.allocation.loss.gradients import LossGradients

        allocate, inputs = self.settings.allocate, self._inputs(group, self.profile.scheme, group)
        objective, gradients = Divergence(inputs.on(inputs.texts[: allocate.kl_samples])), LossGradients(inputs)
        return objective, gradients.on_minibatches(range(gradients.texts), allocate.kl_batch, self.settings.seed)

    def _validation(self, group: int) -> Divergence:
        """The loss of such a group on the texts of the last comparison: others than those of the curves, as far as
        there are enough."""
        from wina_amp.allocation.loss.divergence import Divergence

        inputs = self._inputs(group, self.profile.scheme, group)
        return Divergence(inputs.on(inputs.texts[-self.settings.allocate.kl_compared :]))

    def _member(self, group: int) -> tuple[Group, pd.DataFrame]:
        """A group that starts from the pooled allocation, with pooled thresholds; block and name of its projections."""
        from wina_amp.allocation.kl.shrinkage import FOLDS, Group
        from wina_amp.allocation.loss.divergence import Divergence
        from wina_amp.allocation.loss.gradients import LossGradients

        allocate, inputs = self.settings.allocate, self._inputs(group, "global", 0)
        folds = [Divergence(inputs.on(inputs.texts[first::FOLDS])) for first in range(FOLDS)]
        gradients, keys = LossGradients(inputs), folds[0].keys
        pooled: Any = _pooled_rows(self.profile).set_index(["target", "block", "projection"])["sparsity"]
        member = Group(
            {target: pooled[target].loc[keys].to_numpy() for target in self.settings.evaluate.targets},
            folds[0].fractions,
            [fold.losses for fold in folds],
            partial(gradients.on_minibatches, size=allocate.kl_group_batch, seed=self.settings.seed),
            texts=gradients.texts,
            steps=allocate.kl_group_steps,
            rate=allocate.kl_group_rate,
        )
        return member, _table(keys)

    def _inputs(self, group: int, scheme: str, thresholds_of: int) -> LossInputs:
        """Texts of `group` of the profile set, masked with the thresholds of a group of `scheme`."""
        from wina_amp.allocation.loss.loss_inputs import LossInputs

        settings, criterion, bins = self.settings, self.profile.criterion, Bins(self.settings.capture.mantissa_bits)
        histograms: Any = GROUP_HISTOGRAMS.read(paths.group_histograms(scheme))
        known = histograms[(histograms["criterion"] == criterion) & (histograms["group"] == thresholds_of)]
        return LossInputs(
            self._loaded,
            group_texts(self.profile.scheme, group, settings.seed),
            counts_of(known, bins),
            bins,
            criterion,
            settings.tokens.dense_prefix,
            settings.tokens.batch,
            self._meter,
        )


def _search(worker: Worker, group: int, advance: Advance) -> tuple[pd.DataFrame, Cost]:
    """Allocate a group by itself: rows of `allocations`, and what they took."""
    from wina_amp.allocation.kl.kl import kl

    allocate, targets = worker.settings.allocate, worker.settings.evaluate.targets
    (objective, gradients), store = worker.alone(group), worker.store(group)
    allocations = kl(
        objective,
        worker.validation(group).losses,
        gradients,
        targets,
        store,
        steps=allocate.kl_steps,
        rate=allocate.kl_rate,
        advance=advance,
    )
    sites = _table(objective.keys)
    rows = [
        sites.assign(sparsity=allocated.sparsity, predicted_error=allocated.loss, group=group, target=allocated.target)
        for allocated in allocations
    ]
    return pd.concat(rows, ignore_index=True), store.cost


def _shrink(worker: Worker, number: int, advance: Advance) -> tuple[pd.DataFrame, Cost]:
    """Allocate a group from the pooled allocation: rows of `allocations`, and what they took."""
    from wina_amp.allocation.kl.shrinkage import specialise

    (group, sites), store = worker.member(number), worker.store(number)
    rows = [
        sites.assign(
            sparsity=allocated.sparsity,
            predicted_error=allocated.loss,
            strength=allocated.strength,
            group=number,
            target=allocated.target,
        )
        for allocated in specialise(group, store, advance)
    ]
    return pd.concat(rows, ignore_index=True), store.cost


def _curve(worker: Worker, task: tuple[int, int], advance: Advance) -> None:
    from wina_amp.allocation.kl.kl import curve

    group, projection = task
    (objective, _), store = worker.alone(group), worker.store(group)
    curve(objective, projection, store, advance)


def _target(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    group, target = task
    _descent(worker, group, target, advance)


def _choose(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    from wina_amp.allocation.kl.kl import choose, fraction_of

    group, target = task
    targets = sorted(worker.settings.evaluate.targets)
    descents = [_descent(worker, group, each) for each in targets]
    fraction = fraction_of(worker.alone(group)[0])
    choose(worker.validation(group).losses, descents, targets.index(target), fraction, worker.store(group), advance)


def _descent(worker: Worker, group: int, target: float, advance: Advance = lambda _done: None) -> Descent:
    """The descent of one target, computed or stored."""
    from wina_amp.allocation.kl.kl import at_target, curve

    (objective, gradients), store, allocate = worker.alone(group), worker.store(group), worker.settings.allocate
    curves = [curve(objective, number, store) for number in range(len(objective.costs))]
    steps, rate = allocate.kl_steps, allocate.kl_rate
    return at_target(objective, curves, gradients, target, store, steps=steps, rate=rate, advance=advance)


def _candidates(worker: Worker, task: tuple[int, float], advance: Advance) -> None:
    from wina_amp.allocation.kl.shrinkage import candidates_at

    number, target = task
    (group, _), store = worker.member(number), worker.store(number)
    candidates_at(group, target, store, advance)


def _table(keys: list[tuple[int, str]]) -> pd.DataFrame:
    return pd.DataFrame(keys, columns=["block", "projection"])


def _pooled_rows(profile: ProfileSettings) -> pd.DataFrame:
    return ALLOCATIONS.read(paths.table(profile.starts_from))
